// Retries with a back-off that grows, a limit, and a log that grows louder.

import type { Clock } from "./clock.ts";
import { messageOf } from "./errors.ts";
import type { Log } from "./log.ts";

export interface Backoff {
  readonly firstMs: number;
  readonly mostMs: number;
  /** Tries in all; Infinity is allowed only for work that must never give up. */
  readonly tries: number;
  /** Past this since the first try no new try is begun. */
  readonly totalMs?: number;
}

export interface RetryTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** 0 ≤ r < 1; spreads the pauses. */
  readonly random?: () => number;
}

/** Runs `work` until it succeeds, `isRetryable` says no, or the back-off is used up; then rethrows the last error. */
export async function retry<T>(
  what: string,
  work: (attempt: number) => Promise<T>,
  isRetryable: (error: unknown) => boolean,
  backoff: Backoff,
  { clock, log, signal, random = Math.random }: RetryTools,
): Promise<T> {
  const begun = clock.monotonicMs();
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      const spent = clock.monotonicMs() - begun;
      const over = attempt >= backoff.tries || (backoff.totalMs !== undefined && spent >= backoff.totalMs);
      if (signal.aborted || over || !isRetryable(error)) throw error;
      const pauseMs = pauseBefore(attempt, backoff) * (0.5 + random() / 2);
      const level = attempt < 4 ? "info" : "warn";
      log[level](`retrying: ${what}`, { attempt, pauseMs: Math.round(pauseMs), because: messageOf(error) });
      await clock.sleep(pauseMs, signal);
    }
  }
}

/** Milliseconds before the next try after `attempt` failed ones, without the spread. */
export function pauseBefore(attempt: number, { firstMs, mostMs }: Backoff): number {
  return Math.min(mostMs, firstMs * 2 ** (attempt - 1));
}
