// How far a replay is, how fast it goes, and how long it will take. Pure.

import { bytesBetween, type Lsn, maxLsn } from "../wal/lsn.ts";

export interface ReplayMeasure {
  /** 0 … 1. */
  readonly fraction: number;
  readonly bytesPerSecond: number;
  readonly remainingMs: number | null;
}

export class ReplayMeter {
  readonly #from: Lsn;
  #samples: { readonly at: Lsn; readonly ms: number }[] = [];

  constructor(from: Lsn) {
    this.#from = from;
  }

  measure(replayed: Lsn | null, to: Lsn, nowMs: number): ReplayMeasure {
    if (replayed === null) return { fraction: 0, bytesPerSecond: 0, remainingMs: null };
    this.#samples.push({ at: replayed, ms: nowMs });
    while (this.#samples.length > 2 && this.#samples[0]!.ms < nowMs - WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0]!;
    const seconds = (nowMs - first.ms) / 1000;
    const bytesPerSecond = seconds > 0 ? bytesBetween(first.at, maxLsn(replayed, first.at)) / seconds : 0;
    const total = to > this.#from ? bytesBetween(this.#from, to) : 0;
    const done = replayed > this.#from ? bytesBetween(this.#from, replayed) : 0;
    const left = Math.max(0, total - done);
    return {
      fraction: total === 0 ? 1 : Math.min(1, done / total),
      bytesPerSecond,
      remainingMs: left === 0 ? 0 : bytesPerSecond === 0 ? null : (left / bytesPerSecond) * 1000,
    };
  }
}

const WINDOW_MS = 10_000;
