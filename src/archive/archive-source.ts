// Where WAL is read from: a prefix of a store, the keys to it, and what its segments have in common.

import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Cipher } from "../codec/encryption.ts";
import type { ReadMethod } from "../codec/compression.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { type LogView, readLog } from "../tail/read.ts";
import { parseHistory } from "../wal/timeline-history.ts";
import { historyName, type TimelineId } from "../wal/segment-name.ts";
import { pathOfHistory, pathUpTo, rootPath, type TimelinePath } from "../wal/timeline-path.ts";
import { sha256 } from "../tail/slot.ts";
import type { HistoryKnowledge } from "./answer.ts";
import { listWal, WAL_FOLDER, WalCatalog } from "./wal-catalog.ts";
import { checkHistory, type SegmentExpectation, WalFileDamagedError } from "./wal-file-check.ts";

/** A cluster's prefix, for reading only: another cluster's is never written to. */
export interface ArchiveSource extends SegmentExpectation {
  readonly store: Pick<ObjectStore, "name" | "get" | "list">;
  readonly cipher: Cipher;
  /** What its segments are mostly written in. */
  readonly likely: ReadMethod;
  readonly clock: Clock;
  readonly log: Log;
}

/** Reads the log of the prefix; null when it never had one, or has only claimed its name. */
export async function readSourceLog(
  source: ArchiveSource,
  signal: AbortSignal,
  known: LogView | null = null,
): Promise<LogView | null> {
  const { store, cipher, clock, log } = source;
  return await readLog(store, { cipher, clock, log, signal, known });
}

export const catalogOf = (source: ArchiveSource): WalCatalog => new WalCatalog(source);

/** Timelines of which wal_005 holds anything, ascending. One listing each: names of one timeline follow one another. */
export async function storedTimelines(source: ArchiveSource, signal: AbortSignal): Promise<TimelineId[]> {
  const timelines: TimelineId[] = [];
  for (let after: string | undefined; ;) {
    let next: TimelineId | null = null;
    const options = after === undefined ? {} : { after };
    for await (const { meaning } of listWal(source.store, source.segmentBytes, signal, options)) {
      next = meaning.kind === "history" ? meaning.timeline : meaning.segment.timeline;
      break;
    }
    if (next === null) return timelines;
    timelines.push(next);
    // Behind every digit and dot that can follow the timeline's own digits.
    after = `${next.toString(16).toUpperCase().padStart(8, "0")}~`;
  }
}

/** The path to T* (`latest`) or to a timeline by its number. Throws WalFileDamagedError; TimelineUnknownError when there is no such timeline. */
export async function pathTo(
  timeline: "latest" | TimelineId,
  view: LogView | null,
  source: ArchiveSource,
  signal: AbortSignal,
): Promise<TimelinePath> {
  const tip = view?.tip ?? null;
  if (tip !== null) {
    if (timeline === "latest") return tip.path;
    const known = pathUpTo(tip.path, timeline);
    if (known !== null) return known;
  }
  const stored = tip === null || timeline === "latest" ? await storedTimelines(source, signal) : [];
  const wanted = timeline === "latest" ? (stored.at(-1) ?? 1) : timeline;
  const accepted = view?.histories.get(wanted);
  if (accepted?.body != null) {
    return pathOfHistory(parseHistory(wanted, Buffer.from(accepted.body).toString("utf8")));
  }
  const bytes = await readStoredHistory(wanted, source, signal, accepted?.sha256 ?? null);
  if (bytes !== null) return pathOfHistory(checkHistory(bytes, historyName(wanted), wanted));
  if (wanted === 1 || stored.includes(wanted)) return rootPath(wanted);
  throw new TimelineUnknownError(wanted, source.store.name);
}

/**
 * What R4 goes by. Of an archive without a log everything that stands in wal_005 counts, and the numbers below the highest that are not there
 * are holes; null when there is neither a log nor a timeline.
 */
export async function historyKnowledge(
  view: LogView | null,
  path: TimelinePath,
  source: ArchiveSource,
  signal: AbortSignal,
): Promise<HistoryKnowledge | null> {
  if (view !== null && view.tip !== null) {
    const accepted = new Set(view.histories.keys());
    return { lastTimeline: view.lastTimeline, path: view.tip.path, accepted, hasLog: true };
  }
  const stored = await storedTimelines(source, signal);
  const lastTimeline = Math.max(stored.at(-1) ?? 0, path.at(-1)?.timeline ?? 0);
  return lastTimeline === 0 ? null : { lastTimeline, path, accepted: new Set(), hasLog: false };
}

/** `<timeline>.history` out of wal_005, or null; with `hash`, only with those bytes (R4). Throws WalFileDamagedError. */
export async function readStoredHistory(
  timeline: TimelineId,
  source: ArchiveSource,
  signal: AbortSignal,
  hash: string | null = null,
): Promise<Uint8Array | null> {
  const name = historyName(timeline);
  const file = await catalogOf(source).read(name, signal);
  if (file === null) return null;
  if (hash !== null && sha256(file.bytes) !== hash) {
    throw new WalFileDamagedError(name, `${WAL_FOLDER}${name} holds other bytes than the log accepted`);
  }
  return file.bytes;
}

/** The archive knows no timeline of this number. */
export class TimelineUnknownError extends AppError {
  constructor(timeline: TimelineId, where: string) {
    super(`timeline ${timeline} is not in ${where}`, {
      code: "TIMELINE_UNKNOWN",
      hint: "list the timelines with `wal-g wal-show`",
    });
  }
}
