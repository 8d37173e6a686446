// Several stores as one: reads look in all that are alive, writes go to the first of them. What WAL-G calls failover storages
// (reference/walg-storage-format.md section 35).

import type { Clock } from "../base/clock.ts";
import { compareKeys } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import {
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  type PutOptions,
  StoreError,
} from "./object-store.ts";

export interface NamedStore {
  /** `default`, or the failover storage's name. */
  readonly name: string;
  readonly store: ObjectStore;
}

export interface FailoverOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** How long a member may take to show that it is alive, milliseconds. */
  readonly checkTimeoutMs: number;
  /** How long what was found out about the members is believed, milliseconds; a quarter of an hour when left out. */
  readonly believeMs?: number;
}

const BELIEVE_MS = 900_000;

interface Survey {
  readonly atMs: number;
  readonly alive: readonly NamedStore[];
  /** Why the others are not, by name. */
  readonly dead: ReadonlyMap<string, string>;
}

/**
 * Members in order of preference. Conditional writes hold only within the member that takes them: never put a tail log here.
 * While a member is dead, "not there" cannot be said (it throws `unknown`), but a listing shows what the others hold.
 */
export class FailoverStore implements ObjectStore {
  readonly name: string;
  readonly #members: readonly NamedStore[];
  readonly #options: FailoverOptions;
  #survey: Promise<Survey> | null = null;

  constructor(members: readonly NamedStore[], options: FailoverOptions) {
    this.name = members.map(({ store }) => store.name).join(" | ");
    this.#members = members;
    this.#options = options;
  }

  get(
    key: string,
    signal: AbortSignal,
    range?: { readonly start: number; readonly end?: number },
  ): Promise<ObjectBody | null> {
    return this.#first(key, (store) => store.get(key, signal, range), signal);
  }

  head(key: string, signal: AbortSignal): Promise<ObjectInfo | null> {
    return this.#first(key, (store) => store.head(key, signal), signal);
  }

  async put(
    key: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    options?: PutOptions,
  ): Promise<void> {
    await this.#write(signal, (store) => store.put(key, body, signal, options));
  }

  create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    return this.#write(signal, (store) => store.create(key, body, signal));
  }

  replace(key: string, body: Uint8Array, etag: string, signal: AbortSignal): Promise<"replaced" | "changed"> {
    return this.#write(signal, (store) => store.replace(key, body, etag, signal));
  }

  /** The union of the members alive, in key order; of an object that lies in several, the first member's. */
  async *list(
    prefix: string,
    signal: AbortSignal,
    options: { readonly after?: string } = {},
  ): AsyncGenerator<ObjectInfo> {
    const { alive } = await this.#look(signal);
    const walks = alive.map(({ store }) => store.list(prefix, signal, options)[Symbol.asyncIterator]());
    try {
      const heads = await Promise.all(walks.map((walk) => walk.next()));
      for (;;) {
        const infos = heads.map((head) => (head.done === true ? null : head.value));
        const least = infos.reduce(
          (a, b) => (a === null || (b !== null && compareKeys(b.key, a.key) < 0) ? b : a),
          null,
        );
        if (least === null) return;
        yield least;
        for (const [at, info] of infos.entries()) {
          if (info?.key === least.key) heads[at] = await walks[at]!.next();
        }
      }
    } finally {
      for (const walk of walks) await walk.return?.();
    }
  }

  /** From every member: a copy that stayed would come back. Throws, having deleted elsewhere, when a member fails. */
  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    const outcomes = await Promise.allSettled(this.#members.map(({ store }) => store.delete(keys, signal)));
    signal.throwIfAborted();
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  /** Within the member that holds the source. */
  async copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    const { alive } = await this.#look(signal);
    for (const { store } of alive) {
      if ((await store.head(from, signal)) !== null) return store.copy(from, to, signal);
    }
    throw new StoreError("refused", `could not copy "${from}": it is in none of ${this.name}`);
  }

  async #first<T>(
    key: string,
    look: (store: ObjectStore) => Promise<T | null>,
    signal: AbortSignal,
  ): Promise<T | null> {
    const { alive, dead } = await this.#look(signal);
    let trouble: unknown = null;
    for (const { name, store } of alive) {
      try {
        const found = await look(store);
        if (found !== null) return found;
      } catch (error) {
        signal.throwIfAborted();
        this.#options.log.warn("a storage could not be read", { storage: name, because: messageOf(error) });
        this.#survey = null; // look again before the next request
        trouble ??= error;
      }
    }
    if (trouble !== null) throw trouble;
    if (dead.size === 0) return null;
    throw new StoreError("unknown", `"${key}" is in no storage that answers; ${sentence(dead)}`);
  }

  /** The first member alive takes it. A failure is the caller's to judge: the write may have happened. */
  async #write<T>(signal: AbortSignal, write: (store: ObjectStore) => Promise<T>): Promise<T> {
    const { alive } = await this.#look(signal);
    const [first] = alive;
    try {
      return await write(first!.store);
    } catch (error) {
      if (error instanceof StoreError && error.kind === "unknown") this.#survey = null;
      throw error;
    }
  }

  /** Who is alive, at least one. Throws StoreError when nobody is. */
  async #look(signal: AbortSignal): Promise<Survey> {
    const { clock, believeMs = BELIEVE_MS } = this.#options;
    const known = await this.#survey?.catch(() => null);
    if (known && clock.monotonicMs() - known.atMs < believeMs) return known;
    this.#survey = this.#ask(signal);
    return this.#survey;
  }

  async #ask(signal: AbortSignal): Promise<Survey> {
    const { clock, log } = this.#options;
    const dead = new Map<string, string>();
    await Promise.all(
      this.#members.map(async (member) => {
        const because = await this.#whyDead(member, signal);
        if (because !== null) dead.set(member.name, because);
      }),
    );
    const alive = this.#members.filter(({ name }) => !dead.has(name));
    if (alive.length === 0) {
      throw new StoreError("unknown", `no storage answers; ${sentence(dead)}`, {
        hint: "check the endpoints of the store and of WALG_FAILOVER_STORAGES",
      });
    }
    for (const [storage, because] of dead) log.warn("a storage does not answer", { storage, because });
    if (dead.size > 0) log.warn("writing to the first storage that answers", { storage: alive[0]!.name });
    return { atMs: clock.monotonicMs(), alive, dead };
  }

  async #whyDead({ store }: NamedStore, signal: AbortSignal): Promise<string | null> {
    const limit = AbortSignal.timeout(this.#options.checkTimeoutMs);
    try {
      for await (const _ of store.list("", AbortSignal.any([signal, limit]))) break;
      return null;
    } catch (error) {
      signal.throwIfAborted();
      return limit.aborted ? `no answer within ${this.#options.checkTimeoutMs} ms` : messageOf(error);
    }
  }
}

const sentence = (dead: ReadonlyMap<string, string>): string =>
  [...dead].map(([name, because]) => `storage "${name}" does not: ${because}`).join("; ");
