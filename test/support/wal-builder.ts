// WAL built in the words of Postgres: pages, records, commits, switches, crashes inside a record, forks.

import { CRC32C_START, crc32cFinish, crc32cUpdate } from "../../src/base/crc32c.ts";
import { type Lsn, lsnOf, parseLsn } from "../../src/wal/lsn.ts";
import {
  LONG_HEADER_BYTES,
  PAGE_BYTES,
  PAGE_FLAG,
  PAGE_MAGIC,
  SHORT_HEADER_BYTES,
} from "../../src/wal/page.ts";
import { RECORD_HEADER_BYTES, RecordWalk } from "../../src/wal/record.ts";

export interface WalBuilderOptions {
  /** "0/1000000" by default; a segment's start. */
  readonly at?: string;
  readonly timeline?: number;
  readonly segmentBytes?: number;
  readonly systemId?: bigint;
  readonly version?: number;
}

export interface BuiltRecord {
  readonly start: Lsn;
  /** Aligned to 8; behind a switch the segment's end. */
  readonly end: Lsn;
}

/** rmgrlist.h. */
const MANAGERS = { XLOG: 0, Transaction: 1, Heap: 10, LogicalMessage: 21 } as const;
type Manager = keyof typeof MANAGERS;

export interface RecordContent {
  readonly manager?: Manager;
  readonly info?: number;
  /** Bytes behind the record's header. */
  readonly body?: Uint8Array;
  /** Instead of `body`: so many bytes of a pattern. */
  readonly bytes?: number;
}

/** Grows from a segment's start; every method returns where things are. */
export class WalBuilder {
  readonly start: Lsn;
  readonly segmentBytes: number;
  readonly systemId: bigint;
  readonly #magic: number;
  #timeline: number;
  #buffer: Buffer;
  #length = 0;
  #previous: Lsn;
  /** Where the next record goes: the end of the last one. */
  #at: number;

  constructor(options: WalBuilderOptions = {}) {
    this.start = parseLsn(options.at ?? "0/1000000");
    this.segmentBytes = options.segmentBytes ?? 1 << 20;
    this.systemId = options.systemId ?? 7_000_000_000_000_000_001n;
    this.#magic = PAGE_MAGIC[options.version ?? 17]!;
    this.#timeline = options.timeline ?? 1;
    this.#buffer = Buffer.alloc(64 * 1024);
    this.#previous = lsnOf(this.start - 32n);
    this.#at = 0;
  }

  get timeline(): number {
    return this.#timeline;
  }

