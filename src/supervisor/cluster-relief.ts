// On the primary: a volume that is nearly full makes it hand over to a member with room.

import { FULL_BYTES, isReliefDue, RELIEF_TIMES } from "../cluster/full-volume.ts";
import type { Cluster } from "./cluster.ts";
import { pickSuccessor } from "./cluster-successor.ts";
import type { NodeContext } from "./node-context.ts";
import { releaseReserve } from "./reserve.ts";

/** A full volume: somebody with room leads, before Postgres ends in a panic. */
export async function watchRoom(
  { clock, log, state, paths }: NodeContext,
  cluster: Cluster,
  signal: AbortSignal,
): Promise<void> {
  let triedMs: number | null = null;
  while (!signal.aborted) {
    const { freeBytes } = cluster.local;
    const isPaused = cluster.mind.roster?.isPaused ?? false;
    const fullBytes = state.view().disk?.readOnlyBytes ?? FULL_BYTES;
    if (isReliefDue({ freeBytes, fullBytes, isPaused, nowMs: cluster.nowMs, triedMs })) {
      triedMs = cluster.nowMs;
      const { name, because } = pickSuccessor(cluster, null, RELIEF_TIMES * fullBytes);
      log.error("the volume is nearly full", { freeBytes, takesOver: name, because });
      if (name !== null) {
        // The hand-over writes its doors and marks: it gets the room that was set aside.
        await releaseReserve(paths);
        void cluster.askSwitchover(name, `its volume has ${freeBytes} bytes left`);
      }
    }
    await clock.sleep(ROOM_MS, signal).catch(() => undefined);
  }
}

const ROOM_MS = 1_000;
