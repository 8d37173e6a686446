// On the primary: a volume that is nearly full makes it hand over to a member with room.

import { isReliefDue, RELIEF_BYTES } from "../cluster/full-volume.ts";
import type { Cluster } from "./cluster.ts";
import { pickSuccessor } from "./cluster-successor.ts";
import type { NodeContext } from "./node-context.ts";
import { keepReserve, releaseReserve } from "./reserve.ts";

/** A full volume: somebody with room leads, before Postgres ends in a panic. */
export async function watchRoom(
  { clock, log, paths }: NodeContext,
  cluster: Cluster,
  signal: AbortSignal,
): Promise<void> {
  let triedMs: number | null = null;
  let isReserved = false;
  while (!signal.aborted) {
    const { freeBytes } = cluster.local;
    const isPaused = cluster.mind.roster?.isPaused ?? false;
    if (isReliefDue({ freeBytes, isPaused, nowMs: cluster.nowMs, triedMs })) {
      triedMs = cluster.nowMs;
      const { name, because } = pickSuccessor(cluster, null, RELIEF_BYTES);
      log.error("the volume is nearly full", { freeBytes, takesOver: name, because });
      if (name !== null) {
        // The hand-over writes its doors and marks: it gets the room that was set aside.
        await releaseReserve(paths);
        isReserved = false;
        void cluster.askSwitchover(name, `its volume has ${freeBytes} bytes left`);
      }
    } else if (!isReserved && freeBytes !== null && freeBytes >= RELIEF_BYTES) {
      isReserved = await keepReserve(paths).then(
        () => true,
        () => false,
      );
    }
    await clock.sleep(ROOM_MS, signal).catch(() => undefined);
  }
}

const ROOM_MS = 1_000;
