// Ends a push when its server is gone.

import type { Clock } from "../base/clock.ts";

/** Asks every `everyMs` (0: never) until the signal; aborts `lost` with what the question threw. */
export async function watchServer(
  ping: () => Promise<void>,
  everyMs: number,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  lost: AbortController,
): Promise<void> {
  if (everyMs === 0) return;
  while (!signal.aborted) {
    try {
      await clock.sleep(everyMs, signal);
      await ping();
    } catch (error) {
      if (!signal.aborted) lost.abort(error);
    }
  }
}
