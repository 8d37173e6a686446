// DURABILITY=standby: the position behind which a standby has everything that was ever acknowledged.

import type { Lsn } from "../wal/lsn.ts";

/** One look at the primary: its flush position, and then whom it waits for. */
export interface SynchronousLook {
  /** When the look was begun, in milliseconds; `at` was read after it. */
  readonly begunMs: number;
  /** The primary's flush position. */
  readonly at: Lsn;
  /** The connections (not the names: one that comes back may have lost what the one before confirmed) that commits wait for, read after `at`. */
  readonly connections: readonly string[];
  /** When the connections were read. */
  readonly endedMs: number;
}

/**
 * What is acknowledged before the mark was read lies below it, what is acknowledged afterwards waits for just these connections. So the mark
 * is read only when they were seen before, and it is read anew when one of them is another.
 */
export class CatchUpMark {
  readonly #settleMs: number;
  #connections: string | null = null;
  #seenMs = 0;
  #at: Lsn | null = null;

  /** `settleMs`: a reload reaches one process after the other; one with the old list could still release a commit by it. */
  constructor(settleMs: number) {
    this.#settleMs = settleMs;
  }

  /** Commits wait for others than before. */
  restart(): void {
    this.#connections = null;
    this.#at = null;
  }

  /** The mark; null until it is known. */
  note({ begunMs, at, connections, endedMs }: SynchronousLook): Lsn | null {
    const seen = [...connections].sort().join();
    if (seen !== this.#connections) {
      this.#connections = seen;
      this.#seenMs = endedMs;
      this.#at = null;
    } else if (this.#at === null && begunMs - this.#seenMs >= this.#settleMs) this.#at = at;
    return this.#at;
  }
}
