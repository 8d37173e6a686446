// What a node that does not own the log saw of it: is it growing, and what does it hold?

import type { StoreEnd } from "./candidates.ts";
import type { LogLife } from "./evidence.ts";
import type { Effect, LogLook } from "./mind-types.ts";

export class LogGlimpses {
  life: LogLife | null = null;
  storeEnd: StoreEnd | null = null;
  promotionPending = false;
  /** The last good answer of the store, whatever was asked. */
  storeMs: number | null = null;
  #mark: string | null = null;
  #lookedMs = -Infinity;

  take(look: LogLook, nowMs: number): void {
    const isSame = this.#mark === look.mark && this.life !== null;
    this.life = { readMs: look.begunMs, sameSinceMs: isSame ? this.life!.sameSinceMs : look.begunMs };
    this.#mark = look.mark;
    this.storeEnd = look.storeEnd;
    this.promotionPending = look.promotionPending;
    this.storeMs = nowMs;
  }

  /** Stillness is measured anew. */
  forget(): void {
    this.life = null;
    this.#mark = null;
  }

  /** Asks for another look when the last one was long enough ago. */
  look(nowMs: number, effects: Effect[]): void {
    if (nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    effects.push({ kind: "look-at-log" });
  }
}

/** In doubt, the log is looked at this often. */
const LOOK_MS = 500;
