// Paths of timelines: which timeline owns a position, and where a path leaves a timeline (rules L7, R3 c).

import { type Lsn, ZERO_LSN, formatLsn, parseLsn } from "./lsn.ts";
import type { TimelineId } from "./segment-name.ts";
import type { TimelineHistory } from "./timeline-history.ts";

/** From the oldest timeline to the newest; `begin` never falls, the first is 0/0. */
export type TimelinePath = readonly TimelineStep[];

export interface TimelineStep {
  readonly timeline: TimelineId;
  /** First byte of this timeline on the path; with the next step's `begin` equal to it, it owns nothing. */
  readonly begin: Lsn;
}

/** The path that a `.history` file tells. */
export function pathOfHistory({ timeline, switches }: TimelineHistory): TimelinePath {
  const path: TimelineStep[] = [];
  let begin = ZERO_LSN;
  for (const { parent, at } of switches) {
    path.push({ timeline: parent, begin });
    begin = at;
  }
  path.push({ timeline, begin });
  return path;
}

/** The path of a timeline without ancestors. */
export const rootPath = (timeline: TimelineId): TimelinePath => [{ timeline, begin: ZERO_LSN }];

/** The newest timeline of a path. Throws RangeError on an empty one. */
export function lastStep(path: TimelinePath): TimelineStep {
  const last = path.at(-1);
  if (last === undefined) throw new RangeError("a path of timelines is never empty");
  return last;
}

/** The timeline that owns the byte at `lsn`: the last one that begins at or before it. */
export function ownerAt(path: TimelinePath, lsn: Lsn): TimelineId {
  let owner = path[0];
  for (const step of path) if (step.begin <= lsn) owner = step;
  if (owner === undefined) throw new RangeError("a path of timelines is never empty");
  return owner.timeline;
}

export const isOnPath = (path: TimelinePath, timeline: TimelineId): boolean =>
  path.some((step) => step.timeline === timeline);

/** Where `timeline` begins on the path; null when it is not on it. */
export const beginOn = (path: TimelinePath, timeline: TimelineId): Lsn | null =>
  path.find((step) => step.timeline === timeline)?.begin ?? null;

/** The clip point: the first byte of the next timeline; null for the last one and for one that is not on the path. */
export function leftAt(path: TimelinePath, timeline: TimelineId): Lsn | null {
  const index = path.findIndex((step) => step.timeline === timeline);
  return index < 0 ? null : (path[index + 1]?.begin ?? null);
}

/** The path up to and including `timeline`, or null when it is not on it. */
export function pathUpTo(path: TimelinePath, timeline: TimelineId): TimelinePath | null {
  const index = path.findIndex((step) => step.timeline === timeline);
  return index < 0 ? null : path.slice(0, index + 1);
}

/** The path with a child that forks off its last timeline at `fork`. */
export const extendPath = (path: TimelinePath, timeline: TimelineId, fork: Lsn): TimelinePath => [
  ...path,
  { timeline, begin: fork },
];

export const samePath = (a: TimelinePath, b: TimelinePath): boolean =>
  a.length === b.length &&
  a.every((step, i) => step.timeline === b[i]!.timeline && step.begin === b[i]!.begin);

/** True when `whole` starts with all steps of `part`. */
export const startsWithPath = (whole: TimelinePath, part: TimelinePath): boolean =>
  whole.length >= part.length && samePath(whole.slice(0, part.length), part);

/** As it stands in a base's header: `[[timeline, "X/X"], …]`. */
export const encodePath = (path: TimelinePath): [TimelineId, string][] =>
  path.map(({ timeline, begin }) => [timeline, formatLsn(begin)]);

/** The reverse of `encodePath`; null unless it is a path. */
export function decodePath(value: unknown): TimelinePath | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const path: TimelineStep[] = [];
  for (const entry of value as unknown[]) {
    const step = decodeStep(entry);
    const before = path.at(-1);
    if (step === null) return null;
    if (
      before === undefined ? step.begin !== 0n : step.timeline <= before.timeline || step.begin < before.begin
    ) {
      return null;
    }
    path.push(step);
  }
  return path;
}

function decodeStep(entry: unknown): TimelineStep | null {
  if (!Array.isArray(entry) || entry.length !== 2) return null;
  const [timeline, begin] = entry as unknown[];
  if (typeof timeline !== "number" || !Number.isInteger(timeline) || timeline < 1 || timeline > 0xffff_ffff)
    return null;
  if (typeof begin !== "string") return null;
  try {
    return { timeline, begin: parseLsn(begin) };
  } catch {
    return null;
  }
}
