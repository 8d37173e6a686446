// From received WAL to slots (W3, W5): batches that end where messages or pages end, histories checked before they are put (L6).

import type { Clock } from "../base/clock.ts";
import { invariant, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Lsn, addBytes, formatLsn, lsnOf, minLsn } from "../wal/lsn.ts";
import { PAGE_BYTES } from "../wal/page.ts";
import { commitTimeOf } from "../wal/record-end.ts";
import { RecordWalk } from "../wal/record.ts";
import { type TimelineId, segmentFloor } from "../wal/segment-name.ts";
import { parseHistory } from "../wal/timeline-history.ts";
import { type TimelinePath, pathOfHistory } from "../wal/timeline-path.ts";
import { HistoryRefusedError, LogUseError, WalDivergedError } from "./errors.ts";
import type { LogTip } from "./run.ts";
import { SegmentBytes } from "./segment-bytes.ts";
import { SLOT_BYTES_MOST } from "./slot.ts";
import type { SlotQueue } from "./slot-queue.ts";

export interface WriterOptions {
  readonly queue: SlotQueue;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Longest time from the first byte of a slot to its PUT: WAL_FLUSH_INTERVAL, or the linger of DURABILITY=bucket. */
  readonly flushMs: number;
  /** `append` waits while this many bytes or more are not settled. */
  readonly queuedBytes: number;
  /** Most plain bytes in a slot, at most 4 MiB. */
  readonly slotBytes: number;
  /** Told of every segment when its last byte was taken, before it is settled. */
  readonly onSegment: (segment: SegmentBytes) => void;
}

/** A new timeline, as the promotion made it. */
export interface NewTimeline {
  readonly timeline: TimelineId;
  readonly parent: TimelineId;
  /** First byte of the new timeline. */
  readonly fork: Lsn;
  readonly promotion: string;
  /** True when the operator asked for a point before the end. */
  readonly cut: boolean;
  /** The `.history` file as Postgres wrote it. */
  readonly body: Uint8Array;
}

export class LogWriter {
  readonly #options: WriterOptions;
  #open: SegmentBytes;
  /** The segment before, if this writer filled it: until it is published a second source may still hand over its bytes. */
  #full: SegmentBytes | null = null;
  #walk: RecordWalk;
  #batch: Batch | null = null;
  #newestCommit: number | null = null;
  #isFlushing = false;
  #isWalkLost = false;

  /** `open`: the accepted bytes of the segment of End; `walk` stands at End. */
  constructor(options: WriterOptions, open: SegmentBytes, walk: RecordWalk) {
    invariant(options.slotBytes >= PAGE_BYTES && options.slotBytes <= SLOT_BYTES_MOST, "size of slots");
    this.#options = options;
    this.#open = open;
    this.#walk = walk;
    invariant(
      open.end === this.#tip.end && walk.position === open.end,
      "the writer starts where the log ends",
    );
  }

  /** Behind the last byte taken, put or not: where the next bytes belong (W6). */
  get end(): Lsn {
    return this.#open.end;
  }

  /** The segment that is filling. */
  get openSegment(): SegmentBytes {
    return this.#open;
  }

  /** RE(end); null when it cannot be told from the bytes seen. */
  get recordEnd(): Lsn | null {
    return this.#walk.recordEndWithZeros();
  }

