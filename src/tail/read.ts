// Reading the log (R1, R2): listings and gets in their order. Takers, readers and drills use this one function.

import { type Clock, systemClock } from "../base/clock.ts";
import { freePiece } from "../base/bytes.ts";
import { asError } from "../base/errors.ts";
import { type Log, silentLog } from "../base/log.ts";
import { type Backoff, retry } from "../base/retry.ts";
import type { Cipher } from "../codec/encryption.ts";
import { type ObjectStore, StoreError } from "../storage/object-store.ts";
import { type Contender, chooseBase, chooseSlot } from "./branch.ts";
import { readIdentity } from "./cluster-identity.ts";
import { LogDamagedError } from "./errors.ts";
import { BASE_PREFIX, LOG_PREFIX, type LogName, keyBefore, parseLogKey, slotKey } from "./keys.ts";
import { type LiveBase, type LiveSlot, getBytes } from "./live-slot.ts";
import { mapPool } from "./pool.ts";
import { type ClusterIdentity, type LogState, acceptSlot, stateAtBase } from "./run.ts";
import { type ReadObject, SLOT_BYTES_MOST, WINDOW, decodeObject, isStoredPlain, openBody } from "./slot.ts";

/** The log as it was read or as its owner wrote it. Immutable. */
export interface LogView extends LogState {
  readonly base: LiveBase | null;
  /** Accepted slots from the base on, in order, fences included. */
  readonly slots: readonly LiveSlot[];
}

export interface ReadOptions {
  readonly cipher: Cipher;
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Known already, else read from cluster.json. */
  readonly identity?: ClusterIdentity;
  /** 0 ≤ r < 1; spreads the pauses. */
  readonly random?: () => number;
  /** How long answers that prove nothing are repeated; by default about 20 s. */
  readonly patience?: Backoff;
  /** An earlier view of the same log: what it accepted is not fetched again. */
  readonly known?: LogView | null;
  /** Sealed bodies kept in memory, in bytes; the others are fetched again when they are needed. */
  readonly keepBytes?: number;
}

/** The slice of a store that a reader needs. */
export type ReadableStore = Pick<ObjectStore, "get" | "list">;

/**
 * Reads the log; null when the store holds none at all. The result is a prefix of the log that holds everything acknowledged before the
 * call (R2). Throws LogDamagedError, ForeignLogError, LogUnreadableError, and StoreError after bounded retries.
 */
export async function readLog(store: ReadableStore, options: ReadOptions): Promise<LogView | null> {
  const reader = new Reader(store, options);
  const identity =
    options.identity ?? (await reader.again("cluster.json", () => readIdentity(store, options.signal)));
  for (let look = 1; ; look += 1) {
    const { view, beyond } = await readOnce(reader, identity);
    if (view === null || beyond === null || look === LOOKS_MOST) return view;
    // Each further look was caused by an object that came meanwhile.
    await reader.requireNewer(view, beyond);
  }
}

interface Reading {
  readonly view: LogView | null;
  /** An object so far behind the first free position that it cannot have been written while that was free; null as a rule. */
  readonly beyond: string | null;
}

async function readOnce(reader: Reader, identity: ClusterIdentity | null): Promise<Reading> {
  // R1, in this order; any other loses acknowledged WAL (X8).
  const hints = await reader.list(BASE_PREFIX, 0);
  const from = Math.min(...hints.map(({ seq }) => seq), Number.MAX_SAFE_INTEGER);
  const branched = hints.some(({ branch }) => branch !== null);
  const start = hints.length === 0 ? 0 : branched ? from : hints.at(-1)!.seq;
  const fetched = await reader.fetchSlots(start);
  const base = await reader.fetchBase();
  if (identity === null) {
    if (base === null && fetched.size === 0) return { view: null, beyond: null };
    throw new LogDamagedError("the store holds a log and no tail_v1/cluster.json");
  }
  const view = followRun(identity, base, fetched);
  return { view, beyond: firstBeyond(view, fetched) };
}

/**
 * W1: while `p` is free nobody attempts `p + W`, and a fence is followed by a dead zone, so an object there means that `p` was taken once. Not of
 * logs without conditional writes, where a losing branch may be longer than the one that counts.
 */
function firstBeyond(
  { firstFree }: LogView,
  fetched: ReadonlyMap<number, readonly Fetched[]>,
): string | null {
  let lowest: Fetched | null = null;
  for (const [seq, [first]] of fetched) {
    if (first === undefined || first.name.branch !== null) return null;
    if (seq >= firstFree + WINDOW && (lowest === null || seq < lowest.name.seq)) lowest = first;
  }
  return lowest?.key ?? null;
}

