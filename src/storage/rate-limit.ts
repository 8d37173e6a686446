// Bytes per second, shared by everything that asks.

import type { Clock } from "../base/clock.ts";

/** Resolves when `bytes` more may pass. */
export type Pace = (bytes: number, signal: AbortSignal) => Promise<void>;

/** No limit. */
export const unlimited: Pace = () => Promise.resolve();

/** At most `bytesPerSecond` on average, with bursts of at most one second's worth; who asks first goes first. */
export function limitTo(bytesPerSecond: number, clock: Clock): Pace {
  let freeAtMs = clock.monotonicMs() - 1000;
  return async (bytes, signal) => {
    const now = clock.monotonicMs();
    const startMs = Math.max(freeAtMs, now - 1000);
    freeAtMs = startMs + (bytes / bytesPerSecond) * 1000;
    if (freeAtMs > now) await clock.sleep(freeAtMs - now, signal);
  };
}
