// Which segments are there in a row and which are missing between them. Pure: `wal-show`, `wal-verify`, metrics and plans ask it.

import { addBytes, type Lsn } from "../wal/lsn.ts";
import { nextSegment, segmentAt, segmentEnd, type Segment, type TimelineId } from "../wal/segment-name.ts";
import { ownerAt, type TimelinePath } from "../wal/timeline-path.ts";

/** Segments `first` … `last` of one timeline, both included. */
export interface SegmentRun {
  readonly timeline: TimelineId;
  readonly first: bigint;
  readonly last: bigint;
}

export const runLength = (run: SegmentRun): number => Number(run.last - run.first + 1n);

/** The segments as the fewest runs, by timeline and number; doubles count once. */
export function segmentRuns(segments: Iterable<Segment>): SegmentRun[] {
  const runs: SegmentRun[] = [];
  for (const { timeline, number } of [...segments].sort(bySegment)) {
    const open = runs.at(-1);
    if (open?.timeline === timeline && number <= open.last + 1n) {
      runs[runs.length - 1] = { ...open, last: number > open.last ? number : open.last };
    } else {
      runs.push({ timeline, first: number, last: number });
    }
  }
  return runs;
}

/** What lies between the runs of each timeline: missing there for good, since something later exists. */
export function holesBetween(runs: readonly SegmentRun[]): SegmentRun[] {
  const holes: SegmentRun[] = [];
  for (const [index, run] of runs.entries()) {
    const before = runs[index - 1];
    if (before?.timeline !== run.timeline) continue;
    holes.push({ timeline: run.timeline, first: before.last + 1n, last: run.first - 1n });
  }
  return holes;
}

/**
 * The segments that a replay of `path` from `from` to `to` (exclusive) reads, in order. A segment that holds a fork is read
 * under the child's name, where it also holds the parent's bytes (postgres-facts.md section 4).
 */
export function* segmentsOnPath(
  path: TimelinePath,
  from: Lsn,
  to: Lsn,
  segmentBytes: number,
): Generator<Segment> {
  if (to <= from) return;
  const last = segmentAt(1, addBytes(to, -1), segmentBytes).number;
  for (let number = segmentAt(1, from, segmentBytes).number; number <= last; number += 1n) {
    yield { timeline: segmentOwner(path, number, segmentBytes), number };
  }
}

/** The timeline under whose name a replay of `path` reads this segment: the newest that begins in it or before it. */
export function segmentOwner(path: TimelinePath, number: bigint, segmentBytes: number): TimelineId {
  return ownerAt(path, addBytes(segmentEnd({ timeline: 1, number }, segmentBytes), -1));
}

/** Runs of `wanted`, in its order, that are not `present`. */
export function missingRuns(wanted: Iterable<Segment>, present: (segment: Segment) => boolean): SegmentRun[] {
  const missing: SegmentRun[] = [];
  for (const segment of wanted) {
    if (present(segment)) continue;
    const open = missing.at(-1);
    if (open !== undefined && open.timeline === segment.timeline && open.last + 1n === segment.number) {
      missing[missing.length - 1] = { ...open, last: segment.number };
    } else {
      missing.push({ timeline: segment.timeline, first: segment.number, last: segment.number });
    }
  }
  return missing;
}

/** How many segments follow `from` without a hole, `from` included, on its own timeline. */
export function continuousFrom(from: Segment, present: (segment: Segment) => boolean): number {
  let count = 0;
  for (let segment = from; present(segment); segment = nextSegment(segment)) count += 1;
  return count;
}

/** A set of segments that answers `has` for values rather than identities. */
export class SegmentSet {
  readonly #keys = new Set<string>();

  constructor(segments: Iterable<Segment> = []) {
    for (const segment of segments) this.add(segment);
  }

  get size(): number {
    return this.#keys.size;
  }

  add({ timeline, number }: Segment): void {
    this.#keys.add(`${timeline}/${number}`);
  }

  has({ timeline, number }: Segment): boolean {
    return this.#keys.has(`${timeline}/${number}`);
  }
}

function bySegment(a: Segment, b: Segment): number {
  if (a.timeline !== b.timeline) return a.timeline - b.timeline;
  return a.number < b.number ? -1 : Number(a.number > b.number);
}
