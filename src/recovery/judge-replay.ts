// Is a replay over, and is where it stands where it had to end? Pure.

import { formatLsn, type Lsn } from "../wal/lsn.ts";
import type { ReplayOrder } from "./replay-order.ts";

export interface ReplaySample extends Pick<ReplayOrder, "ending" | "hasOwnWal"> {
  /** The server runs with a recovery target. */
  readonly hasTarget: boolean;
  /** RE of what is there: a complete replay stands exactly here (G2). */
  readonly recordEnd: Lsn;
  readonly inRecovery: boolean;
  readonly replayed: Lsn | null;
  readonly isPaused: boolean;
  /** Milliseconds since the position last moved. */
  readonly restMs: number;
  /** How often the same complete segment was asked for in a row. */
  readonly repeats: { readonly name: string; readonly times: number } | null;
}

export type ReplayVerdict =
  | { readonly kind: "wait" }
  | { readonly kind: "drained" }
  /** Past `recordEnd`: the archive has grown since it was looked at, or Postgres replays other bytes than were served. */
  | { readonly kind: "past"; readonly replayed: Lsn }
  /** The target was met; Postgres waits. */
  | { readonly kind: "paused" }
  /** The target was met before connections were possible; Postgres has promoted itself. */
  | { readonly kind: "promoted" }
  | { readonly kind: "fault"; readonly because: string; readonly startOver: boolean };

export function judgeReplay(sample: ReplaySample): ReplayVerdict {
  const { hasTarget, recordEnd, inRecovery, replayed, isPaused, restMs, hasOwnWal } = sample;
  if (!inRecovery) {
    return hasTarget ? { kind: "promoted" } : fault("Postgres promoted itself during the replay", true);
  }
  if (isPaused) return hasTarget ? { kind: "paused" } : fault("somebody paused the replay", false);
  if (replayed === null) return WAIT;
  if (replayed > recordEnd && !hasOwnWal) return { kind: "past", replayed };
  const rests = restMs >= SETTLED_MS;
  // Own WAL may go on behind the log's end: it is at its end when it rests.
  const isDrained = hasOwnWal ? replayed >= recordEnd && rests : replayed === recordEnd;
  if (!isDrained) return stuck(sample);
  if (!hasTarget || sample.ending === "drain" || sample.ending === "either") {
    // A target may still be met by the very last record: Postgres says so within a moment.
    return !hasTarget || rests ? { kind: "drained" } : WAIT;
  }
  return rests ? fault(`the target was not met; the WAL ends at ${formatLsn(replayed)}`, false) : WAIT;
}

/** A complete segment that is asked for again and again holds a record that Postgres refuses. */
function stuck({ repeats, replayed, recordEnd, restMs }: ReplaySample): ReplayVerdict {
  if (repeats === null || repeats.times < REPEATS_MOST || restMs < STUCK_MS) return WAIT;
  return fault(
    `Postgres stays at ${formatLsn(replayed!)} and asks for "${repeats.name}" again and again; the last record ends at ${formatLsn(recordEnd)}`,
    false,
  );
}

const fault = (because: string, startOver: boolean): ReplayVerdict => ({ kind: "fault", because, startOver });
const WAIT: ReplayVerdict = { kind: "wait" };
const SETTLED_MS = 2_000;
const STUCK_MS = 30_000;
const REPEATS_MOST = 10;
