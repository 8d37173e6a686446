// The queue of slots of one ownership: positions in order, a bounded window, the same bytes at every repeat (W1, W2, W4, T7).

import { InvariantError, invariant, messageOf } from "../base/errors.ts";
import type { Codec } from "../codec/seal.ts";
import { noCipher } from "../codec/encryption.ts";
import type { ObjectStore, StoreError } from "../storage/object-store.ts";
import { Change } from "./change.ts";
import { FencedError, LogUseError } from "./errors.ts";
import { type InsistTools, insist } from "./insist.ts";
import { slotKey } from "./keys.ts";
import { type LiveSlot, getBytes } from "./live-slot.ts";
import { PutTimes } from "./put-times.ts";
import { type LogState, acceptSlot, faultOfSlot } from "./run.ts";
import {
  type DataHeader,
  type GapHeader,
  type HistoryHeader,
  SLOT_BYTES_MOST,
  WINDOW,
  decodeObject,
  describeBody,
  finishObject,
} from "./slot.ts";
import { type Claim, describeRival } from "./take-over.ts";

export type QueueStore = Pick<ObjectStore, "get" | "create" | "put">;

export interface QueueOptions extends InsistTools {
  readonly claim: Claim;
  readonly store: QueueStore;
  readonly codec: Codec;
  /** Slots under way at once, 1 … W. */
  readonly inFlight: number;
  /** Sends an identical second PUT when the first is slower than most (W2). */
  readonly hedge: boolean;
  /** Called for each slot in the order of positions, once all before it are settled. */
  readonly onSettled: (slot: LiveSlot, before: LogState, after: LogState) => void;
}

/** What a slot says, without its place in the chain. */
export type SlotContent =
  | Pick<DataHeader, "kind" | "timeline" | "start" | "end" | "newestCommit">
  | Pick<GapHeader, "kind" | "timeline" | "start" | "end">
  | Pick<HistoryHeader, "kind" | "timeline" | "parent" | "fork" | "promotion" | "cut">;

interface QueuedSlot {
  readonly key: string;
  readonly described: ReturnType<typeof describeBody<LiveSlot["header"]>>;
  readonly body: Uint8Array;
  readonly queuedAtMs: number;
  isStarted: boolean;
  isSettled: boolean;
}

export class SlotQueue {
  readonly #options: QueueOptions;
  readonly #lost = new AbortController();
  readonly #until: AbortSignal;
  readonly #times = new PutTimes();
  #planned: LogState;
  #settled: LogState;
  /** From the first unsettled position on. */
  #slots: QueuedSlot[] = [];
  #unsettledBytes = 0;
  readonly #change = new Change();
  #trouble: StoreError | null = null;

  constructor(options: QueueOptions) {
    invariant(
      options.inFlight >= 1 && options.inFlight <= WINDOW,
      `${options.inFlight} slots in flight, at most ${WINDOW}`,
    );
    this.#options = options;
    this.#planned = options.claim.view;
    this.#settled = options.claim.view;
    this.#until = AbortSignal.any([options.signal, this.#lost.signal]);
  }

  /** The log as it will be once everything submitted is settled. */
  get planned(): LogState {
    return this.#planned;
  }

  /** The log up to the end of the gap-free run of settled slots (W3). */
  get settled(): LogState {
    return this.#settled;
  }

  /** Aborts with FencedError when another owner was met (T7), or with what else ended this ownership. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get unsettledBytes(): number {
    return this.#unsettledBytes;
  }

  get unsettledSlots(): number {
    return this.#slots.length;
  }

  /** When the oldest unsettled slot was submitted, on the monotonic clock; null when all are settled. */
  get oldestUnsettledMs(): number | null {
    return this.#slots[0]?.queuedAtMs ?? null;
  }

  /** The store's last complaint, until a later answer. */
  get trouble(): StoreError | null {
    return this.#trouble;
  }

  /** True when a slot submitted now would be put at once. */
  get hasRoom(): boolean {
    return this.#slots.length < this.#options.inFlight;
  }

