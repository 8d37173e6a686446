// How far the store is behind the server, in bytes and in seconds. Pure: fed with positions and a clock's readings.

import { type Lsn, bytesBetween, ZERO_LSN } from "../wal/lsn.ts";

/** Remembers when each end of the server's WAL was first heard of. */
export class LagClock {
  #heard: { readonly end: Lsn; readonly atMs: number }[] = [];
  #serverEnd: Lsn = ZERO_LSN;
  #spacingMs = FINEST_MS;

  /** End of the server's WAL as last heard; zero before. */
  get serverEnd(): Lsn {
    return this.#serverEnd;
  }

  /** The server's WAL reaches `end` now. */
  hear(end: Lsn, nowMs: number): void {
    if (end <= this.#serverEnd) return;
    this.#serverEnd = end;
    const last = this.#heard.at(-1);
    if (last !== undefined && nowMs - last.atMs < this.#spacingMs) return;
    this.#heard.push({ end, atMs: nowMs });
    if (this.#heard.length <= SAMPLES_MOST) return;
    // A long outage: half as fine is fine enough, and memory stays bounded.
    this.#heard = this.#heard.filter((_, index) => index % 2 === 0);
    this.#spacingMs *= 2;
  }

  /** `bytes`: heard of and not durable. `seconds`: age of the oldest of them. */
  lag(durable: Lsn, nowMs: number): { readonly bytes: number; readonly seconds: number } {
    while (this.#heard[0] !== undefined && this.#heard[0].end <= durable) this.#heard.shift();
    if (durable >= this.#serverEnd) {
      this.#spacingMs = FINEST_MS;
      return { bytes: 0, seconds: 0 };
    }
    const since = this.#heard[0]?.atMs ?? nowMs;
    return { bytes: bytesBetween(durable, this.#serverEnd), seconds: Math.max(0, nowMs - since) / 1000 };
  }
}

const FINEST_MS = 100;
const SAMPLES_MOST = 4096;