/** An empty log of this identity: what a founder starts from. */
export const emptyLog = (identity: ClusterIdentity): LogView => ({
  ...stateAtBase(identity, null),
  base: null,
  slots: [],
});

/** L2, L3 over what was fetched. Throws LogDamagedError. */
function followRun(
  identity: ClusterIdentity,
  base: LiveBase | null,
  fetched: ReadonlyMap<number, readonly Fetched[]>,
): LogView {
  if (base === null && fetched.size > 0 && !fetched.has(0)) {
    throw new LogDamagedError("the log has slots but neither a base nor position 0: someone deleted from it"); // L2
  }
  let state = stateAtBase(identity, base);
  const slots: LiveSlot[] = [];
  for (;;) {
    const found = pick(state, fetched.get(state.firstFree) ?? []);
    if (found === null) return { ...state, base, slots };
    if (found.content instanceof Error) throw found.content;
    const { object, historyBody } = found.content;
    const { header } = object;
    if (header.kind === "base") throw new LogDamagedError(`object "${found.key}" is a base among the slots`);
    const { key } = found;
    state = acceptSlot(state, { key, header, headerHash: object.headerHash, body: historyBody });
    if (found.bodyFault !== null) throw found.bodyFault; // L4: a right body hash
    slots.push({ ...object, key, header, sealedBody: found.isKept ? object.sealedBody : null });
  }
}

function pick(state: LogState, contenders: readonly Fetched[]): Fetched | null {
  const plain = contenders.find(({ name }) => name.branch === null);
  if (plain !== undefined) return plain;
  const readable = contenders.flatMap((fetched): (Fetched & Contender<LiveSlot["header"]>)[] => {
    if (fetched.content instanceof Error || fetched.content.object.header.kind === "base") return [];
    return [{ ...fetched, header: fetched.content.object.header }];
  });
  return chooseSlot(state, readable);
}

/** An object as a listing tells of it. */
type ListedName = LogName & { readonly key: string; readonly bytes: number };

/** A slot as it came; what is wrong with it counts only if it lies on the run. */
interface Fetched {
  readonly key: string;
  readonly name: LogName;
  readonly content: { readonly object: ReadObject; readonly historyBody: Uint8Array | null } | Error;
  readonly bodyFault: Error | null;
  readonly isKept: boolean;
}

class Reader {
  readonly #store: ReadableStore;
  readonly #options: ReadOptions;
  #keepBytes: number;

  constructor(store: ReadableStore, options: ReadOptions) {
    this.#store = store;
    this.#options = options;
    this.#keepBytes = options.keepBytes ?? LIMITS.keepBytes;
  }

  /** Repeats `work` while the answer proves nothing. */
  again<T>(what: string, work: () => Promise<T>): Promise<T> {
    const { clock = systemClock, log = silentLog, signal, patience = READ_PATIENCE } = this.#options;
    const { random = Math.random } = this.#options;
    return retry(`reading the log: ${what}`, work, mayPass, patience, { clock, log, signal, random });
  }

  /** Names under `prefix` from position `from` on, in order. A listing that breaks off is begun anew. */
  list(prefix: string, from: number): Promise<ListedName[]> {
    return this.again(`list ${prefix}`, async () => {
      const names: ListedName[] = [];
      const start = prefix === LOG_PREFIX ? keyBefore(from) : undefined;
      for await (const { key, bytes } of this.#store.list(prefix, this.#options.signal, start)) {
        const name = parseLogKey(key, prefix);
        if (name !== null) names.push({ ...name, key, bytes });
      }
      return names;
    });
  }

