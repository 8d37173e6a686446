// The junction (T6): may a primary that comes up on data continue the log, bring its own timeline, or is it a suspect? Pure.

import { type Lsn, formatLsn, maxLsn, minLsn } from "../wal/lsn.ts";
import { segmentFloor } from "../wal/segment-name.ts";
import { type TimelinePath, isOnPath, lastStep, samePath } from "../wal/timeline-path.ts";
import type { LogState } from "./run.ts";

/** What the log says at the junction. */
export interface LogFacts {
  readonly log: Pick<LogState, "tip" | "lastTimeline" | "histories" | "identity">;
  /** RE(End); null in a log without WAL. */
  readonly recordEnd: Lsn | null;
}

/** What this volume says. */
export interface LocalFacts {
  readonly path: TimelinePath;
  /** Id of the promotion that made its last timeline (the mark beside PGDATA). */
  readonly promotion: string;
  /** Id of the timeline that it left by that promotion; the same as `promotion` when there was none. */
  readonly parentPromotion: string;
  /** Where the record walk from the control file's REDO over pg_wal arrives. */
  readonly walkedTo: Lsn;
  /** What comparing pg_wal with the log over `bytesToCompare` gave. */
  readonly bytes: "equal" | "different" | "missing";
}

/** A reachable member, as far as this asks: record ends, not received positions. */
export interface MemberFacts {
  readonly name: string;
  readonly path: TimelinePath;
  readonly recordEnd: Lsn;
}

export type Junction =
  /** The log holds no WAL: the founder begins it (L8). */
  | { readonly kind: "genesis"; readonly because: string }
  /** S1: the durable position is End. */
  | { readonly kind: "continue"; readonly durable: Lsn; readonly because: string }
  /** S2: owes the parent's bytes up to the fork, then the history slot; nothing is durable before. */
  | {
      readonly kind: "bring";
      readonly fork: Lsn;
      /** Parent's bytes to append first; null when the log has them. */
      readonly backfill: { readonly from: Lsn; readonly to: Lsn } | null;
      readonly because: string;
    }
  /** S3: doors closed, G8. */
  | { readonly kind: "suspect"; readonly because: string };

/** The part of pg_wal that must equal the log, on the log's path; null when there is nothing to compare. */
export function bytesToCompare(
  { log: { tip, identity }, recordEnd }: LogFacts,
  local: Pick<LocalFacts, "path">,
): { readonly from: Lsn; readonly to: Lsn } | null {
  if (tip === null || recordEnd === null || tip.end === tip.begin) return null; // founded, and nothing accepted yet
  const lowest = minLsn(recordEnd, (tip.end - 1n) as Lsn);
  const from = segmentFloor(lowest, identity.segmentBytes);
  const { timeline, begin } = lastStep(local.path);
  const to = timeline === tip.timeline ? tip.end : minLsn(begin, tip.end); // S2: up to min(fork, End)
  return to <= from ? null : { from, to };
}

/** Rule T6. Every answer carries its sentence. */
export function decideJunction(
  facts: LogFacts,
  local: LocalFacts,
  members: readonly MemberFacts[],
): Junction {
  const { tip } = facts.log;
  if (tip === null) return { kind: "genesis", because: "the log holds no WAL yet" };
  const recordEnd = facts.recordEnd ?? tip.end;
  const own = lastStep(local.path);
  if (local.bytes === "different") return suspect("pg_wal has other bytes than the log");
  if (own.timeline === tip.timeline) return continueOn(facts, recordEnd, local, members);
  const timeline = `timeline ${own.timeline}`;
  if (isAccepted(facts, own.timeline)) return suspect(`${timeline} is not the log's newest, ${tip.timeline}`);
  if (own.timeline < facts.log.lastTimeline) {
    return suspect(`${timeline} is not above ${facts.log.lastTimeline}, which the log accepted`); // G4
  }
  if (!samePath(local.path.slice(0, -1), tip.path)) {
    return suspect(`${timeline} does not come from timeline ${tip.timeline} as the log has it`);
  }
  if (local.parentPromotion !== tip.promotion) {
    return suspect(`${timeline} comes from another promotion to timeline ${tip.timeline} than the log's`); // X11
  }
  if (own.begin < recordEnd) {
    return suspect(
      `${timeline} forks at ${formatLsn(own.begin)}, before the log's last record at ${formatLsn(recordEnd)}`,
    );
  }
  if (local.bytes === "missing") return suspect("pg_wal lacks bytes that must be compared with the log");
  return {
    kind: "bring",
    fork: own.begin,
    backfill: own.begin > tip.end ? { from: tip.end, to: own.begin } : null,
    because: `${timeline} forks at or past the log's last record`,
  };
}

function continueOn(
  { log }: LogFacts,
  recordEnd: Lsn,
  local: LocalFacts,
  members: readonly MemberFacts[],
): Junction {
  const tip = log.tip!;
  const timeline = `timeline ${tip.timeline}`;
  if (!samePath(local.path, tip.path)) return suspect(`${timeline} has another path here than in the log`);
  if (local.promotion !== tip.promotion) return suspect(`another promotion made ${timeline} than the log's`); // X11
  if (local.bytes === "missing")
    return suspect(`pg_wal lacks bytes below the log's end at ${formatLsn(tip.end)}`);
  if (local.walkedTo < recordEnd) {
    const here = formatLsn(local.walkedTo);
    return suspect(`the records of pg_wal end at ${here}, the log's at ${formatLsn(recordEnd)}`);
  }
  const known = maxLsn(local.walkedTo, recordEnd);
  const ahead = members.find(
    (member) => lastStep(member.path).timeline === tip.timeline && member.recordEnd > known,
  );
  if (ahead !== undefined) {
    return suspect(`${ahead.name} has more of ${timeline}: up to ${formatLsn(ahead.recordEnd)}`); // X10
  }
  return { kind: "continue", durable: tip.end, because: `${timeline} agrees with the log to its end` };
}

const isAccepted = ({ log }: LogFacts, timeline: number): boolean =>
  log.histories.has(timeline) || (log.tip !== null && isOnPath(log.tip.path, timeline));

const suspect = (because: string): Junction => ({ kind: "suspect", because });
