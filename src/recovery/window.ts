// What can be reached: from each backup, how far the WAL of a path goes without a hole. Pure.

import { missingRuns, segmentsOnPath, type SegmentRun } from "../archive/gaps.ts";
import { addBytes, formatLsn, type Lsn, lsnOf, maxLsn, minLsn } from "../wal/lsn.ts";
import { type Segment, segmentFloor, segmentName, type TimelineId } from "../wal/segment-name.ts";
import { beginOn, lastStep, leftAt, type TimelinePath } from "../wal/timeline-path.ts";
import { formatTime, type Microseconds } from "./target.ts";

/** A complete backup, as its sentinel tells. */
export interface BackupPoint {
  readonly name: string;
  readonly timeline: TimelineId;
  readonly start: Lsn;
  /** Replayed at least to here, the data is consistent. */
  readonly finish: Lsn;
  readonly finishedUs: Microseconds | null;
  /** The whole chain: what is fetched, and what it becomes on disk. */
  readonly storedBytes: number;
  readonly restoredBytes: number;
}

/** The WAL of one path, from `wal_005` and the log together. */
export interface WalFacts {
  readonly segmentBytes: number;
  readonly path: TimelinePath;
  /** Complete in `wal_005`. */
  readonly isStored: (segment: Segment) => boolean;
  /** The stretch that the log holds, from the start of a segment; null without a log, or off its path. */
  readonly log: { readonly from: Lsn; readonly end: Lsn } | null;
  /** End of the last byte that is there, on this path: the log's End, or behind the last segment. */
  readonly end: Lsn;
  /** RE(end), where a replay of everything ends and what a child would fork at; null when it was not looked for. */
  readonly recordEnd: Lsn | null;
  readonly newestCommitUs: Microseconds | null;
}

/** A backup and how far it leads. */
export interface Reach {
  readonly backup: BackupPoint;
  /** First byte that a replay from it cannot get. */
  readonly end: Lsn;
  /** The segment that stops it; null when it leads to the end of the WAL. */
  readonly stoppedBy: Segment | null;
  /** The replay gets past the backup's finish: without that it is of no use. */
  readonly usable: boolean;
}

export interface RecoveryWindow {
  readonly wal: WalFacts;
  /** By start, oldest first; only backups that lie on the path. */
  readonly reaches: readonly Reach[];
  /** Segments missing between the oldest usable backup and the end. */
  readonly missing: readonly SegmentRun[];
}

/** What can be reached on `wal.path` from `backups`. */
export function recoveryWindow(backups: readonly BackupPoint[], wal: WalFacts): RecoveryWindow {
  const onPath = backups
    .filter((backup) => liesOnPath(backup, wal.path))
    .sort((a, b) => (a.start < b.start ? -1 : Number(a.start > b.start)));
  const [oldest] = onPath;
  if (oldest === undefined) return { wal, reaches: [], missing: [] };
  const has = (segment: Segment): boolean => wal.isStored(segment) || logHolds(segment, wal);
  const missing = missingRuns(
    segmentsOnPath(wal.path, oldest.start, maxLsn(wal.end, oldest.finish), wal.segmentBytes),
    has,
  );
  const reaches = onPath.map((backup) => reachOf(backup, wal, missing));
  const firstUsable = reaches.find((reach) => reach.usable);
  return {
    wal,
    reaches,
    missing:
      firstUsable === undefined
        ? missing
        : missing.filter((run) => run.last >= segmentNumber(firstUsable.backup.start, wal.segmentBytes)),
  };
}

/** A backup can be replayed along the path when its WAL, from start to finish, is the path's. */
export function liesOnPath({ timeline, start, finish }: BackupPoint, path: TimelinePath): boolean {
  const begin = beginOn(path, timeline);
  const left = leftAt(path, timeline);
  return begin !== null && begin <= start && (left === null || finish <= left);
}

/** Sentences for a refusal, a status and a command: what can be reached, and what is missing. */
export function describeWindow({ wal, reaches, missing }: RecoveryWindow): string[] {
  const usable = reaches.filter((reach) => reach.usable);
  const timeline = lastStep(wal.path).timeline;
  if (usable.length === 0)
    return [`nothing can be reached on timeline ${timeline}: no usable backup lies on it`];
  const sentences: string[] = [];
  for (let index = 0; index < usable.length;) {
    const first = usable[index]!;
    let last = first;
    // Backups that stop at the same place make one stretch.
    while (usable[index]?.end === first.end) last = usable[index++]!;
    const finished = first.backup.finishedUs;
    const from = `${formatLsn(first.backup.finish)}${finished === null ? "" : ` (${formatTime(finished)})`}`;
    sentences.push(`reachable on timeline ${timeline}: ${from} to ${describeEnd(last, wal)}`);
  }
  for (const run of missing) {
    const name = (number: bigint): string =>
      segmentName({ timeline: run.timeline, number }, wal.segmentBytes);
    sentences.push(
      run.first === run.last
        ? `missing: segment ${name(run.first)}`
        : `missing: segments ${name(run.first)} to ${name(run.last)}`,
    );
  }
  return sentences;
}

function describeEnd(reach: Reach, wal: WalFacts): string {
  if (reach.stoppedBy !== null) {
    return `${formatLsn(reach.end)}, where segment ${segmentName(reach.stoppedBy, wal.segmentBytes)} is missing`;
  }
  const at = formatLsn(wal.recordEnd ?? reach.end);
  const commit = wal.newestCommitUs;
  return commit === null ? `${at}, the end` : `${at}, the end (newest commit ${formatTime(commit)})`;
}

function reachOf(backup: BackupPoint, wal: WalFacts, missing: readonly SegmentRun[]): Reach {
  const first = segmentNumber(backup.start, wal.segmentBytes);
  const stop = missing.find((run) => run.last >= first);
  if (stop === undefined) return { backup, end: wal.end, stoppedBy: null, usable: wal.end >= backup.finish };
  const number = stop.first > first ? stop.first : first;
  const end = lsnOf(number * BigInt(wal.segmentBytes));
  return {
    backup,
    end: minLsn(end, wal.end),
    stoppedBy: { timeline: stop.timeline, number },
    usable: end >= backup.finish,
  };
}

/** The log is one gap-free stretch up to its end, so it holds the beginning of every segment it holds at all. */
function logHolds({ number }: Segment, { log, segmentBytes }: WalFacts): boolean {
  if (log === null || log.end <= log.from) return false;
  return (
    number >= segmentNumber(log.from, segmentBytes) &&
    number <= segmentNumber(addBytes(log.end, -1), segmentBytes)
  );
}

const segmentNumber = (lsn: Lsn, segmentBytes: number): bigint =>
  segmentFloor(lsn, segmentBytes) / BigInt(segmentBytes);
