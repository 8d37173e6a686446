// What to serve for a name that recovery asks for: rules R3 to R5 as decisions. Pure.

import { unreachable } from "../base/errors.ts";
import { type Lsn, formatLsn } from "../wal/lsn.ts";
import { type Segment, segmentEnd, segmentStart, type TimelineId } from "../wal/segment-name.ts";
import { beginOn, isOnPath, lastStep, leftAt, type TimelinePath } from "../wal/timeline-path.ts";

/**
 * Who asks. `restore`: a directory without WAL of its own; it gets the open segment as far as it goes. `standby`: follows a primary, may hold
 * acknowledged WAL that the store lacks; it gets complete segments only. `catch-up`: the same under the gate, when the rest must come; it
 * gets more than it has, and only where the common part is equal.
 */
export type Situation = "restore" | "standby" | "catch-up";

/** What the path alone says of a segment, before any request. */
export type SegmentPlace =
  | { readonly kind: "absent"; readonly because: string }
  /** The bytes `[start, until)` may be served; behind `until` stand zeros. */
  | { readonly kind: "allowed"; readonly until: Lsn; readonly isClipped: boolean };

/** R3 (c): nothing of a timeline at or past the point where the target's path leaves it, nothing before it began. */
export function placeSegment(segment: Segment, path: TimelinePath, segmentBytes: number): SegmentPlace {
  const begin = beginOn(path, segment.timeline);
  if (begin === null) {
    return absent(`timeline ${segment.timeline} is not on the path to timeline ${lastStep(path).timeline}`);
  }
  const end = segmentEnd(segment, segmentBytes);
  if (begin >= end) return absent(`timeline ${segment.timeline} begins at ${formatLsn(begin)}, behind it`);
  const left = leftAt(path, segment.timeline);
  if (left === null || left >= end) return { kind: "allowed", until: end, isClipped: false };
  if (left <= segmentStart(segment, segmentBytes)) {
    return absent(`the path left timeline ${segment.timeline} at ${formatLsn(left)}, before it`);
  }
  return { kind: "allowed", until: left, isClipped: true };
}

/** What was found of a segment, clipped to its path. */
export type SegmentFound =
  /** Everything that the path allows. */
  | { readonly kind: "complete"; readonly bytes: Uint8Array }
  /** The first `filled` bytes; zeros behind. */
  | { readonly kind: "partial"; readonly bytes: Uint8Array; readonly filled: number }
  | { readonly kind: "absent"; readonly because: string };

/** How the local `pg_wal` compares with what was found; only asked in `catch-up`. */
export type LocalCopy =
  /** No such file, or nothing valid in it. */
  | { readonly kind: "none" }
  /** Everything it holds is in the store's copy, which has more. */
  | { readonly kind: "behind" }
  /** It has all that the store has, and perhaps more. */
  | { readonly kind: "not-behind" }
  /** The common part is not equal. */
  | { readonly kind: "different"; readonly at: Lsn };

export type SegmentVerdict =
  | { readonly kind: "serve" }
  /** Exit 1. */
  | { readonly kind: "absent"; readonly because: string; readonly alarm: boolean };

/**
 * The table of design section 4. A shorter padded copy over a standby's newer file loses acknowledged rows (seen: PANIC, or silently), so
 * a standby gets no open segment unless `local` was compared.
 */
export function judgeSegment(
  found: SegmentFound,
  situation: Situation,
  local: LocalCopy | null,
): SegmentVerdict {
  if (found.kind === "absent") return { ...found, alarm: false };
  if (found.kind === "complete" || situation === "restore") return { kind: "serve" };
  if (situation === "standby" || local === null) {
    return no("the store holds it only in part, and a standby gets complete segments");
  }
  switch (local.kind) {
    case "none":
    case "behind":
      return { kind: "serve" };
    case "not-behind":
      return no("the local copy holds all that the store has");
    case "different":
      return {
        kind: "absent",
        because: `the local copy differs from the store at ${formatLsn(local.at)}`,
        alarm: true,
      };
    default:
      return unreachable(local);
  }
}

/** What R4 needs to know of the log; null for a prefix that never had one. */
export interface HistoryKnowledge {
  /** Highest accepted number: T*. */
  readonly lastTimeline: TimelineId;
  /** T*'s path. */
  readonly path: TimelinePath;
  /** Accepted through the log. */
  readonly accepted: ReadonlySet<TimelineId>;
  /** False in an archive that never had a log: what stands in wal_005 is all there is to go by. */
  readonly hasLog: boolean;
}

export type HistoryVerdict =
  /** From its slot, else from wal_005 with the accepted hash. */
  | { readonly kind: "accepted" }
  /** From wal_005 as it stands there: it is from before the log. When it is not there: `otherwise`. */
  | { readonly kind: "stored"; readonly otherwise: "empty" | "absent" }
  /** A hole among the numbers: an empty file, so that Postgres probes on (never at or above T*). */
  | { readonly kind: "empty" }
  | { readonly kind: "absent"; readonly because: string };

/** R4. `target` is the path that the recovery follows. */
export function judgeHistory(
  timeline: TimelineId,
  target: TimelinePath,
  log: HistoryKnowledge | null,
): HistoryVerdict {
  // The first timeline has no history, and Postgres knows it.
  if (timeline === 1) return { kind: "absent", because: "timeline 1 has no history" };
  if (log === null) return { kind: "stored", otherwise: "absent" };
  if (log.accepted.has(timeline)) return { kind: "accepted" };
  if (timeline > log.lastTimeline) {
    // X12: whatever stands in wal_005 under such a number, the log never accepted it.
    return { kind: "absent", because: `the log accepted no timeline above ${log.lastTimeline}` };
  }
  const isNeeded = !log.hasLog || isOnPath(target, timeline) || isOnPath(log.path, timeline);
  if (timeline === log.lastTimeline) return { kind: "stored", otherwise: "absent" };
  return isNeeded ? { kind: "stored", otherwise: "empty" } : { kind: "empty" };
}

const absent = (because: string): SegmentPlace => ({ kind: "absent", because });
const no = (because: string): SegmentVerdict => ({ kind: "absent", because, alarm: false });
