// The owner of the log: writes slots, publishes, makes bases. Ties the rules together for the streamer.

import { invariant, messageOf } from "../base/errors.ts";
import { type Lsn, bytesBetween, formatLsn, lsnOf } from "../wal/lsn.ts";
import { type RecordEnd, commitTimeOf } from "../wal/record-end.ts";
import { RecordWalk } from "../wal/record.ts";
import { type Segment, segmentEnd, segmentFloor, segmentName } from "../wal/segment-name.ts";
import { type TimelinePath, isOnPath } from "../wal/timeline-path.ts";
import { type AssembleTools, fillAccepted, recordEndOfLog, requireTip } from "./assemble.ts";
import { watchBranches } from "./branch-watch.ts";
import { Change } from "./change.ts";
import { LogUseError } from "./errors.ts";
import type { Genesis } from "./genesis.ts";
import { insist } from "./insist.ts";
import { LiveLog, openStart } from "./live-log.ts";
import type { LiveSlot } from "./live-slot.ts";
import { owedBySlot, owedByView } from "./owed.ts";
import type { OwnerHealth, OwnerOptions } from "./owner-options.ts";
import { fetchPublished, publishedSource } from "./publish.ts";
import { Publisher } from "./publisher.ts";
import type { LogView } from "./read.ts";
import type { LogState } from "./run.ts";
import { SegmentBytes } from "./segment-bytes.ts";
import { SlotQueue } from "./slot-queue.ts";
import { sha256 } from "./slot.ts";
import { LogWriter, type NewTimeline, parentPath } from "./writer.ts";

/** How this owner begins, as the junction decided (T6). */
export type Beginning =
  | { readonly kind: "continue" }
  | { readonly kind: "bring" }
  /** `openBytes`: from the start of the segment up to `genesis.end`, empty when that is a segment's start. */
  | { readonly kind: "genesis"; readonly genesis: Genesis; readonly openBytes: Uint8Array };

/** What the log says to archive_command (A1 to A5). */
export type Acceptance =
  | { readonly kind: "durable" }
  /** Accepted whole, on its way to wal_005. */
  | { readonly kind: "unpublished" }
  | { readonly kind: "different" }
  /** `isNext`: its missing part can be appended from the file (A4). */
  | { readonly kind: "missing"; readonly isNext: boolean };

export class LogOwner {
  readonly #options: OwnerOptions;
  readonly #assemble: AssembleTools;
  readonly #publisher: Publisher;
  readonly #change = new Change();
  readonly #over = new AbortController();
  /** Ends with the caller's signal, a clean stop, or the loss of the log. */
  readonly #until: AbortSignal;
  readonly #live: LiveLog;
  #queue: SlotQueue;
  #writer: LogWriter | null = null;
  #reports = false;
  /** Of the settled slots. */
  #newestCommit: number | null = null;
  #isMakingBase = false;
  #background: Promise<unknown>[] = [];

