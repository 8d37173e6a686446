// What is wrong with the tail log although it can be read: fences that are gone, and slots that do not count.

import { type ArchiveSource, readSourceLog } from "../../archive/archive-source.ts";
import type { Finding } from "../../backup/verify-part.ts";
import { LOG_PREFIX, parseLogKey, slotKey } from "../../tail/keys.ts";
import type { LogView } from "../../tail/read.ts";

/** Findings of one reading of the log, all of them warnings: what can be restored is whole. Throws what reading the log throws. */
export async function verifyLog(
  view: LogView | null,
  source: ArchiveSource,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  if (view === null) return [];
  const listed = new Map<number, string>();
  for await (const { key } of source.store.list(LOG_PREFIX, signal)) {
    const name = parseLogKey(key, LOG_PREFIX);
    // Branches of a store without conditional writes follow other rules.
    if (name?.branch != null) return [];
    if (name !== null) listed.set(name.seq, key);
  }
  return [...missingFences(view, listed), ...(await behindHole(view, listed, source, signal))];
}

/** T4: fences stay for ever, or a writer of before could put its own in their place. */
function missingFences({ fences }: LogView, listed: ReadonlyMap<number, string>): readonly Finding[] {
  return fences
    .filter((seq) => !listed.has(seq))
    .map((seq) => ({
      object: slotKey(seq),
      severity: "warning",
      fault: "is missing; it is a fence, and those are never deleted: keep lifecycle rules off tail_v1/",
    }));
}

/** W1: a writer that was cut off may leave a few behind a position that it never filled; so may somebody who deletes that one. */
async function behindHole(
  view: LogView,
  listed: ReadonlyMap<number, string>,
  source: ArchiveSource,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const isBehind = (seq: number): boolean => seq > view.firstFree;
  if (![...listed.keys()].some(isBehind)) return [];
  // Of a log that is being written the hole is filled by now.
  const now = await readSourceLog(source, signal, view);
  if (now === null || now.firstFree !== view.firstFree) return [];
  const behind = [...listed].filter(([seq]) => isBehind(seq)).sort(([a], [b]) => a - b);
  const more = behind.length > 1 ? ` (and ${behind.length - 1} more)` : "";
  return [
    {
      object: slotKey(view.firstFree),
      severity: "warning",
      fault: `is free, and "${behind[0]![1]}"${more} lies behind it and does not count: its writer was cut off, or somebody deleted this one`,
    },
  ];
}
