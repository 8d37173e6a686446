// The owner's publishing to wal_005 from what the log accepted (P1 to P3): segments a few at once, everything else in its turn.
// The oldest debt bounds the next base (D1), so the order in which those behind it are paid proves nothing and promises nothing.

import { freePiece } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import { type Segment, historyName, segmentEnd, segmentName, segmentStart } from "../wal/segment-name.ts";
import { type AssembleTools, fillAccepted } from "./assemble.ts";
import { Change } from "./change.ts";
import { LogUseError, PublishConflictError, StaleViewError, WalGapError } from "./errors.ts";
import type { Debt, Owed } from "./owed.ts";
import { PARTIAL, type PublishTools, fetchPublishedHistory, publishObject } from "./publish.ts";
import type { LogView } from "./read.ts";
import type { SegmentBytes } from "./segment-bytes.ts";
import { sha256 } from "./slot.ts";

export interface PublisherOptions {
  readonly tools: PublishTools;
  readonly assemble: AssembleTools;
  /** The log as settled now. */
  readonly view: () => LogView;
  /** Told after every debt that was paid. */
  readonly onPaid: () => void;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #change = new Change();
  #debts: Debt[] = [];
  #kept: { readonly timeline: number; readonly bytes: SegmentBytes }[] = [];
  #hashes = new Map<string, string>();
  /** Debts that a lane works on, or has paid while an older one is still owed. */
  readonly #taken = new Set<Debt>();
  readonly #paid = new Set<Debt>();
  #conflict: { readonly debt: Debt; readonly error: PublishConflictError } | null = null;
  #isFirst = true;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** The oldest debt that is not paid; bases must not reach past it (D1). */
  get oldestDebt(): Debt | null {
    return this.#debts[0] ?? null;
  }

  get debts(): number {
    return this.#debts.length - this.#paid.size;
  }

  /** Set while something else stands where accepted bytes belong. */
  get conflict(): PublishConflictError | null {
    return this.#conflict?.error ?? null;
  }

