// A Postgres data directory in a simulation: WAL, path of timelines, promotion ids, and what of it is on disk.

import { type Random, below } from "../random.ts";
import type { WalBuilder } from "../wal-builder.ts";
import { type Lsn, formatLsn, lsnOf } from "../../../src/wal/lsn.ts";
import { PAGE_BYTES } from "../../../src/wal/page.ts";
import { RecordWalk } from "../../../src/wal/record.ts";
import { type TimelinePath, lastStep } from "../../../src/wal/timeline-path.ts";

export interface ServerState {
  readonly wal: WalBuilder;
  readonly path: TimelinePath;
  readonly promotion: string;
  readonly parentPromotion: string;
}

export class Server {
  wal: WalBuilder;
  readonly path: TimelinePath;
  readonly promotion: string;
  readonly parentPromotion: string;
  /** On disk and streamable: a record's end or a page's boundary inside the last record. */
  flushed: Lsn;
  /** A page that the disk lost; null as a rule. */
  #hole: Lsn | null = null;
  /** End of the record before the last one. */
  #before: Lsn;
  #last: Lsn;

  constructor({ wal, path, promotion, parentPromotion }: ServerState) {
    this.wal = wal;
    this.path = path;
    this.promotion = promotion;
    this.parentPromotion = parentPromotion;
    this.flushed = wal.end;
    this.#before = wal.end;
    this.#last = wal.end;
  }

  get timeline(): number {
    return lastStep(this.path).timeline;
  }

  /** One record, mostly short; sometimes over many pages, sometimes a switch. It reaches the disk whole or up to a page of it. */
  write(random: Random): void {
    this.#before = this.wal.end;
    const kind = random();
    const { start } =
      kind < 0.7
        ? this.wal.record({ bytes: below(random, 400) })
        : kind < 0.9
          ? this.wal.record({ bytes: below(random, 9_000) })
          : kind < 0.95
            ? this.wal.record({ bytes: below(random, 150_000) })
            : kind < 0.97
              ? this.#zeros(random)
              : this.wal.switch();
    this.#last = start;
    this.flushed = random() < 0.6 ? this.wal.end : this.#somewhere(random, this.#before);
  }

  /** Everything written is on disk. */
  flush(): void {
    this.flushed = this.wal.end;
  }

  /** The crash: what was streamed is on disk, what was not may be lost. What stays ends at a page's boundary or a record's end. */
  crash(random: Random): void {
    if (this.flushed < this.wal.end) this.flushed = this.#somewhere(random, this.flushed);
  }

  /** The disk loses one page, not of the newest segment. */
  loseAPage(random: Random): void {
    const pages =
      Number((this.flushed - this.wal.start) / BigInt(PAGE_BYTES)) - this.wal.segmentBytes / PAGE_BYTES;
    if (pages > 1) this.#hole = lsnOf(this.wal.start + BigInt(PAGE_BYTES * (1 + below(random, pages - 1))));
  }

  /** Start after a crash: the record that was cut is dropped, as 13.5, 14 and later do. */
  recover(): void {
    this.#hole = null; // else a page that is written later would be lost in advance
    if (this.flushed < this.wal.end && this.walkedTo() < this.wal.end) {
      if (this.flushed <= this.#last) this.wal = this.wal.fork(this.timeline, this.#before);
      else this.wal.crashInsideRecord(this.flushed);
    }
    this.flushed = this.wal.end;
    this.#before = this.wal.end;
    this.#last = this.wal.end;
  }

  /** Bytes of pg_wal; what is not on disk reads as zeros. */
  bytes(from: Lsn, to: Lsn): Buffer {
    const out = Buffer.alloc(Number(to - from));
    const has = to < this.flushed ? to : this.flushed;
    if (has > from) this.wal.bytes(from, has).copy(out);
    if (this.#hole === null) return out;
    const hole = Number(this.#hole - from);
    out.fill(0, clamp(hole, out.length), clamp(hole + PAGE_BYTES, out.length));
    return out;
  }

  /** Where a walk over pg_wal from its beginning arrives. */
  walkedTo(): Lsn {
    return recordsEnd(this.wal.start, this.bytes(this.wal.start, this.flushed), this.wal.segmentBytes);
  }

  /** A copy of the volume. */
  snapshot(): Server {
    const copy = new Server({ ...this, wal: this.wal.fork(this.timeline, this.wal.end) });
    copy.flushed = this.flushed;
    copy.#before = this.#before;
    copy.#last = this.#last;
    return copy;
  }

  #somewhere(random: Random, least: Lsn): Lsn {
    const first = least + (BigInt(PAGE_BYTES) - (least % BigInt(PAGE_BYTES)));
    const pages = Number((this.wal.end - first) / BigInt(PAGE_BYTES));
    if (this.wal.end <= first) return least < this.#last ? this.#before : least;
    return lsnOf(first + BigInt(below(random, pages + 1) * PAGE_BYTES));
  }

  /** A record whose tail is zeros: padding may complete it. */
  #zeros(random: Random): { start: Lsn } {
    const body = Buffer.alloc(below(random, 3_000) + 100);
    body.fill(7, 0, 60);
    return this.wal.record({ body });
  }
}

const clamp = (value: number, most: number): number => Math.min(most, Math.max(0, value));

export function recordsEnd(start: Lsn, bytes: Uint8Array, segmentBytes: number): Lsn {
  const walk = new RecordWalk(start, { segmentBytes });
  walk.push(bytes);
  return walk.recordEndWithZeros() ?? start;
}

/** The `.history` file of the newest timeline of a path. */
export const historyFile = (path: TimelinePath): Buffer =>
  Buffer.from(
    path
      .slice(1)
      .map(({ begin }, i) => `${path[i]!.timeline}\t${formatLsn(begin)}\tsimulated\n`)
      .join("\n"),
  );
