// WAL-G's two checks of an archive, as pure functions over a listing: is every segment there, and is the timeline the highest.

import type { Segment, TimelineId } from "../../wal/segment-name.ts";
import type { TimelineSwitch } from "../../wal/timeline-history.ts";

export type SegmentStatus = "FOUND" | "MISSING_DELAYED" | "MISSING_UPLOADING" | "MISSING_LOST";
export type CheckStatus = "OK" | "WARNING" | "FAILURE";

/** A run of segments of one timeline with the same status; both ends included. */
export interface StatusRun {
  readonly timeline: TimelineId;
  readonly first: bigint;
  readonly last: bigint;
  readonly status: SegmentStatus;
}

export interface IntegrityInput {
  /** The segment that is being written: it is not looked at, the scan begins before it. */
  readonly current: Segment;
  /** Where the scan ends, included. */
  readonly stop: bigint;
  /** True when `stop` is the start of a backup; without one, what is missing at the very beginning is only a warning. */
  readonly hasBackup: boolean;
  /** Of the current timeline's history; empty on timeline 1. */
  readonly switches: readonly TimelineSwitch[];
  readonly segmentBytes: number;
  readonly isPresent: (segment: Segment) => boolean;
  /** Missing segments within so many of the newest are late, not lost. */
  readonly delayedMost: number;
  /** Within so many after those they may be on their way. */
  readonly uploadingMost: number;
}

export interface IntegrityResult {
  readonly status: CheckStatus;
  /** Ascending. */
  readonly runs: readonly StatusRun[];
}

/** Walks back from the segment being written to `stop`, along the timelines of the history. */
export function checkIntegrity(input: IntegrityInput): IntegrityResult {
  const scanned = [...walkBack(input)];
  const statuses = phases(scanned, input);
  const runs = runsOf(scanned, statuses);
  return { status: statusOf(runs, input.hasBackup), runs };
}

/** Newest first. Every timeline of the path is walked, also when several forks lie in one segment. */
function* walkBack(input: IntegrityInput): Generator<Segment> {
  const { segmentBytes, isPresent, switches } = input;
  let { timeline } = input.current;
  for (let left = input.current.number; left > input.stop; left -= 1n) {
    const number = left - 1n;
    // A fork inside the segment just left: before it the bytes are the parent's, unless this timeline has a predecessor of its own.
    for (const fork of [...switches].reverse()) {
      const isHere = fork.at / BigInt(segmentBytes) === left && fork.parent < timeline;
      if (isHere && !isPresent({ timeline, number })) timeline = fork.parent;
    }
    yield { timeline, number };
  }
}

function phases(scanned: readonly Segment[], input: IntegrityInput): SegmentStatus[] {
  const { isPresent, delayedMost, uploadingMost } = input;
  let delayed = scanned.slice(0, delayedMost).findIndex((segment) => isPresent(segment));
  if (delayed < 0) delayed = Math.min(delayedMost, scanned.length);
  return scanned.map((segment, at) => {
    if (isPresent(segment)) return "FOUND";
    if (at < delayed) return "MISSING_DELAYED";
    return at < delayed + uploadingMost ? "MISSING_UPLOADING" : "MISSING_LOST";
  });
}

function runsOf(scanned: readonly Segment[], statuses: readonly SegmentStatus[]): StatusRun[] {
  const runs: StatusRun[] = [];
  for (const [at, { timeline, number }] of scanned.entries()) {
    const status = statuses[at]!;
    const open = runs.at(-1);
    if (open?.timeline === timeline && open.status === status) {
      runs[runs.length - 1] = { ...open, first: number };
    } else runs.push({ timeline, first: number, last: number, status });
  }
  return runs.reverse();
}

function statusOf(runs: readonly StatusRun[], hasBackup: boolean): CheckStatus {
  const lost = runs.flatMap((run, at) => (run.status === "MISSING_LOST" ? [at] : []));
  const isOnlyLeading = lost.length === 1 && lost[0] === 0;
  if (lost.length > 0) return !hasBackup && isOnlyLeading ? "WARNING" : "FAILURE";
  return runs.some((run) => run.status !== "FOUND") ? "WARNING" : "OK";
}

/** Compares the server's timeline with the highest one that the archive has (0: none). */
export function checkTimeline(current: TimelineId, highest: TimelineId): CheckStatus {
  if (highest === 0) return "WARNING";
  return highest === current ? "OK" : "FAILURE";
}
