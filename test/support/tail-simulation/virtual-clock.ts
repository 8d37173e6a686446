// Time that moves only when nothing else can happen: timers in a heap, one at a time, microtasks drained in between.

import type { Clock } from "../../../src/base/clock.ts";

export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #heap: Timer[] = [];

  now(): number {
    return EPOCH_MS + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  /** Runs `work` after `ms`. Timers of one instant run in the order they were set. */
  after(ms: number, work: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, ms), order: this.#order, work };
    this.#order += 1;
    push(this.#heap, timer);
    return timer;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const stop = (): void => {
        timer.work = NOTHING;
        reject(signal!.reason as Error);
      };
      const timer = this.after(ms, () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      });
      signal?.addEventListener("abort", stop, { once: true });
    });
  }

  /** Lets time pass until `work` has ended or the virtual limit is reached; throws then. Returns the work's
   * result. `check` runs after every step and may throw. */
  async run<T>(work: Promise<T>, limitMs: number, check: () => void = NOTHING): Promise<T> {
    let isOver = false;
    const deadline = this.#nowMs + limitMs;
    const watched = work.finally(() => {
      isOver = true;
    });
    watched.catch(() => undefined);
    for (;;) {
      await drain();
      check();
      if (isOver) return watched;
      const timer = pop(this.#heap);
      if (timer === undefined) throw new Error(`nothing can happen any more at ${this.#nowMs} ms`);
      if (timer.atMs > deadline) throw new Error(`not done after ${limitMs} ms of virtual time`);
      this.#nowMs = Math.max(this.#nowMs, timer.atMs);
      timer.work();
    }
  }
}

export interface Timer {
  readonly atMs: number;
  readonly order: number;
  work: () => void;
}

/** Lets everything run that waits for nothing but its turn. */
const drain = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const NOTHING = (): void => undefined;
const EPOCH_MS = Date.UTC(2026, 0, 1);

const isBefore = (a: Timer, b: Timer): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

function push(heap: Timer[], timer: Timer): void {
  heap.push(timer);
  for (let at = heap.length - 1; at > 0;) {
    const parent = (at - 1) >> 1;
    if (!isBefore(heap[at]!, heap[parent]!)) break;
    [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
    at = parent;
  }
}

function pop(heap: Timer[]): Timer | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (top === undefined || last === undefined || heap.length === 0) return top;
  heap[0] = last;
  for (let at = 0; ;) {
    const left = 2 * at + 1;
    let least = at;
    if (left < heap.length && isBefore(heap[left]!, heap[least]!)) least = left;
    if (left + 1 < heap.length && isBefore(heap[left + 1]!, heap[least]!)) least = left + 1;
    if (least === at) return top;
    [heap[at], heap[least]] = [heap[least]!, heap[at]!];
    at = least;
  }
}
