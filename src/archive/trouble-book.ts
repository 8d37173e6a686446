// Something that keeps failing: since when, how often, and what it said last. Pure.

import { messageOf } from "../base/errors.ts";
import type { Trouble } from "./streamer-status.ts";

export class TroubleBook {
  #trouble: Trouble | null = null;
  #last: unknown = null;

  get trouble(): Trouble | null {
    return this.#trouble;
  }

  /** A failure, or null for a success; the same error object counts once. */
  note(error: unknown, nowMs: number): void {
    if (error === null) {
      this.#trouble = null;
      this.#last = null;
      return;
    }
    if (error === this.#last) return;
    this.#last = error;
    this.#trouble = {
      sinceMs: this.#trouble?.sinceMs ?? nowMs,
      failures: (this.#trouble?.failures ?? 0) + 1,
      lastError: messageOf(error),
    };
  }
}
