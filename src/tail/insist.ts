// Repeating what must not be given up: unknown outcomes with back-off, plain refusals slowly and aloud (T2, W2).

import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Backoff, pauseBefore } from "../base/retry.ts";
import { StoreError } from "../storage/object-store.ts";

export interface InsistTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** 0 ≤ r < 1; spreads the pauses. */
  readonly random: () => number;
  /** Told of every failed try, and with null of the success after one. */
  readonly onTrouble?: (error: StoreError | null) => void;
}

/** Runs `work` until it gives a result; only the signal, or an error that is not the store's, ends it. */
export async function insist<T>(what: string, work: () => Promise<T>, tools: InsistTools): Promise<T> {
  const { clock, log, signal, random, onTrouble } = tools;
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      const result = await work();
      if (attempt > 1) onTrouble?.(null);
      return result;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof StoreError)) throw error;
      onTrouble?.(error);
      const isRefused = error.kind === "refused";
      const pauseMs = pauseBefore(attempt, isRefused ? REFUSED : UNKNOWN) * (0.5 + random() / 2);
      log[isRefused ? "error" : attempt < LOUD_FROM ? "info" : "warn"](`the store did not confirm: ${what}`, {
        attempt,
        pauseMs: Math.round(pauseMs),
        because: messageOf(error),
      });
      await clock.sleep(pauseMs, signal);
    }
  }
}

const UNKNOWN: Backoff = { firstMs: 100, mostMs: 5_000, tries: Infinity };
const REFUSED: Backoff = { firstMs: 2_000, mostMs: 30_000, tries: Infinity };
const LOUD_FROM = 4;
