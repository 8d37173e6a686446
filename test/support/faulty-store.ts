// A store that misbehaves as real ones do, from a seed and on a given clock, in front of any other store.
//
// Faults, each with a rate from 0 to 1 for every operation:
//   delay         the request and the reply each take up to `delayMs` (otherwise both arrive at once)
//   lostRequest   the request never arrives; the caller sees `unknown`
//   lostReply     the request takes effect; the caller sees `unknown`
//   late          the caller sees `unknown`; the request takes effect up to `lateMs` afterwards, whatever happened meanwhile
//   busy          503: no effect, `unknown`
//   conflict      409 on create and replace: `unknown`, with or without effect
//   duplicate     a request arrives twice in a row; the caller gets the second reply (for its own create: "exists")
//   brokenRead    a body breaks off before its end with `unknown`, and a listing between two keys
// and, switched by hand:
//   reachable     while false every operation ends with `unknown` and without effect

import type { Clock } from "../../src/base/clock.ts";
import { collect, copies } from "../../src/base/bytes.ts";
import {
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  StoreError,
} from "../../src/storage/object-store.ts";
import { type Random, below } from "./random.ts";

export interface FaultRates {
  readonly delay: number;
  readonly lostRequest: number;
  readonly lostReply: number;
  readonly late: number;
  readonly busy: number;
  readonly conflict: number;
  readonly duplicate: number;
  readonly brokenRead: number;
}

export type Fault = keyof FaultRates | "unreachable";

export const NO_FAULTS: FaultRates = {
  delay: 0,
  lostRequest: 0,
  lostReply: 0,
  late: 0,
  busy: 0,
  conflict: 0,
  duplicate: 0,
  brokenRead: 0,
};

export interface FaultyStoreTools {
  readonly random: Random;
  readonly clock: Clock;
  readonly delayMs?: number;
  readonly lateMs?: number;
}

export class FaultyStore implements ObjectStore {
  readonly name: string;
  /** May be changed at any time. */
  rates: FaultRates;
  reachable = true;
  /** How often each fault happened, so that a test can show that it tested something. */
  readonly happened = new Map<Fault, number>();
  readonly #inner: ObjectStore;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #lateMs: number;
  readonly #late = new Set<Promise<void>>();

  constructor(inner: ObjectStore, rates: Partial<FaultRates>, tools: FaultyStoreTools) {
    this.name = inner.name;
    this.rates = { ...NO_FAULTS, ...rates };
    this.#inner = inner;
    this.#random = tools.random;
    this.#clock = tools.clock;
    this.#delayMs = tools.delayMs ?? 50;
    this.#lateMs = tools.lateMs ?? 5000;
  }

  /** Waits until every late request has arrived. On a virtual clock, somebody must move it. */
  async settled(): Promise<void> {
    while (this.#late.size > 0) await Promise.all(this.#late);
  }

  async get(
    key: string,
    signal: AbortSignal,
    range?: { readonly start: number; readonly end?: number },
  ): Promise<ObjectBody | null> {
    const found = await this.#read(`get ${key}`, signal, () => this.#inner.get(key, signal, range));
    if (found === null || !this.#happens("brokenRead")) return found;
    return { ...found, body: this.#brokenBody(found) };
  }

  head(key: string, signal: AbortSignal): Promise<ObjectInfo | null> {
    return this.#read(`head ${key}`, signal, () => this.#inner.head(key, signal));
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const bytes = body instanceof Uint8Array ? body : await collect(copies(body));
    await this.#write(`put ${key}`, signal, (inner) => this.#inner.put(key, bytes, inner));
  }

  create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    return this.#write(`create ${key}`, signal, (inner) => this.#inner.create(key, body, inner), true);
  }

  replace(key: string, body: Uint8Array, etag: string, signal: AbortSignal): Promise<"replaced" | "changed"> {
    return this.#write(
      `replace ${key}`,
      signal,
      (inner) => this.#inner.replace(key, body, etag, inner),
      true,
    );
  }

  async *list(
    prefix: string,
    signal: AbortSignal,
    options?: { readonly after?: string },
  ): AsyncGenerator<ObjectInfo> {
    const breaks = this.#happens("brokenRead") ? below(this.#random, 5) : null;
    await this.#read(`list ${prefix}`, signal, () => Promise.resolve());
    let seen = 0;
    for await (const info of this.#inner.list(prefix, signal, options)) {
      if (seen === breaks) throw fault(`list ${prefix}: broke off`);
      seen += 1;
      yield info;
    }
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#write(`delete ${keys.length} keys`, signal, (inner) => this.#inner.delete(keys, inner));
  }

  async copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    await this.#write(`copy ${from}`, signal, (inner) => this.#inner.copy(from, to, inner));
  }

  async #read<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#onTheWay(what, signal);
    if (this.#happens("lostRequest")) throw fault(`${what}: no answer`);
    const result = await work();
    if (this.#happens("lostReply")) throw fault(`${what}: no answer`);
    await this.#delay(signal);
    return result;
  }

  async #write<T>(
    what: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
    conditional = false,
  ): Promise<T> {
    await this.#onTheWay(what, signal);
    if (this.#happens("lostRequest")) throw fault(`${what}: no answer`);
    if (conditional && this.#happens("conflict")) {
      if (this.#random() < 0.5) await work(signal);
      throw fault(`${what}: conflict`, 409);
    }
    if (this.#happens("late")) {
      this.#arriveLate(work);
      throw fault(`${what}: no answer`);
    }
    let result = await work(signal);
    if (this.#happens("duplicate")) result = await work(signal);
    if (this.#happens("lostReply")) throw fault(`${what}: no answer`);
    await this.#delay(signal);
    return result;
  }

  async #onTheWay(what: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#delay(signal);
    if (!this.reachable) {
      this.#count("unreachable");
      throw fault(`${what}: unreachable`);
    }
    if (this.#happens("busy")) throw fault(`${what}: slow down`, 503);
  }

  #arriveLate(work: (signal: AbortSignal) => Promise<unknown>): void {
    const ms = below(this.#random, this.#lateMs);
    const arrival: Promise<void> = this.#clock
      .sleep(ms)
      .then(() => work(new AbortController().signal))
      .catch(() => undefined) // nobody hears the answer
      .then(() => void this.#late.delete(arrival));
    this.#late.add(arrival);
  }

  async *#brokenBody(found: ObjectBody): AsyncGenerator<Uint8Array> {
    let left = below(this.#random, found.bytes + 1);
    for await (const piece of found.body) {
      if (piece.byteLength > left) {
        if (left > 0) yield piece.subarray(0, left);
        throw fault(`get ${found.key}: broke off`);
      }
      left -= piece.byteLength;
      yield piece;
    }
  }

  async #delay(signal: AbortSignal): Promise<void> {
    if (this.#happens("delay")) await this.#clock.sleep(below(this.#random, this.#delayMs), signal);
  }

  #happens(what: keyof FaultRates): boolean {
    const rate = this.rates[what];
    if (rate === 0 || this.#random() >= rate) return false;
    this.#count(what);
    return true;
  }

  #count(what: Fault): void {
    this.happened.set(what, (this.happened.get(what) ?? 0) + 1);
  }
}

const fault = (message: string, status?: number): StoreError =>
  new StoreError("unknown", `injected: ${message}`, status === undefined ? {} : { status });