  /** Feeds the walk's records here; the one who makes the walk passes it as `onRecord`. */
  noteCommit(atMs: number): void {
    this.#newestCommit = Math.max(this.#newestCommit ?? 0, atMs);
    if (this.#batch !== null) this.#batch.newestCommit = this.#newestCommit;
  }

  /**
   * Takes bytes of the newest timeline. What lies below the end is compared with what the log holds, then dropped (W5). Waits while too much
   * is unsettled. Throws WalDivergedError, LogUseError; FencedError once the log is lost.
   */
  async append(lsn: Lsn, timeline: TimelineId, bytes: Uint8Array): Promise<void> {
    const { queue, queuedBytes, signal } = this.#options;
    await queue.whenBelow(queuedBytes, signal);
    // From here on nothing waits: two sources (the stream, a segment from pg_wal) cannot interleave.
    queue.lost.throwIfAborted();
    const { timeline: current } = this.#tip;
    if (timeline !== current) {
      throw new LogUseError(`WAL of timeline ${timeline} was handed over, the log is on ${current}`);
    }
    const fresh = this.#compare(lsn, bytes);
    for (let at = 0; at < fresh.byteLength;) at += this.#take(fresh.subarray(at));
    this.#startFlushing();
  }

  /** Puts what was taken and waits until it is settled. */
  async flush(signal: AbortSignal): Promise<void> {
    this.#seal();
    const { queue } = this.#options;
    await queue.whenSettled(queue.planned.firstFree - 1, signal);
  }

  /**
   * Puts a history slot and waits until it is accepted; from then on only the new timeline is taken. `loadOpen` reads accepted bytes when the
   * fork lies below the open segment. Throws HistoryRefusedError (L6).
   */
  async history(
    change: NewTimeline,
    loadOpen: (from: Lsn, to: Lsn) => Promise<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const { queue } = this.#options;
    const { segmentBytes } = queue.planned.identity;
    await this.flush(signal);
    this.#checkHistory(change);
    const { timeline, parent, fork, promotion, cut, body } = change;
    const start = segmentFloor(fork, segmentBytes);
    // The open segment is T*'s; with `cut` the parent may be another, with other bytes at the same place.
    const isOwn = parent === this.#tip.timeline;
    const kept = isOwn ? this.#open.slice(start, fork) : null;
    const below = kept === null ? await loadOpen(start, fork) : Uint8Array.from(kept);
    const seq = queue.submit({ kind: "history", timeline, parent, fork, promotion, cut }, body);
    this.#open = new SegmentBytes(start, segmentBytes, below);
    this.#full = null;
    this.#walk = new RecordWalk(fork, { ...this.#walkOptions(), isRecordEnd: true });
    await queue.whenSettled(seq, signal);
  }

  /** Says that `[end, to)` will never come, and goes on at `to`, a segment's start (L5). Waits until it is accepted. */
  async gap(to: Lsn, signal: AbortSignal): Promise<void> {
    const { queue, log } = this.#options;
    const { segmentBytes } = queue.planned.identity;
    if (to % BigInt(segmentBytes) !== 0n || to <= this.end) {
      throw new LogUseError(`a gap from ${formatLsn(this.end)} cannot end at ${formatLsn(to)}`);
    }
    this.#seal();
    log.error("WAL was lost before it reached the store", { from: formatLsn(this.end), to: formatLsn(to) });
    for (let start = this.end; start < to;) {
      const end = minLsn(to, addBytes(segmentFloor(start, segmentBytes), segmentBytes));
      queue.submit({ kind: "gap", timeline: this.#tip.timeline, start, end }, new Uint8Array(0));
      start = end;
    }
    this.#open = new SegmentBytes(to, segmentBytes);
    this.#full = null;
    this.#walk = new RecordWalk(to, this.#walkOptions());
    await queue.whenSettled(queue.planned.firstFree - 1, signal);
  }

  get #tip(): LogTip {
    const { tip } = this.#options.queue.planned;
    invariant(tip !== null, "a writer without a log");
    return tip;
  }

  #walkOptions(): ConstructorParameters<typeof RecordWalk>[1] {
    return {
      ...this.#options.queue.planned.identity,
      onRecord: (record) => {
        const time = commitTimeOf(record);
        if (time !== null) this.noteCommit(time);
      },
    };
  }

  /** Checks what overlaps and returns what is new. */
  #compare(lsn: Lsn, bytes: Uint8Array): Uint8Array {
    const { end } = this;
    if (lsn > end) {
      throw new LogUseError(
        `WAL from ${formatLsn(lsn)} was handed over, the log goes on at ${formatLsn(end)}`,
      );
    }
    const known = Number(end - lsn);
    if (known === 0) return bytes;
    const overlap = Math.min(known, bytes.byteLength);
    const inFull = Math.min(overlap, Math.max(0, Number(this.#open.start - lsn)));
    this.#mustEqual(this.#full, lsn, bytes.subarray(0, inFull));
    this.#mustEqual(this.#open, addBytes(lsn, inFull), bytes.subarray(inFull, overlap));
    return bytes.subarray(overlap);
  }

  #mustEqual(segment: SegmentBytes | null, lsn: Lsn, bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    const accepted = segment?.slice(lsn, addBytes(lsn, bytes.byteLength)) ?? null;
    if (accepted === null) {
      throw new LogUseError(
        `WAL from ${formatLsn(lsn)} lies below the open segment at ${formatLsn(this.#open.start)}`,
        "start the stream at the start of the open segment",
      );
    }
    if (Buffer.compare(accepted, bytes) !== 0) {
      throw new WalDivergedError(`WAL from ${formatLsn(lsn)} has other bytes than the log accepted`);
    }
  }

  /** Takes the first part of `bytes`, one slot or one segment at most, and says how many bytes that was. */
  #take(bytes: Uint8Array): number {
    const { slotBytes, clock, onSegment } = this.#options;
    const size = Math.min(bytes.byteLength, this.#open.room);
    if (this.#batch !== null && Number(this.end - this.#batch.start) + size > slotBytes) this.#seal();
    const count = size > slotBytes ? this.#toPageBoundary(slotBytes) : size;
    this.#batch ??= { start: this.end, sinceMs: clock.monotonicMs(), newestCommit: null };
    const part = bytes.subarray(0, count);
    this.#open.append(part);
    this.#walk.push(part);
    this.#noteLostWalk();
    if (this.#open.isFull) {
      this.#seal();
      onSegment(this.#open);
      this.#full = this.#open;
      this.#open = new SegmentBytes(this.end, this.#options.queue.planned.identity.segmentBytes);
    } else if (count < size) {
      this.#seal();
    }
    return count;
  }

  /** At most `most` bytes that end on a page's boundary. */
  #toPageBoundary(most: number): number {
    const end = this.end + BigInt(most);
    return Number(end - (end % BigInt(PAGE_BYTES)) - this.end);
  }

  /** Makes a slot of what was taken. Once submitted it is never rebuilt, split or moved (W4). */
  #seal(): void {
    const batch = this.#batch;
    if (batch === null) return;
    this.#batch = null;
    const { end } = this;
    const body = this.#open.slice(batch.start, end);
    invariant(body !== null && body.byteLength > 0, "a batch lies in the open segment");
    const { timeline } = this.#tip;
    const { start, newestCommit } = batch;
    this.#options.queue.submit({ kind: "data", timeline, start, end, newestCommit }, body);
  }

  #startFlushing(): void {
    if (this.#isFlushing || this.#batch === null) return;
    this.#isFlushing = true;
    this.#flushOnTime()
      .catch((error: unknown) => {
        if (!this.#options.signal.aborted && !this.#options.queue.lost.aborted)
          this.#options.queue.end(error);
      })
      .finally(() => {
        this.#isFlushing = false;
      });
  }

  async #flushOnTime(): Promise<void> {
    const { clock, flushMs, queue, signal } = this.#options;
    const until = AbortSignal.any([signal, queue.lost]);
    for (;;) {
      const batch = this.#batch;
      if (batch === null) {
        this.#isFlushing = false; // at once: the next byte may come before anyone waits for this
        return;
      }
      const waitMs = batch.sinceMs + flushMs - clock.monotonicMs();
      if (waitMs > 0) await clock.sleep(waitMs, until);
      // While the window is full the batch grows: one larger PUT instead of a queue of small ones.
      else if (queue.hasRoom) this.#seal();
      else await queue.whenRoom(until);
    }
  }

  #checkHistory({ timeline, parent, fork, cut }: NewTimeline): void {
    const { lastTimeline, tip } = this.#options.queue.planned;
    if (timeline <= lastTimeline) {
      throw new HistoryRefusedError(
        `timeline ${timeline} is not above ${lastTimeline}, which the log accepted`,
      );
    }
    if (cut) return;
    if (parent !== tip!.timeline) {
      throw new HistoryRefusedError(`timeline ${timeline} leaves ${parent}, the log is on ${tip!.timeline}`);
    }
    const { recordEnd } = this;
    if (fork === recordEnd) return;
    const wanted = recordEnd === null ? "unknown" : formatLsn(recordEnd);
    throw new HistoryRefusedError(
      `timeline ${timeline} forks at ${formatLsn(fork)}, the last record of the log ends at ${wanted}`,
    );
  }

  #noteLostWalk(): void {
    const { stopped } = this.#walk;
    if (stopped === null || this.#isWalkLost) return;
    this.#isWalkLost = true;
    const at = formatLsn(lsnOf(this.#walk.position));
    this.#options.log.error("the WAL received is not well-formed", { at, because: stopped.because });
  }
}

/** The path that the new timeline leaves, as its `.history` file tells. */
export function parentPath({ timeline, body }: NewTimeline): TimelinePath {
  try {
    return pathOfHistory(parseHistory(timeline, Buffer.from(body).toString("utf8"))).slice(0, -1);
  } catch (error) {
    throw new HistoryRefusedError(`the history of timeline ${timeline} is none: ${messageOf(error)}`);
  }
}

interface Batch {
  readonly start: Lsn;
  readonly sinceMs: number;
  newestCommit: number | null;
}
