// What the log is owed before anything is reported and any door opens (T6, G5, L8).

import { formatLsn } from "../wal/lsn.ts";
import { segmentFloor } from "../wal/segment-name.ts";
import { lastStep } from "../wal/timeline-path.ts";
import { fillFromLocal } from "./fill-gap.ts";
import { LocalWal, pgWal } from "./local-wal.ts";
import type { StreamerOptions } from "./streamer-options.ts";

/** Resolves once the log stands on this server's timeline. Throws FencedError, HistoryRefusedError, and what reading pg_wal throws. */
export async function beginLog(options: StreamerOptions): Promise<void> {
  const { owner, beginning, dataDirectory, segmentBytes, log } = options;
  const folder = pgWal(dataDirectory);
  switch (beginning.kind) {
    case "continue":
      await owner.begin({ kind: "continue" });
      break;
    case "genesis": {
      const { genesis } = beginning;
      const local = new LocalWal(folder, genesis.path, segmentBytes);
      const pieces: Uint8Array[] = [];
      for await (const piece of local.read(segmentFloor(genesis.end, segmentBytes), genesis.end))
        pieces.push(piece);
      await owner.begin({ kind: "genesis", genesis, openBytes: Buffer.concat(pieces) });
      break;
    }
    case "bring": {
      const { change, backfill, parentPath } = beginning;
      await owner.begin({ kind: "bring" });
      if (backfill !== null) {
        // The promotion renamed the parent's last segment to .partial; the child's copy of it holds the same bytes below the fork.
        const path = [...parentPath, { timeline: change.timeline, begin: change.fork }];
        const local = new LocalWal(folder, path, segmentBytes);
        await fillFromLocal(owner, local, lastStep(parentPath).timeline, backfill);
      }
      await owner.history(change);
      const { timeline, parent, fork, cut } = change;
      log.info("the log accepted the new timeline", { timeline, parent, fork: formatLsn(fork), cut });
      break;
    }
  }
}