  /**
   * Keeps the bytes of a segment that has just filled, to save reading them back. While there are many it is not kept: debts are paid in the
   * order in which segments fill, so that it is the one that is needed last.
   */
  keep(timeline: number, bytes: SegmentBytes): void {
    const limit = Math.max(1, Math.floor(LIMITS.keptBytes / this.#segmentBytes));
    if (this.#kept.length < limit) this.#kept.push({ timeline, bytes });
  }

  owe(debts: readonly Debt[]): void {
    if (debts.length === 0) return;
    this.#debts.push(...debts);
    this.#change.bump();
  }

  /** SHA-256 of the plain bytes of a segment published by this process lately. */
  hashOf(name: string): string | null {
    return this.#hashes.get(name) ?? null;
  }

  /** Resolves when nothing is owed for that segment. */
  whenPaid(segment: Segment, ...signals: AbortSignal[]): Promise<void> {
    const isOwed = (debt: Debt): boolean => !this.#paid.has(debt) && isFor(debt);
    const isFor = ({ owed }: Debt): boolean =>
      owed.kind === "segment" &&
      owed.segment.timeline === segment.timeline &&
      owed.segment.number === segment.number;
    return this.#change.until(() => !this.#debts.some(isOwed), ...signals);
  }

  whenIdle(...signals: AbortSignal[]): Promise<void> {
    return this.#change.until(() => this.#debts.length === 0, ...signals);
  }

  /** Pays debts until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from({ length: LIMITS.atOnce }, () => this.#lane(signal)));
  }

  async #lane(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const debt = this.#next();
      if (debt === null) {
        await this.#change.until(() => this.#next() !== null, signal);
        continue;
      }
      this.#taken.add(debt);
      if (await this.#pay(debt, signal)) this.#settle(debt);
      else this.#taken.delete(debt);
      this.#change.bump();
    }
  }

  /**
   * The next debt to take up; null while there is none. Only the oldest few are looked at, so one that cannot be paid holds up what is behind
   * them. A history or a partial segment waits for all before it, and all behind it wait for it: whoever finds one in wal_005 finds what led to it.
   */
  #next(): Debt | null {
    const oldest = this.#debts.slice(0, LIMITS.atOnce);
    const alone = oldest.findIndex(({ owed }) => owed.kind !== "segment");
    const open = alone < 0 ? oldest : oldest.slice(0, Math.max(1, alone));
    return open.find((debt) => !this.#taken.has(debt)) ?? null;
  }

  /** A paid debt goes once everything older is paid: what bounds a base is the oldest (D1). */
  #settle(debt: Debt): void {
    this.#paid.add(debt);
    if (this.#conflict?.debt === debt) this.#conflict = null;
    while (this.#debts[0] !== undefined && this.#paid.delete(this.#debts[0]))
      this.#taken.delete(this.#debts.shift()!);
    this.#options.onPaid();
  }

  /** True when it stands in wal_005 now. */
  async #pay(debt: Debt, signal: AbortSignal): Promise<boolean> {
    const { tools, view } = this.#options;
    const base = view().base;
    try {
      const { name, plain, letGo } = await this.#content(debt.owed);
      const outcome = await publishObject(name, plain, this.#isFirst, tools);
      this.#isFirst = false;
      this.#remember(name, plain);
      letGo(tools.codec.compression.method === "none");
      tools.log.debug("published", { name, outcome });
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof WalGapError) {
        tools.log.error("a segment with a gap is not published", { because: error.message });
        return true;
      }
      // A base was made meanwhile and its body has what the deleted slots had (D2).
      if (error instanceof StaleViewError && view().base !== base) return false;
      if (error instanceof PublishConflictError) this.#conflict = { debt, error };
      tools.log.error("publishing to wal_005 has stopped, it will be tried again", {
        because: messageOf(error),
      });
      await tools.clock.sleep(LIMITS.pauseMs, signal);
      return false;
    }
  }

  async #content(owed: Owed): Promise<Content> {
    const segmentBytes = this.#segmentBytes;
    switch (owed.kind) {
      case "history":
        return {
          name: historyName(owed.timeline),
          plain: await this.#history(owed.timeline),
          letGo: () => undefined,
        };
      case "segment": {
        const name = segmentName(owed.segment, segmentBytes);
        const kept = this.#takeKept(owed.segment);
        // Its slots are settled, so that nobody but the writer may still look at it, and that one asks whether it is there.
        if (kept !== null) return { name, plain: kept.all, letGo: (isLent) => kept.letGo(isLent) };
        return readBack(name, await this.#readBack(owed));
      }
      case "partial": {
        const name = segmentName(owed.segment, segmentBytes) + PARTIAL;
        return readBack(name, await this.#readBack(owed));
      }
      default:
        return owed satisfies never;
    }
  }

  async #history(timeline: number): Promise<Uint8Array> {
    const body = this.#options.view().histories.get(timeline)?.body;
    if (body === undefined) throw new LogUseError(`the log does not know timeline ${timeline}`);
    if (body !== null) return body;
    const { store, codec, signal } = this.#options.tools;
    const there = await fetchPublishedHistory(store, timeline, codec, signal);
    if (there === null)
      throw new LogUseError(`the history of timeline ${timeline} is gone from log and wal_005`);
    return there;
  }

  /** The whole segment as its path composes it; a partial one is padded with zeros. */
  async #readBack(owed: Exclude<Owed, { kind: "history" }>): Promise<Uint8Array> {
    const { segment, path } = owed;
    const start = segmentStart(segment, this.#segmentBytes);
    const end = owed.kind === "partial" ? owed.end : segmentEnd(segment, this.#segmentBytes);
    const plain = new Uint8Array(this.#segmentBytes);
    await fillAccepted(this.#options.view(), path, start, end, plain, this.#options.assemble);
    return plain;
  }

  #takeKept(segment: Segment): SegmentBytes | null {
    const start = segmentStart(segment, this.#segmentBytes);
    const index = this.#kept.findIndex(
      ({ timeline, bytes }) => timeline === segment.timeline && bytes.start === start && bytes.isFull,
    );
    if (index < 0) return null;
    // With those before it, should there be any: their turn is over, and they would stand in the way for ever.
    return this.#kept.splice(0, index + 1).at(-1)!.bytes;
  }

  #remember(name: string, plain: Uint8Array): void {
    this.#hashes.set(name, sha256(plain));
    if (this.#hashes.size > LIMITS.hashes) this.#hashes.delete(this.#hashes.keys().next().value!);
  }

  get #segmentBytes(): number {
    return this.#options.view().identity.segmentBytes;
  }
}

interface Content {
  readonly name: string;
  readonly plain: Uint8Array;
  /** Frees `plain`, which stands in wal_005 now; not by hand when it was lent to the store itself, where a late request may read it. */
  readonly letGo: (isLent: boolean) => void;
}

const readBack = (name: string, plain: Uint8Array): Content => ({
  name,
  plain,
  letGo: (isLent) => {
    if (!isLent) freePiece(plain);
  },
});

const LIMITS = {
  atOnce: 3, // each holds a segment and its sealed bytes
  keptBytes: 64 * 1024 * 1024, // past this, complete segments are read back from their slots
  hashes: 1_000,
  pauseMs: 10_000,
} as const;
