// Every number from 2 to the newest timeline has a `.history` in pg_wal before replication doors open, a real one or an empty one (R4):
// a follower asks the primary for each of them, and one that is missing holds it for ever.

import { access, readdir } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import type { LogView } from "../tail/read.ts";
import { historyName, type TimelineId } from "../wal/segment-name.ts";
import { type ArchiveSource, readStoredHistory } from "./archive-source.ts";
import { ownerFor } from "./serve-file.ts";

/** Puts what is missing into `folder` (pg_wal); returns the numbers that were put. Nothing that is there is touched. */
export async function fillHistories(
  folder: string,
  source: ArchiveSource,
  view: LogView | null,
  newest: TimelineId,
  signal: AbortSignal,
): Promise<TimelineId[]> {
  const there = new Set(await readdir(folder));
  const put: TimelineId[] = [];
  for (let timeline = 2; timeline < newest; timeline += 1) {
    const name = historyName(timeline);
    if (there.has(name)) continue;
    const accepted = view?.histories.get(timeline);
    const bytes =
      accepted === undefined
        ? new Uint8Array(0)
        : (accepted.body ?? (await readStoredHistory(timeline, source, signal, accepted.sha256)));
    await writeDurably(join(folder, name), bytes ?? new Uint8Array(0), 0o600, await ownerFor(folder));
    put.push(timeline);
  }
  await access(join(folder, historyName(newest))).catch((error: unknown) => {
    if (newest > 1) throw error;
  });
  return put;
}
