// A log in a store in memory with the smallest set-up: take it over, found it, append WAL, look at it.

import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import type { Codec } from "../../src/codec/seal.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import type { AssembleTools } from "../../src/tail/assemble.ts";
import type { OwnerOptions } from "../../src/tail/owner-options.ts";
import { LogOwner } from "../../src/tail/owner.ts";
import { publishedSource } from "../../src/tail/publish.ts";
import { type LogView, readLog } from "../../src/tail/read.ts";
import { type Claim, type TakeOverOptions, takeOver } from "../../src/tail/take-over.ts";
import type { NewTimeline } from "../../src/tail/writer.ts";
import { type Lsn, formatLsn } from "../../src/wal/lsn.ts";
import { rootPath } from "../../src/wal/timeline-path.ts";
import { MemoryStore } from "./memory-store.ts";
import { WalBuilder } from "./wal-builder.ts";

export const SYSTEM_ID = 7_000_000_000_000_000_001n;
export const PLAIN: Codec = { compression: { method: "none" }, cipher: noCipher };

export class LogBench {
  readonly memory: MemoryStore;
  /** What the code under test sees; by default the memory itself. */
  store: ObjectStore;
  readonly signal: AbortSignal;
  readonly identity: { readonly systemId: bigint; readonly segmentBytes: number };
  #tokens = 0;

  constructor({ signal, segmentBytes = 1 << 20 }: { signal: AbortSignal; segmentBytes?: number }) {
    this.memory = new MemoryStore();
    this.store = this.memory;
    this.signal = signal;
    this.identity = { systemId: SYSTEM_ID, segmentBytes };
  }

  /** A builder of this bench's WAL. */
  wal(options: ConstructorParameters<typeof WalBuilder>[0] = {}): WalBuilder {
    return new WalBuilder({ ...this.identity, ...options });
  }

  takeOver(options: Partial<TakeOverOptions> = {}): Promise<Claim> {
    this.#tokens += 1;
    const token = this.#tokens.toString(16).padStart(32, "0");
    return takeOver(this.store, {
      identity: this.identity,
      purpose: "start",
      node: "node-a",
      fencing: "conditional",
      cipher: noCipher,
      clock: systemClock,
      log: silentLog,
      signal: this.signal,
      random: () => 0,
      drawToken: () => token,
      ...options,
    });
  }

  owner(claim: Claim, options: Partial<OwnerOptions> = {}): LogOwner {
    return new LogOwner({
      claim,
      store: this.store,
      codec: PLAIN,
      clock: systemClock,
      log: silentLog,
      signal: this.signal,
      random: () => 0,
      flushMs: 1,
      inFlight: 16,
      hedge: false,
      queuedBytes: 64 << 20,
      slotBytes: 4 << 20,
      ...options,
    });
  }

  /** Takes over an empty log and founds it at the start of `wal`. */
  async found(wal: WalBuilder, options: Partial<OwnerOptions> = {}): Promise<LogOwner> {
    const owner = this.owner(await this.takeOver(), options);
    const path = rootPath(wal.timeline);
    const promotion = "1".repeat(32);
    await owner.begin({
      kind: "genesis",
      genesis: { timeline: 1, path, promotion, end: wal.start, lastTimeline: 1, histories: [] },
      openBytes: new Uint8Array(0),
    });
    return owner;
  }

  async read(options: Partial<Parameters<typeof readLog>[1]> = {}): Promise<LogView> {
    const view = await readLog(this.store, { cipher: noCipher, signal: this.signal, ...options });
    if (view === null) throw new Error("the store holds no log");
    return view;
  }

  assembleTools(): AssembleTools {
    const codec = { cipher: noCipher, preferred: "none" as const };
    const published = publishedSource(this.store, this.identity.segmentBytes, codec, this.signal);
    return { store: this.store, cipher: noCipher, published, signal: this.signal };
  }

  keys(prefix: string): string[] {
    return [...this.memory.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  }
}

/** Everything from where the owner stands to the builder's end. */
export async function append(owner: LogOwner, wal: WalBuilder, to: Lsn = wal.end): Promise<void> {
  await owner.append(owner.end, wal.timeline, wal.bytes(owner.end, to));
}

/** A promotion from timeline 1 at `fork`, as Postgres would tell of it. */
export const promotionAt = (fork: Lsn, change: Partial<NewTimeline> = {}): NewTimeline => {
  const { timeline = 2, parent = 1 } = change;
  const body = Buffer.from(`${parent}\t${formatLsn(fork)}\tno recovery target specified\n`);
  return { timeline, parent, fork, promotion: "2".repeat(32), cut: false, body, ...change };
};

/** `inner` with some methods replaced. */
export const overriding = (inner: ObjectStore, change: Partial<ObjectStore>): ObjectStore => ({
  name: inner.name,
  get: (...args) => inner.get(...args),
  head: (...args) => inner.head(...args),
  put: (...args) => inner.put(...args),
  create: (...args) => inner.create(...args),
  replace: (...args) => inner.replace(...args),
  list: (...args) => inner.list(...args),
  delete: (...args) => inner.delete(...args),
  copy: (...args) => inner.copy(...args),
  ...change,
});
