// How long PUTs take, to know which one is slow.

/** Keeps the last times and tells the one that 95 of 100 stay below. */
export class PutTimes {
  #times: number[] = [];

  add(ms: number): void {
    this.#times.push(ms);
    if (this.#times.length > LIMITS.kept) this.#times.shift();
  }

  /** Milliseconds past which a PUT counts as slow; null until enough are known. */
  get slowMs(): number | null {
    if (this.#times.length < LIMITS.enough) return null;
    const sorted = this.#times.toSorted((a, b) => a - b);
    return Math.max(sorted[Math.floor(sorted.length * 0.95)]!, LIMITS.leastMs);
  }
}

const LIMITS = { kept: 100, enough: 20, leastMs: 20 } as const;
