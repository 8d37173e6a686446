// A second pair of eyes on the licence: a thread that freezes the server when it has run out, also while the event loop is busy, and
// some milliseconds after this container was paused and resumed.

import { Worker } from "node:worker_threads";

export interface WatcherOptions {
  /** Milliseconds between two looks. */
  readonly tickMs?: number;
}

/** Shared with the thread: [0] the deadline in ns of the monotonic clock, 0 for none; [1] the postmaster, 0 for none; [2] 1 once frozen. */
const CELLS = 3;

export class Watcher implements AsyncDisposable {
  readonly #cells = new BigInt64Array(new SharedArrayBuffer(CELLS * 8));
  readonly #worker: Worker;

  constructor({ tickMs = TICK_MS }: WatcherOptions = {}) {
    this.#worker = new Worker(new URL("watcher-thread.ts", import.meta.url), {
      workerData: { cells: this.#cells.buffer, tickMs },
    });
    this.#worker.unref();
  }

  /** Watches this server from now on. No deadline yet. */
  guard(postmaster: number): void {
    Atomics.store(this.#cells, 2, 0n);
    Atomics.store(this.#cells, 0, 0n);
    Atomics.store(this.#cells, 1, BigInt(postmaster));
  }

  /** The licence lasts for `leftMs` from now; null: it needs none, or the server is not watched any more. */
  renew(leftMs: number | null): void {
    const deadline =
      leftMs === null ? 0n : process.hrtime.bigint() + BigInt(Math.round(Math.max(0, leftMs) * 1e6));
    Atomics.store(this.#cells, 0, deadline);
  }

  release(): void {
    Atomics.store(this.#cells, 0, 0n);
    Atomics.store(this.#cells, 1, 0n);
  }

  /** The thread froze the server; whoever thaws it says so here. */
  get isFrozen(): boolean {
    return Atomics.load(this.#cells, 2) === 1n;
  }

  noteThawed(): void {
    Atomics.store(this.#cells, 2, 0n);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Far below what may pass between the deadline and the last acknowledgement. */
const TICK_MS = 20;
