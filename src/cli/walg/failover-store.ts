// Several storages as one: reads look in all of them, writes go to the first that answers. WAL-G's failover storages.

import type { Clock } from "../../base/clock.ts";
import { AppError, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import {
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  StoreError,
} from "../../storage/object-store.ts";

export interface NamedStore {
  /** `default`, or the failover storage's name. */
  readonly name: string;
  readonly store: ObjectStore;
}

export interface FailoverOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** How long a storage may take to answer before the next one is tried, milliseconds. */
  readonly checkTimeoutMs: number;
}

/** One storage of several, in order of preference. "Not there" is said only when every one of them says so. */
export class FailoverStore implements ObjectStore {
  readonly name: string;
  readonly #members: readonly NamedStore[];
  readonly #options: FailoverOptions;
  #writable: Promise<NamedStore> | null = null;

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
    return this.#first((store) => store.get(key, signal, range), signal);
  }

  head(key: string, signal: AbortSignal): Promise<ObjectInfo | null> {
    return this.#first((store) => store.head(key, signal), signal);
  }

  /** The union, in key order; of an object that lies in several the first storage's. Throws when any storage cannot be listed. */
  async *list(
    prefix: string,
    signal: AbortSignal,
    options: { readonly after?: string } = {},
  ): AsyncGenerator<ObjectInfo> {
    const walks = this.#members.map(({ store }) =>
      store.list(prefix, signal, options)[Symbol.asyncIterator](),
    );
    const heads = await Promise.all(walks.map((walk) => walk.next()));
    for (;;) {
      const open = heads.flatMap((head, index) => (head.done === true ? [] : [{ index, info: head.value }]));
      if (open.length === 0) return;
      const least = open.reduce((a, b) => (compareBytes(b.info.key, a.info.key) < 0 ? b : a));
      yield least.info;
      for (const { index, info } of open) {
        if (info.key === least.info.key) heads[index] = await walks[index]!.next();
      }
    }
  }

  async put(
    key: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    options?: { readonly bytes?: number },
  ): Promise<void> {
    await (await this.#chosen(signal)).put(key, body, signal, options);
  }

  async create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    return (await this.#chosen(signal)).create(key, body, signal);
  }

  async replace(
    key: string,
    body: Uint8Array,
    etag: string,
    signal: AbortSignal,
  ): Promise<"replaced" | "changed"> {
    return (await this.#chosen(signal)).replace(key, body, etag, signal);
  }

  /** From every storage: a copy that stayed would come back. */
  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    for (const { store } of this.#members) await store.delete(keys, signal);
  }

  async copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    for (const { store } of this.#members) {
      if ((await store.head(from, signal)) !== null) return store.copy(from, to, signal);
    }
    throw new StoreError("refused", `"${from}" is in none of ${this.name}`);
  }

  async #first<T>(look: (store: ObjectStore) => Promise<T | null>, signal: AbortSignal): Promise<T | null> {
    let trouble: unknown;
    for (const { name, store } of this.#members) {
      try {
        const found = await look(store);
        if (found !== null) return found;
      } catch (error) {
        signal.throwIfAborted();
        this.#options.log.warn("a storage could not be read", { storage: name, because: messageOf(error) });
        trouble ??= error;
      }
    }
    if (trouble !== undefined) throw trouble;
    return null;
  }

  /** One storage for the whole run: a backup must not lie in two. */
  async #chosen(signal: AbortSignal): Promise<ObjectStore> {
    this.#writable ??= this.#choose(signal);
    return (await this.#writable).store;
  }

  async #choose(signal: AbortSignal): Promise<NamedStore> {
    const { log, checkTimeoutMs } = this.#options;
    const troubles: string[] = [];
    for (const member of this.#members) {
      try {
        const limit = AbortSignal.any([signal, AbortSignal.timeout(checkTimeoutMs)]);
        for await (const _ of member.store.list("", limit)) break;
        if (troubles.length > 0) log.warn("writing to a failover storage", { storage: member.name });
        return member;
      } catch (error) {
        signal.throwIfAborted();
        troubles.push(`${member.name}: ${messageOf(error)}`);
        log.warn("a storage does not answer", { storage: member.name, because: messageOf(error) });
      }
    }
    throw new AppError(`no storage answers: ${troubles.join("; ")}`, {
      code: "NO_STORE",
      hint: "check the endpoints of the store and of WALG_FAILOVER_STORAGES",
    });
  }
}

const compareBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