  /** Step 2: LIST log/, GET what it names. A 404 is an absent slot. */
  async fetchSlots(from: number): Promise<Map<number, Fetched[]>> {
    const names = await this.list(LOG_PREFIX, from);
    const known = new Map(this.#options.known?.slots.map((slot) => [slot.key, slot]));
    const fetchOne = async (name: ListedName): Promise<Fetched | null> => {
      const seen = known.get(name.key);
      return seen === undefined
        ? this.#fetchSlot(name.key, name)
        : fetchedBefore(name, seen, this.#options.known!);
    };
    const fetched = await mapPool(names, LIMITS.getsInFlight, fetchOne, {
      most: LIMITS.bytesInFlight,
      of: ({ bytes }) => Math.min(4 * bytes, bytes + SLOT_BYTES_MOST), // as stored and as plain bytes
    });
    const bySeq = new Map<number, Fetched[]>();
    for (const each of fetched) {
      if (each === null) continue;
      const there = bySeq.get(each.name.seq);
      if (there === undefined) bySeq.set(each.name.seq, [each]);
      else there.push(each);
    }
    return bySeq;
  }

  /**
   * A listing of several pages is no snapshot: the free position, or a base above it, may have come since its page was read. Throws LogDamagedError
   * (L2) when neither has.
   */
  async requireNewer({ firstFree }: LogView, beyond: string): Promise<void> {
    const key = slotKey(firstFree);
    const { signal } = this.#options;
    if ((await this.again(key, () => getBytes(this.#store, key, SLOT_BYTES_MOST, signal))) !== null) return;
    if ((await this.list(BASE_PREFIX, 0)).some(({ seq }) => seq > firstFree)) return;
    throw new LogDamagedError(
      `object "${key}" is missing and "${beyond}" is there: someone deleted from the log, which goes on behind it`,
    );
  }

  async #fetchSlot(key: string, name: LogName): Promise<Fetched | null> {
    const { signal, cipher } = this.#options;
    const bytes = await this.again(key, () => getBytes(this.#store, key, SLOT_BYTES_MOST, signal));
    if (bytes === null) return null;
    const object = attempt(() => decodeObject(key, bytes));
    if (object instanceof Error) return { key, name, content: object, bodyFault: null, isKept: false };
    const body = await openBody(key, object, cipher).catch(asError);
    const historyBody = object.header.kind === "history" && !(body instanceof Error) ? body : null;
    const isDone = historyBody === null && !(body instanceof Error) && !isStoredPlain(object.header);
    if (isDone) freePiece(body); // looked at: up to 4 MiB a slot, of which a collection would let some 64 MB gather
    const isKept = object.sealedBody.byteLength <= this.#keepBytes;
    if (isKept) this.#keepBytes -= object.sealedBody.byteLength;
    const content = {
      // A view of the whole object would keep all of it in memory.
      object: isKept
        ? object
        : { ...object, headerBytes: Uint8Array.from(object.headerBytes), sealedBody: NOTHING },
      historyBody,
    };
    return { key, name, content, bodyFault: body instanceof Error ? body : null, isKept };
  }

  /** Step 3: LIST base/ again, GET the highest; on 404 once more. */
  async fetchBase(): Promise<LiveBase | null> {
    const { cipher, known } = this.#options;
    for (;;) {
      const names = await this.list(BASE_PREFIX, 0);
      const highest = names.at(-1);
      if (highest === undefined) return null;
      const wanted = names.some(({ branch }) => branch !== null) ? names : [highest];
      if (wanted.length === 1 && known?.base?.key === highest.key) return known.base;
      const bases: (Contender<LiveBase["header"]> & { base: LiveBase })[] = [];
      for (const name of wanted) {
        const base = await this.#fetchOneBase(name);
        if (base !== null) bases.push({ name, header: base.header, base });
      }
      const chosen = chooseBase(bases)?.base;
      if (chosen === undefined) continue;
      await openBody(chosen.key, { ...chosen, sealedBody: chosen.sealedBody! }, cipher);
      return chosen;
    }
  }

  async #fetchOneBase(name: LogName & { key: string }): Promise<LiveBase | null> {
    const { key, seq } = name;
    const { signal } = this.#options;
    const bytes = await this.again(key, () => getBytes(this.#store, key, LIMITS.baseBytesMost, signal));
    if (bytes === null) return null;
    const object = decodeObject(key, bytes);
    const { header } = object;
    if (header.kind !== "base") throw new LogDamagedError(`object "${key}" is a ${header.kind}, not a base`);
    if (header.seq !== seq) throw new LogDamagedError(`object "${key}" says that it is base ${header.seq}`);
    return { ...object, key, header };
  }
}

function fetchedBefore(name: LogName & { key: string }, slot: LiveSlot, known: LogView): Fetched {
  const { header, headerBytes, headerHash, sealedBody } = slot;
  const historyBody = header.kind === "history" ? (known.histories.get(header.timeline)?.body ?? null) : null;
  const object = { header, headerBytes, headerHash, sealedBody: sealedBody ?? NOTHING };
  return {
    key: name.key,
    name,
    content: { object, historyBody },
    bodyFault: null,
    isKept: sealedBody !== null,
  };
}

function attempt<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return asError(error);
  }
}

const mayPass = (error: unknown): boolean => error instanceof StoreError && error.kind !== "refused";
const NOTHING = new Uint8Array(0);

/** Readings of a log that moves faster than its listings; the last one counts in any case. */
const LOOKS_MOST = 20;

const LIMITS = {
  getsInFlight: 16,
  bytesInFlight: 32 * 1024 * 1024,
  keepBytes: 16 * 1024 * 1024,
  baseBytesMost: 1024 * 1024 * 1024, // less than one segment, of which the largest has 1 GiB
} as const;

const READ_PATIENCE: Backoff = { firstMs: 200, mostMs: 3_000, tries: 10, totalMs: 20_000 };