  /** Gives the slot its position and puts it as soon as the window allows. Returns its position. Throws when it is fenced or against the rules. */
  submit(content: SlotContent, body: Uint8Array): number {
    this.#lost.signal.throwIfAborted();
    const { claim, codec, clock } = this.#options;
    invariant(body.byteLength <= SLOT_BYTES_MOST, `a slot of ${body.byteLength} bytes`);
    const { firstFree, previous } = this.#planned;
    const chain = {
      systemId: claim.identity.systemId,
      seq: firstFree,
      epoch: claim.epoch,
      token: claim.token,
      previous,
      node: claim.node,
    };
    const described = describeBody<LiveSlot["header"]>(
      { ...chain, ...content },
      body,
      this.#codecFor(content, codec),
    );
    const fault = faultOfSlot(this.#planned, { header: described.header, body });
    if (fault !== null) throw new LogUseError(`slot ${firstFree} is refused before it is put: it ${fault}`);
    const key = slotKey(firstFree, claim.fencing === "none" ? claim.token : null);
    const { header, headerHash } = described;
    this.#planned = acceptSlot(this.#planned, { key, header, headerHash, body });
    this.#slots.push({
      key,
      described,
      body,
      queuedAtMs: clock.monotonicMs(),
      isStarted: false,
      isSettled: false,
    });
    this.#unsettledBytes += body.byteLength;
    this.#pump();
    return firstFree;
  }

  /** Resolves when every position up to and with `seq` is settled. Rejects when the ownership ends or `signal` aborts. */
  async whenSettled(seq: number, signal: AbortSignal): Promise<void> {
    await this.#change.until(() => this.#settled.firstFree > seq, this.#until, signal);
  }

  /** Resolves when fewer than `bytes` are unsettled. */
  async whenBelow(bytes: number, signal: AbortSignal): Promise<void> {
    await this.#change.until(() => this.#unsettledBytes < bytes, this.#until, signal);
  }

  /** Resolves when a slot submitted now would be put at once. */
  async whenRoom(signal: AbortSignal): Promise<void> {
    await this.#change.until(() => this.hasRoom, this.#until, signal);
  }

  /** Ends the ownership from our side: nothing more is put. Idempotent. */
  end(reason: unknown): void {
    if (this.#lost.signal.aborted) return;
    this.#lost.abort(reason);
    this.#change.bump();
  }

  #codecFor(content: SlotContent, codec: Codec): Codec {
    // A history file is small, and people may have to read it by hand.
    return content.kind === "history" ? { compression: { method: "none" }, cipher: codec.cipher } : codec;
  }

  /** Starts what the window allows: never more than `inFlight` from the first unsettled position on (W1). */
  #pump(): void {
    for (const slot of this.#slots.slice(0, this.#options.inFlight)) {
      if (slot.isStarted) continue;
      slot.isStarted = true;
      this.#settle(slot).catch((error: unknown) => this.#stop(error));
    }
  }

  /** W2. Ends only with the slot settled, the ownership lost or the signal aborted. */
  async #settle(slot: QueuedSlot): Promise<void> {
    const { codec, store } = this.#options;
    const cipher = slot.described.header.cipher === "none" ? noCipher : codec.cipher;
    // Built once: encryption draws random numbers, and every repeat must send the same bytes (W4, X6).
    const { bytes } = await finishObject(slot.described, slot.body, { ...codec, cipher });
    const tools = {
      ...this.#options,
      signal: this.#until,
      onTrouble: (error: StoreError | null) => this.#noteTrouble(error),
    };
    const outcome = await insist(`slot ${slot.key}`, () => this.#put(slot.key, bytes), tools);
    if (outcome === "exists") {
      const there = await insist(
        `read ${slot.key}`,
        () => getBytes(store, slot.key, SLOT_BYTES_MOST, this.#until),
        tools,
      );
      if (there === null) throw new FencedError(`"${slot.key}" was taken and is gone`);
      if (!isSameHeader(slot, there)) throw new FencedError(describeRival(slot.key, there)); // T7, X7
    }
    this.#until.throwIfAborted();
    slot.isSettled = true;
    this.#advance();
  }

  async #put(key: string, bytes: Uint8Array): Promise<"created" | "exists"> {
    const { store, claim, clock, hedge } = this.#options;
    if (claim.fencing === "none") {
      await store.put(key, bytes, this.#until, { bytes: bytes.byteLength }); // U1: the name is this process's own
      return "created";
    }
    const begun = clock.monotonicMs();
    const create = (): Promise<"created" | "exists"> => store.create(key, bytes, this.#until);
    const afterMs = hedge ? this.#times.slowMs : null;
    const outcome = await (afterMs === null ? create() : hedged(create, afterMs, this.#options, this.#until));
    this.#times.add(clock.monotonicMs() - begun);
    return outcome;
  }

  /** W3: over the gap-free run only, never past a hole (X9). */
  #advance(): void {
    while (this.#slots[0]?.isSettled === true) {
      const slot = this.#slots.shift()!;
      const { header, headerBytes, headerHash } = slot.described;
      this.#unsettledBytes -= slot.body.byteLength;
      const before = this.#settled;
      this.#settled = acceptSlot(before, { key: slot.key, header, headerHash, body: slot.body });
      const live: LiveSlot = { key: slot.key, header, headerBytes, headerHash, sealedBody: null };
      this.#options.onSettled(live, before, this.#settled);
    }
    this.#pump();
    this.#change.bump();
  }

  #noteTrouble(error: StoreError | null): void {
    this.#trouble = error;
    this.#options.onTrouble?.(error);
  }

  #stop(error: unknown): void {
    if (this.#until.aborted) return;
    this.#options.log.error("this node's ownership of the log has ended", { because: messageOf(error) });
    if (error instanceof InvariantError) throw error;
    this.end(error);
  }
}

/** Byte-equal header: it holds this process's token and the body's hash, so it is this very object. */
function isSameHeader(slot: QueuedSlot, there: Uint8Array): boolean {
  try {
    const { headerBytes } = decodeObject(slot.key, there);
    return Buffer.compare(headerBytes, slot.described.headerBytes) === 0;
  } catch {
    return false;
  }
}

/** A second identical PUT when the first takes longer than `afterMs`; the first clear answer counts. */
async function hedged<T>(
  attempt: () => Promise<T>,
  afterMs: number,
  { clock }: Pick<QueueOptions, "clock">,
  signal: AbortSignal,
): Promise<T> {
  const timer = new AbortController();
  const first = attempt();
  first.catch(() => timer.abort()); // a clear failure is not slow: the back-off has its turn
  const second = clock.sleep(afterMs, AbortSignal.any([timer.signal, signal])).then(attempt);
  try {
    return await Promise.any([first, second]);
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  } finally {
    timer.abort();
    second.catch(() => undefined);
  }
}
