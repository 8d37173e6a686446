// A primary whose volume is nearly full hands over while it still can: where WAL finds no room, Postgres stops in a panic.

/** Room for a few WAL segments and the marks of a hand-over: with less a volume counts as full where nothing else is said. */
export const FULL_BYTES = 64 * 1024 * 1024;

/** Who takes over from a full one must have so many times what that one lacked, or the primary would wander. */
export const RELIEF_TIMES = 4;

export interface FullVolumeFacts {
  /** Null: not measured yet. */
  readonly freeBytes: number | null;
  /** With less it counts as full. */
  readonly fullBytes: number;
  /** An operator switched automatic failover off. */
  readonly isPaused: boolean;
  readonly nowMs: number;
  /** When it was last tried; null: never in this term. */
  readonly triedMs: number | null;
}

/** Is it time to look for a member with room? */
export const isReliefDue = ({ freeBytes, fullBytes, isPaused, nowMs, triedMs }: FullVolumeFacts): boolean =>
  freeBytes !== null &&
  freeBytes < fullBytes &&
  !isPaused &&
  (triedMs === null || nowMs - triedMs >= AGAIN_MS);

const AGAIN_MS = 10_000;