  /** End of the last record: RE of everything built. */
  get end(): Lsn {
    return lsnOf(this.start + BigInt(this.#at));
  }

  /** The bytes `[from, to)`; behind the end zeros, as a fresh segment file has them. */
  bytes(from: Lsn = this.start, to: Lsn = this.end): Buffer {
    const first = Number(from - this.start);
    const last = Number(to - this.start);
    const out = Buffer.alloc(last - first);
    this.#buffer.copy(out, 0, first, Math.min(last, this.#length));
    return out;
  }

  record(content: RecordContent = {}): BuiltRecord {
    const body = content.body ?? pattern(content.bytes ?? 40, Number(this.end % 251n));
    const header = Buffer.alloc(RECORD_HEADER_BYTES);
    header.writeUInt32LE(RECORD_HEADER_BYTES + body.byteLength, 0);
    header.writeUInt32LE(700 + (this.#at % 1000), 4);
    header.writeBigUInt64LE(this.#previous, 8);
    header[16] = content.info ?? 0;
    header[17] = MANAGERS[content.manager ?? "Heap"];
    header.writeUInt32LE(crc32cFinish(crc32cUpdate(crc32cUpdate(CRC32C_START, body), header, 0, 20)), 20);
    const record = Buffer.concat([header, body]);
    if (this.#at % PAGE_BYTES === 0) this.#pageHeader(0, 0);
    const start = lsnOf(this.start + BigInt(this.#at));
    this.#put(record);
    this.#at = Math.ceil(this.#at / 8) * 8;
    this.#grow(this.#at);
    this.#previous = start;
    return { start, end: this.end };
  }

  /** A commit at this time (ms since 1970). xact.h: xl_xact_commit. */
  commit(atMs: number): BuiltRecord {
    const body = Buffer.alloc(2 + 8);
    body[0] = 255; // XLR_BLOCK_ID_DATA_SHORT
    body[1] = 8;
    body.writeBigInt64LE(BigInt(atMs - Date.UTC(2000, 0, 1)) * 1000n, 2);
    return this.record({ manager: "Transaction", info: 0, body });
  }

  /** pg_switch_wal: the rest of the segment stays zero. */
  switch(): BuiltRecord {
    const { start } = this.record({ manager: "XLOG", info: 0x40, body: new Uint8Array(0) });
    this.#at = Math.ceil(this.#at / this.segmentBytes) * this.segmentBytes;
    this.#grow(this.#at);
    return { start, end: this.end };
  }

  /** Records until the end lies exactly `bytes` bytes before the next page's boundary (a multiple of 8, or at least 32). */
  fillPage(bytes = 0): BuiltRecord {
    if (this.#at % PAGE_BYTES === 0) this.record({ bytes: 0 });
    const left = PAGE_BYTES - (this.#at % PAGE_BYTES) - bytes;
    if (left >= RECORD_HEADER_BYTES) return this.record({ bytes: left - RECORD_HEADER_BYTES });
    this.record({ bytes: left + PAGE_BYTES / 2 });
    return this.fillPage(bytes);
  }

  /** The server crashed and only what lies below `lsn`, a page's boundary inside the last record, was written: it goes on there with an
   * OVERWRITE_CONTRECORD, as 13.5, 14 and later do. */
  crashInsideRecord(lsn: Lsn): BuiltRecord {
    const missing = Number(lsn - this.start);
    if (missing % PAGE_BYTES !== 0 || missing > this.#length)
      throw new RangeError("not a page of the last record");
    const cut = this.#previous;
    this.#previous = this.#before(cut);
    this.#buffer.fill(0, missing);
    this.#length = missing;
    this.#at = missing;
    this.#pageHeader(PAGE_FLAG.overwriteContrecord, 0);
    const body = Buffer.alloc(2 + 16);
    body[0] = 255;
    body[1] = 16;
    body.writeBigUInt64LE(cut, 2);
    return this.record({ manager: "XLOG", info: 0xd0, body });
  }

  /** The server goes on with other bytes from `lsn`, a record's end: after a promotion on a new timeline, or on a copy of the volume. */
  fork(timeline: number, lsn: Lsn = this.end): WalBuilder {
    const child = new WalBuilder({
      segmentBytes: this.segmentBytes,
      systemId: this.systemId,
      timeline,
    });
    Object.assign(child, { start: this.start });
    child.#buffer = Buffer.from(this.#buffer);
    child.#timeline = timeline;
    child.#at = Number(lsn - this.start);
    child.#length = Math.min(this.#length, child.#at);
    child.#buffer.fill(0, child.#at);
    child.#previous = this.#lastBefore(lsn);
    return child;
  }

  /** A builder that goes on from bytes read back; `at` is the end of the last record in them, `previous` its start. */
  static resume(bytes: Uint8Array, start: Lsn, at: Lsn, options: WalBuilderOptions): WalBuilder {
    const builder = new WalBuilder(options);
    Object.assign(builder, { start });
    builder.#at = Number(at - start);
    builder.#buffer = Buffer.alloc(builder.#at); // behind a switch record the end lies above the bytes
    builder.#buffer.set(bytes.subarray(0, builder.#at));
    builder.#length = builder.#at;
    builder.#previous = builder.#lastBefore(at);
    return builder;
  }

  #put(record: Buffer): void {
    for (let done = 0; done < record.byteLength;) {
      if (this.#at % PAGE_BYTES === 0) this.#pageHeader(PAGE_FLAG.contrecord, record.byteLength - done);
      const count = Math.min(record.byteLength - done, PAGE_BYTES - (this.#at % PAGE_BYTES));
      this.#grow(this.#at + count);
      record.copy(this.#buffer, this.#at, done, done + count);
      this.#at += count;
      done += count;
    }
  }

  #pageHeader(flags: number, remaining: number): void {
    const lsn = this.start + BigInt(this.#at);
    const isLong = lsn % BigInt(this.segmentBytes) === 0n;
    const size = isLong ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES;
    this.#grow(this.#at + size);
    const page = this.#buffer.subarray(this.#at, this.#at + size);
    page.fill(0);
    page.writeUInt16LE(this.#magic, 0);
    page.writeUInt16LE(flags | (isLong ? PAGE_FLAG.long : 0), 2);
    page.writeUInt32LE(this.#timeline, 4);
    page.writeBigUInt64LE(lsn, 8);
    page.writeUInt32LE(remaining, 16);
    if (isLong) {
      page.writeBigUInt64LE(this.systemId, 24);
      page.writeUInt32LE(this.segmentBytes, 32);
      page.writeUInt32LE(PAGE_BYTES, 36);
    }
    this.#at += size;
  }

  /** Start of the record before the one that starts at `lsn`: its xl_prev. */
  #before(lsn: Lsn): Lsn {
    const at = Number(lsn - this.start);
    // The field may lie across a page's boundary; collect the header's bytes.
    const header = Buffer.alloc(RECORD_HEADER_BYTES);
    for (let i = 0, from = at; i < RECORD_HEADER_BYTES; i += 1, from += 1) {
      if (from % PAGE_BYTES === 0)
        from += from % this.segmentBytes === 0 ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES;
      header[i] = this.#buffer[from]!;
    }
    return lsnOf(header.readBigUInt64LE(8));
  }

  /** Start of the last record that ends at or before `lsn`. */
  #lastBefore(lsn: Lsn): Lsn {
    return this.#starts(lsn).at(-1) ?? lsnOf(this.start - 32n);
  }

  #starts(until: Lsn): Lsn[] {
    const starts: Lsn[] = [];
    const walk = new RecordWalk(this.start, {
      segmentBytes: this.segmentBytes,
      onRecord: ({ start, end }) => {
        if (end <= until) starts.push(start);
      },
    });
    walk.push(this.bytes(this.start, until));
    return starts;
  }

  #grow(length: number): void {
    if (length > this.#buffer.byteLength) {
      const larger = Buffer.alloc(Math.max(length, this.#buffer.byteLength * 2));
      this.#buffer.copy(larger);
      this.#buffer = larger;
    }
    this.#length = Math.max(this.#length, length);
  }
}

/** Bytes that differ by their seed and compress a little. */
function pattern(bytes: number, seed: number): Buffer {
  const out = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i += 1) out[i] = (i * 7 + seed * 31 + (i >> 5)) & 0xff;
  return out;
}