  constructor(options: OwnerOptions) {
    const { claim, store, codec, signal } = options;
    this.#options = options;
    this.#until = AbortSignal.any([signal, this.#over.signal]);
    const published =
      options.published ??
      publishedSource(
        store,
        claim.identity.segmentBytes,
        { ...codec, preferred: codec.compression.method },
        this.#until,
      );
    this.#assemble = {
      store,
      cipher: codec.cipher,
      published,
      signal: this.#until,
      again: (what, read) => insist(`read ${what}`, read, { ...options, signal: this.#until }),
    };
    this.#live = new LiveLog({
      claim,
      tools: { ...options, signal: this.#until },
      due: options.baseDue,
      readOpen: (state) => this.read(requireTip(state).path, openStart(state), requireTip(state).end),
    });
    this.#queue = this.#makeQueue(claim.view);
    this.#publisher = new Publisher({
      tools: { ...options, fencing: claim.fencing, signal: this.#until },
      assemble: this.#assemble,
      view: () => this.view,
      onPaid: () => this.#considerBase(),
    });
  }

  /** The log as settled now. */
  get view(): LogView {
    return this.#live.view(this.#queue.settled);
  }

  /** Aborts when this process lost the log (T7). */
  get lost(): AbortSignal {
    return this.#queue.lost;
  }

  /** Behind the last byte taken; where a new stream of the same server goes on (W6). */
  get end(): Lsn {
    return this.#writer?.end ?? requireTip(this.#queue.settled).end;
  }

  /** Start of the open segment: where START_REPLICATION begins (W5). */
  get streamFrom(): Lsn {
    return segmentFloor(this.end, this.#queue.planned.identity.segmentBytes);
  }

  /** What may be reported as written, flushed and applied (W3); null while nothing may. */
  get durable(): Lsn | null {
    return this.#reports ? requireTip(this.#queue.settled).end : null;
  }

  /** RE of everything taken; null when it cannot be told. */
  get recordEnd(): Lsn | null {
    return this.#writer?.recordEnd ?? null;
  }

  /** RE(End) of the log as it was taken over, for the junction. Throws as `readAccepted`. */
  recordEndOfLog(): Promise<RecordEnd> {
    return recordEndOfLog(this.view, this.#assemble);
  }

  /** Accepted bytes `[from, to)` of a path, whole. */
  async read(path: TimelinePath, from: Lsn, to: Lsn): Promise<Uint8Array> {
    const bytes = new Uint8Array(bytesBetween(from, to));
    await fillAccepted(this.view, path, from, to, bytes, this.#assemble);
    return bytes;
  }

  /** Starts writing, once the junction allowed it. The backlog of publications (P2) and the sweep (D3) begin in the background. */
  async begin(beginning: Beginning): Promise<void> {
    invariant(this.#writer === null, "an owner begins once");
    if (beginning.kind === "genesis") await this.#found(beginning.genesis, beginning.openBytes);
    const { segmentBytes } = this.#queue.planned.identity;
    const tip = requireTip(this.#queue.settled);
    const start = openStart(this.#queue.settled);
    const open = await this.read(tip.path, start, tip.end);
    this.#writer = new LogWriter(
      { ...this.#writerOptions(), signal: this.#until },
      new SegmentBytes(start, segmentBytes, open),
      await this.#walkAtEnd(),
    );
    this.#reports = beginning.kind !== "bring"; // S2: nothing is durable before the history slot is accepted
    this.#publisher.owe(owedByView(this.view));
    this.#run("publish", this.#publisher.run(this.#until));
    this.#run("sweep", this.#live.sweep());
    if (this.#options.claim.fencing === "none") this.#run("watch branches", this.#watchBranches());
    this.#considerBase();
  }

  /** Takes WAL; see `LogWriter.append`. */
  async append(lsn: Lsn, timeline: number, bytes: Uint8Array): Promise<void> {
    await this.#begun.append(lsn, timeline, bytes);
  }

  /** Resolves once everything taken is settled. */
  async flush(): Promise<void> {
    await this.#begun.flush(this.#until);
  }

  /** Brings a new timeline (L6); resolves once its history slot is accepted: only then may doors open (G5). */
  async history(change: NewTimeline): Promise<void> {
    // The bytes below the fork are the parent's, which with `cut` need not be on T*'s path.
    const path = parentPath(change);
    const load = (from: Lsn, to: Lsn): Promise<Uint8Array> => this.read(path, from, to);
    await this.#begun.history(change, load, this.#until);
    this.#reports = true;
    this.#change.bump();
  }

  /** Gives up `[end, to)`; see L5. A base backup must follow at once. */
  async gap(to: Lsn): Promise<void> {
    await this.#begun.gap(to, this.#until);
  }

  /** The durable position, each time it has moved, until the signal aborts or the log is lost. */
  async *positions(signal: AbortSignal): AsyncGenerator<Lsn, void, undefined> {
    let told: Lsn | null = null;
    const isOver = (): boolean => signal.aborted || this.#until.aborted || this.lost.aborted;
    for (;;) {
      const { durable } = this;
      if (durable !== null && durable !== told) {
        told = durable;
        yield durable;
        continue;
      }
      if (isOver()) return;
      await this.#change
        .until(() => this.durable !== told || isOver(), signal, this.#until, this.lost)
        .catch(() => undefined);
    }
  }

  /** What the log knows of a complete segment with this plain hash (A1 to A4). Throws StoreError. */
  async isAccepted(segment: Segment, hash: string): Promise<Acceptance> {
    const { identity, tip } = this.#queue.settled;
    const name = segmentName(segment, identity.segmentBytes);
    const known = this.#publisher.hashOf(name) ?? (await this.#hashInStore(name));
    if (known !== null) return known === hash ? { kind: "durable" } : { kind: "different" };
    if (tip === null || !isOnPath(tip.path, segment.timeline)) return { kind: "missing", isNext: false };
    const end = segmentEnd(segment, identity.segmentBytes);
    if (segment.timeline === tip.timeline && tip.end >= end) return { kind: "unpublished" };
    const isNext = segment.timeline === tip.timeline && segmentFloor(this.end, identity.segmentBytes) < end;
    return {
      kind: "missing",
      isNext: isNext && this.streamFrom === lsnOf(end - BigInt(identity.segmentBytes)),
    };
  }

  /** Resolves once nothing is owed to wal_005 for that segment. */
  whenPublished(segment: Segment, signal: AbortSignal): Promise<void> {
    return this.#publisher.whenPaid(segment, signal, this.#until, this.lost);
  }

  /** Resolves once nothing is owed to wal_005 at all. */
  whenAllPublished(signal: AbortSignal): Promise<void> {
    return this.#publisher.whenIdle(signal, this.#until, this.lost);
  }

  get health(): OwnerHealth {
    const { clock } = this.#options;
    const oldest = this.#queue.oldestUnsettledMs;
    return {
      epoch: this.#options.claim.epoch,
      durable: this.durable,
      end: this.#writer?.end ?? null,
      newestCommit: this.#newestCommit,
      unsettledSlots: this.#queue.unsettledSlots,
      unsettledBytes: this.#queue.unsettledBytes,
      oldestUnsettledMs: oldest === null ? 0 : clock.monotonicMs() - oldest,
      trouble: this.#queue.trouble,
      owedPublications: this.#publisher.debts,
      conflict: this.#publisher.conflict,
      liveSlots: this.#live.count,
      baseSeq: this.#live.base?.header.seq ?? null,
      lost: this.lost.aborted ? messageOf(this.lost.reason) : null,
    };
  }

  /** W8: settles what is under way and makes a base, within `limitMs`; then ends. True when all of it was done. */
  async stop(limitMs: number): Promise<boolean> {
    const { clock } = this.#options;
    const timer = new AbortController();
    const limit = clock.sleep(limitMs, timer.signal).then(
      () => false,
      () => false,
    );
    const work = this.#settleAll().then(
      () => true,
      (error: unknown) => {
        this.#options.log.warn("the log was not settled at the stop", { because: messageOf(error) });
        return false;
      },
    );
    const isDone = await Promise.race([work, limit]);
    timer.abort();
    await this.close();
    return isDone;
  }

  /** Ends at once: nothing more is put. Idempotent. */
  async close(): Promise<void> {
    this.#over.abort(new LogUseError("this owner of the log has ended"));
    await Promise.allSettled(this.#background);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #begun(): LogWriter {
    if (this.#writer === null) throw new LogUseError("the owner has not begun: the junction comes first");
    return this.#writer;
  }

  #makeQueue(view: LogView): SlotQueue {
    const { claim } = this.#options;
    return new SlotQueue({
      ...this.#options,
      claim: { ...claim, view },
      signal: this.#until,
      onSettled: (slot, before, after) => this.#noteSettled(slot, before, after),
    });
  }

  /** L8: the log of a founder begins with a base that says where. */
  async #found(genesis: Genesis, openBytes: Uint8Array): Promise<void> {
    const { claim } = this.#options;
    const { identity } = claim;
    invariant(claim.view.tip === null, "a log is founded once");
    const { timeline, path, promotion, end, lastTimeline } = genesis;
    const state: LogState = {
      ...claim.view,
      tip: {
        timeline,
        promotion,
        path,
        begin: end,
        end,
        published: segmentFloor(end, identity.segmentBytes),
      },
      lastTimeline,
      histories: new Map(
        genesis.histories.map(([n, hash]) => [n, { timeline: n, sha256: hash, body: null, header: null }]),
      ),
    };
    invariant(
      openBytes.byteLength === Number(end - segmentFloor(end, identity.segmentBytes)),
      "bytes up to the fork",
    );
    if (!(await this.#live.found(state, openBytes))) {
      throw new LogUseError("the first base is gone: another node founded the log");
    }
    this.#queue = this.#makeQueue(this.#live.view(state));
    this.#options.log.info("founded the log", { timeline, end: formatLsn(end) });
  }

  /** A walk that stands at End; right behind a fork it begins there. */
  async #walkAtEnd(): Promise<RecordWalk> {
    const options = {
      ...this.#queue.planned.identity,
      onRecord: (record: Parameters<typeof commitTimeOf>[0]) => {
        const time = commitTimeOf(record);
        if (time !== null) this.#writer?.noteCommit(time);
      },
    };
    const tip = requireTip(this.#queue.settled);
    const { begin } = tip.path.at(-1)!;
    if (tip.end === begin && begin > 0n) return new RecordWalk(begin, { ...options, isRecordEnd: true });
    return (await recordEndOfLog(this.view, this.#assemble, options.onRecord)).walk;
  }

  #writerOptions() {
    const { clock, log, flushMs, queuedBytes, slotBytes } = this.#options;
    return {
      queue: this.#queue,
      clock,
      log,
      flushMs,
      queuedBytes,
      slotBytes,
      onSegment: (segment: SegmentBytes) =>
        this.#publisher.keep(requireTip(this.#queue.planned).timeline, segment),
    };
  }

  #noteSettled(slot: LiveSlot, before: LogState, after: LogState): void {
    this.#live.add(slot);
    if (slot.header.kind === "data") this.#newestCommit = slot.header.newestCommit ?? this.#newestCommit;
    this.#publisher.owe(owedBySlot(slot.header, before, after).map((owed) => ({ owed, before })));
    this.#considerBase();
    this.#change.bump();
  }

  async #hashInStore(name: string): Promise<string | null> {
    const { store, codec } = this.#options;
    const options = { cipher: codec.cipher, preferred: codec.compression.method };
    const plain = await fetchPublished(store, name, options, this.#until);
    return plain === null ? null : sha256(plain);
  }

  /** Makes a base when one is due (D1). */
  #considerBase(): void {
    if (this.#isMakingBase || this.#writer === null || !this.#live.isDue) return;
    if (this.#until.aborted || this.lost.aborted) return;
    this.#isMakingBase = true;
    const work = this.#makeBase().finally(() => {
      this.#isMakingBase = false;
    });
    this.#run("base", work);
  }

  /** A base at the highest position that owes nothing to wal_005. True when one was made. */
  #makeBase(): Promise<boolean> {
    return this.#live.makeBase(this.#publisher.oldestDebt?.before ?? this.#queue.settled);
  }

  async #settleAll(): Promise<void> {
    await this.#writer?.flush(this.#until);
    if (this.#writer === null) return;
    await this.#publisher.whenIdle(this.#until, this.lost);
    await this.#change.until(() => !this.#isMakingBase, this.#until, this.lost);
    await this.#makeBase();
  }

  /** U3: without conditional writes only looking tells of another owner. */
  async #watchBranches(): Promise<void> {
    const { claim } = this.#options;
    await watchBranches(
      claim,
      () => this.#queue.settled.firstFree,
      { ...this.#options, signal: this.#until },
      (error) => this.#queue.end(error),
    );
  }

  /** Background work: its failures are logged, only the log's own loss ends the owner. */
  #run(what: string, work: Promise<unknown>): void {
    const watched: Promise<unknown> = work
      .catch((error: unknown) => {
        if (this.#until.aborted || this.lost.aborted) return;
        this.#options.log.error(`work on the log failed: ${what}`, { because: messageOf(error) });
      })
      .finally(() => {
        this.#background = this.#background.filter((each) => each !== watched);
        this.#change.bump();
      });
    this.#background.push(watched);
  }
}
