// One store for all processes of a simulation, and a network to it for each of them.
//
// Faults, from the seed: a request takes 1 to 80 ms each way; a PUT may be lost before or behind the store, may take effect up to 10 minutes
// after its client gave up, may take effect twice; 409 and 503 with or without effect; a listing of several pages is no snapshot and may
// break off; deletes reach the keys one by one, in any order, late or never. A process may be paused with its requests under way, or dead
// while they still arrive. Never: an acknowledged object that vanishes, a listing that misses what was there all the time.

import { Buffer } from "node:buffer";
import {
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  StoreError,
} from "../../../src/storage/object-store.ts";
import { type Random, below } from "../random.ts";
import type { Process } from "./process.ts";
import type { VirtualClock } from "./virtual-clock.ts";

/** Told of every effect, at its instant. */
export interface StoreWatcher {
  /** `old`: what stood there and is overwritten; null as it should be. */
  created(key: string, bytes: Uint8Array, old: Uint8Array | null): void;
  deleted(key: string): void;
}

export interface FaultPlan {
  /** 0 … 1: how often anything goes wrong. */
  trouble: number;
}

export class SimulatedStore {
  readonly objects = new Map<string, Uint8Array>();
  readonly faults: FaultPlan = { trouble: 0.15 };
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #watcher: StoreWatcher;
  /** False: preconditions are ignored (protocol section 13). */
  readonly #isConditional: boolean;
  #late = 0;

  constructor(clock: VirtualClock, random: Random, watcher: StoreWatcher, isConditional = true) {
    this.#clock = clock;
    this.#random = random;
    this.#watcher = watcher;
    this.#isConditional = isConditional;
  }

  /** Requests that will still take effect though nobody waits for them. */
  get late(): number {
    return this.#late;
  }

  keys(prefix: string): string[] {
    return [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  /** The store as one process sees it. */
  seenBy(process: Process): ObjectStore {
    const request = <T>(what: string, isWrite: boolean, effect: () => T): Promise<T> =>
      this.#request(process, what, isWrite, effect);
    const list = (
      prefix: string,
      signal: AbortSignal,
      options?: { readonly after?: string },
    ): AsyncIterable<ObjectInfo> => this.#list(process, prefix, signal, options?.after ?? "");
    return {
      name: "simulated",
      list,
      get: async (key, signal) => {
        const bytes = await abortable(signal, () =>
          request(`get ${key}`, false, () => this.objects.get(key)),
        );
        return bytes === undefined ? null : bodyOf(key, bytes);
      },
      head: async (key, signal) => {
        const bytes = await abortable(signal, () =>
          request(`head ${key}`, false, () => this.objects.get(key)),
        );
        return bytes === undefined ? null : infoOf(key, bytes);
      },
      create: (key, body, signal) =>
        abortable(signal, () => request(`create ${key}`, true, () => this.#create(key, Buffer.from(body)))),
      put: async (key, body, signal) => {
        if (!(body instanceof Uint8Array)) throw new Error("the log puts whole objects");
        await abortable(signal, () => request(`put ${key}`, true, () => this.#put(key, Buffer.from(body))));
      },
      replace: () => Promise.reject(new Error("the log replaces nothing")),
      copy: () => Promise.reject(new Error("the log copies nothing")),
      delete: (keys, signal) => abortable(signal, () => this.#delete(process, keys)),
    };
  }

  #create(key: string, bytes: Uint8Array): "created" | "exists" {
    if (this.#isConditional && this.objects.has(key)) return "exists";
    this.#put(key, bytes);
    return "created";
  }

  #put(key: string, bytes: Uint8Array): void {
    const old = this.objects.get(key) ?? null;
    this.objects.set(key, bytes);
    this.#watcher.created(key, bytes, old);
  }

  async #request<T>(process: Process, what: string, isWrite: boolean, effect: () => T): Promise<T> {
    process.mustLive();
    const random = this.#random;
    await this.#clock.sleep(1 + below(random, 80));
    const isFaulty = random() < this.faults.trouble;
    const kind = random();
    let result: T | null = null;
    if (!isFaulty) {
      result = effect();
    } else if (kind < 0.2) {
      await this.#answerLost(process, what, 200 + below(random, 3_000)); // never arrived
    } else if (kind < 0.4) {
      effect();
      await this.#answerLost(process, what, 200 + below(random, 3_000)); // arrived, the reply was lost
    } else if (kind < 0.6 && isWrite) {
      this.#later(effect, below(random, 600_000));
      await this.#answerLost(process, what, 200 + below(random, 3_000));
    } else if (kind < 0.75 && isWrite) {
      result = effect();
      this.#later(effect, below(random, 600_000)); // the network keeps a copy
    } else if (kind < 0.9) {
      if (random() < 0.3) effect();
      await this.#answerLost(process, what, below(random, 50), random() < 0.5 ? 503 : 409);
    } else {
      await this.#clock.sleep(below(random, random() < 0.3 ? 100_000 : 5_000)); // slow, in order or not
      result = effect();
    }
    await this.#clock.sleep(1 + below(random, 40));
    await process.gate();
    return result as T;
  }

  async #answerLost(process: Process, what: string, ms: number, status?: number): Promise<never> {
    await this.#clock.sleep(ms);
    await process.gate();
    throw new StoreError(
      "unknown",
      `simulated: no answer to ${what}`,
      status === undefined ? {} : { status },
    );
  }

  #later(effect: () => unknown, ms: number): void {
    this.#late += 1;
    this.#clock.after(ms, () => {
      this.#late -= 1;
      effect();
    });
  }

  async *#list(
    process: Process,
    prefix: string,
    signal: AbortSignal,
    after: string,
  ): AsyncGenerator<ObjectInfo> {
    let from = after;
    for (;;) {
      const size = 1 + below(this.#random, 6);
      const page = await abortable(signal, () =>
        this.#request(process, `list ${prefix}`, false, () =>
          this.keys(prefix)
            .filter((key) => key > from)
            .slice(0, size)
            .map((key) => infoOf(key, this.objects.get(key)!)),
        ),
      );
      yield* page;
      if (page.length < size) return;
      from = page.at(-1)!.key;
    }
  }

  async #delete(process: Process, keys: readonly string[]): Promise<void> {
    process.mustLive();
    const order = keys.toSorted(() => this.#random() - 0.5);
    let isSure = true;
    for (const key of order) {
      await this.#clock.sleep(below(this.#random, 5));
      const remove = (): void => {
        if (this.objects.delete(key)) this.#watcher.deleted(key);
      };
      if (this.#random() >= this.faults.trouble) remove();
      else {
        isSure = false;
        if (this.#random() < 0.6) this.#later(remove, below(this.#random, 600_000));
      }
    }
    await process.gate();
    if (!isSure) throw new StoreError("unknown", "simulated: not all keys were deleted");
  }
}

/** Ends the wait when the signal aborts; the request goes on its way. */
async function abortable<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason as Error);
  signal.addEventListener("abort", stop, { once: true });
  const running = work();
  running.catch(() => undefined);
  try {
    return await Promise.race([running, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

const infoOf = (key: string, bytes: Uint8Array): ObjectInfo => ({
  key,
  bytes: bytes.byteLength,
  modifiedMs: 0,
  etag: "",
});

const bodyOf = (key: string, bytes: Uint8Array): ObjectBody => ({
  ...infoOf(key, bytes),
  body: (async function* body() {
    yield bytes;
  })(),
});
