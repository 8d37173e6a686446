// Time as an argument: the Clock port, the system clock, and waiting for a condition.

import { setTimeout as delay } from "node:timers/promises";

/** The only source of time below `cli/`. */
export interface Clock {
  /** Wall clock, milliseconds since 1970, shown to people and written into objects. */
  now(): number;
  /** Milliseconds that never go back; runs on while a container is paused. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : error;
    }
  },
};

/** Polls `check` until it is true (resolves true) or `limitMs` is over (resolves false). */
export async function waitUntil(
  check: () => Promise<boolean>,
  limitMs: number,
  { clock, signal, pollMs = 100 }: { clock: Clock; signal?: AbortSignal; pollMs?: number },
): Promise<boolean> {
  const deadline = clock.monotonicMs() + limitMs;
  for (;;) {
    signal?.throwIfAborted();
    if (await check()) return true;
    if (clock.monotonicMs() >= deadline) return false;
    await clock.sleep(pollMs, signal);
  }
}
