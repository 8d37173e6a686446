// The walk over WAL records, page by page: where the last valid record ends (RE). The rules stand in xlogreader.c
// (XLogDecodeNextRecord, ValidXLogRecordHeader, XLogReaderValidatePageHeader) and agree with where Postgres forks.

import { invariant } from "../base/errors.ts";
import { CRC32C_START, crc32cFinish, crc32cUpdate } from "../base/crc32c.ts";
import { type Lsn, lsnOf } from "./lsn.ts";
import {
  LONG_HEADER_BYTES,
  PAGE_BYTES,
  PAGE_FLAG,
  SHORT_HEADER_BYTES,
  decodePageHeader,
  faultOfPage,
} from "./page.ts";

/** What is known of the WAL before it is walked. */
export interface WalkOptions {
  readonly segmentBytes: number;
  /** null: learned from the first long header. */
  readonly systemId?: bigint | null;
  /** True when a record is known to end exactly at the start, as at a fork. */
  readonly isRecordEnd?: boolean;
  /** Called for every valid record, in order. */
  readonly onRecord?: (record: WalkedRecord) => void;
}

export interface WalkedRecord {
  /** First byte of its header, behind a page header. */
  readonly start: Lsn;
  /** Where the next record begins, aligned to 8; behind a switch record the segment's end. */
  readonly end: Lsn;
  readonly xid: number;
  readonly manager: number;
  readonly info: number;
  /** The first bytes behind the header, at most 96. */
  readonly head: Uint8Array;
}

/** Why a walk goes no further. */
export type WalkStop =
  /** No valid record begins at `recordEnd`. */
  | { readonly kind: "end"; readonly because: string }
  /** A record goes on in a page that is missing or says otherwise. */
  | { readonly kind: "cut"; readonly start: Lsn; readonly missingPage: Lsn; readonly because: string }
  /** No record begins in what was walked; begin a segment earlier. */
  | { readonly kind: "no-record"; readonly because: string };

export const RECORD_HEADER_BYTES = 24;
/** XLogRecordMaxSize. */
export const RECORD_LIMIT_BYTES = 1020 * 1024 * 1024;
const LAST_BUILTIN_MANAGER = 21; // LogicalMessage, in 15 to 18
const FIRST_CUSTOM_MANAGER = 128; // RM_MIN_CUSTOM_ID
const HEAD_BYTES = 96; // a restore point: header of the data, time, 64 bytes of name

/**
 * Walks WAL that is pushed in order, in constant memory. `start` is a record's start (a REDO position) or a page boundary, where the
 * page's header says where the first record begins.
 */
export class RecordWalk {
  readonly #options: WalkOptions;
  #s: State;

  constructor(start: Lsn, options: WalkOptions) {
    this.#options = options;
    invariant(start <= BigInt(Number.MAX_SAFE_INTEGER), `position ${start} is beyond 2^53`);
    const at = Number(start);
    const isBoundary = at % PAGE_BYTES === 0;
    this.#s = {
      at,
      mode: isBoundary && options.isRecordEnd !== true ? "first-page" : "record",
      page: new Uint8Array(LONG_HEADER_BYTES),
      pageFilled: 0,
      inPageHeader: isBoundary,
      recordEnd: isBoundary && options.isRecordEnd !== true ? null : at,
      previous: null,
      magic: null,
      systemId: options.systemId ?? null,
      latestTimeline: 0,
      skipTo: 0,
      paddedFrom: null,
      seekBytes: 0,
      record: freshRecord(),
      stop: null,
    };
  }

  /** Position behind the last byte pushed. */
  get position(): Lsn {
    return lsnOf(BigInt(this.#s.at));
  }

  /** End of the last valid record among the bytes pushed; null while none is known. */
  get recordEnd(): Lsn | null {
    return this.#s.recordEnd === null ? null : lsnOf(BigInt(this.#s.recordEnd));
  }

  get stopped(): WalkStop | null {
    return this.#s.stop;
  }

  /** First byte behind the last switch record that was walked: from there to the segment's end Postgres writes zeros. Null: there was none. */
  get paddedFrom(): Lsn | null {
    return this.#s.paddedFrom === null ? null : lsnOf(BigInt(this.#s.paddedFrom));
  }

  /** Takes the bytes that follow; what comes after the walk stopped is counted, not read. */
  push(bytes: Uint8Array): void {
    let i = 0;
    while (i < bytes.byteLength) i += this.#step(bytes, i);
  }

  /** Moves a walk that has stopped, which reads nothing more, to a later position. */
  moveTo(position: Lsn): void {
    invariant(this.#s.stop !== null && position >= this.position, `cannot move to ${position}`);
    this.#s.at = Number(position);
  }

  /** RE of the position: as if zeros followed to the end of the segment. Null when no record's end is known: begin earlier. */
  recordEndWithZeros(): Lsn | null {
    if (this.#s.stop !== null || this.#s.mode === "skip") return this.recordEnd;
    // A walk that has not yet met its first record may not take padding for the end of one.
    if (this.#s.mode === "seek") return null;
    const toPageEnd = (PAGE_BYTES - (this.#s.at % PAGE_BYTES)) % PAGE_BYTES;
    const twin = this.clone();
    twin.push(ZEROS.subarray(0, toPageEnd + LONG_HEADER_BYTES));
    return twin.recordEnd;
  }

  /** A walk that goes on by itself from here; `onRecord` is not called by it. */
  clone(): RecordWalk {
    const { segmentBytes } = this.#options;
    const twin = new RecordWalk(lsnOf(0n), { segmentBytes });
    twin.#s = {
      ...this.#s,
      page: this.#s.page.slice(),
      record: {
        ...this.#s.record,
        header: this.#s.record.header.slice(),
        head: this.#s.record.head.slice(),
      },
    };
    return twin;
  }

  /** Consumes at least one byte of `bytes` from `i` on and says how many. */
  #step(bytes: Uint8Array, i: number): number {
    const s = this.#s;
    const left = bytes.byteLength - i;
    if (s.stop !== null) return this.#advance(left);
    if (s.mode === "skip") return this.#skip(left);
    if (s.at % PAGE_BYTES === 0 && !s.inPageHeader) {
      s.inPageHeader = true;
      s.pageFilled = 0;
    }
    if (s.inPageHeader) return this.#pageHeader(bytes, i, left);
    const inPage = Math.min(left, PAGE_BYTES - (s.at % PAGE_BYTES));
    if (s.mode === "seek") return this.#seek(inPage);
    const { record } = s;
    if (record.got < RECORD_HEADER_BYTES) return this.#recordHeader(bytes, i, inPage);
    return this.#recordBody(bytes, i, inPage);
  }

  #advance(count: number): number {
    this.#s.at += count;
    return count;
  }

  #skip(left: number): number {
    const s = this.#s;
    const count = Math.min(left, s.skipTo - s.at);
    s.at += count;
    if (s.at === s.skipTo) s.mode = "record";
    return count;
  }

  #seek(inPage: number): number {
    const s = this.#s;
    const count = Math.min(inPage, s.seekBytes);
    s.at += count;
    s.seekBytes -= count;
    if (s.seekBytes === 0) {
      s.mode = "record";
      s.recordEnd = s.at;
    }
    return count;
  }

  #pageHeader(bytes: Uint8Array, i: number, left: number): number {
    const s = this.#s;
    const start = s.at - s.pageFilled;
    const size = start % this.#options.segmentBytes === 0 ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES;
    const count = Math.min(left, size - s.pageFilled);
    s.page.set(bytes.subarray(i, i + count), s.pageFilled);
    s.pageFilled += count;
    s.at += count;
    if (s.pageFilled === size) {
      s.inPageHeader = false;
      this.#enterPage(start, size);
    }
    return count;
  }

  #enterPage(start: number, size: number): void {
    const s = this.#s;
    const header = decodePageHeader(s.page.subarray(0, size));
    const fault =
      header === null
        ? "long header where a short one belongs"
        : (faultOfPage(header, {
            address: lsnOf(BigInt(start)),
            segmentBytes: this.#options.segmentBytes,
            magic: s.magic,
            systemId: s.systemId,
          }) ??
          (header.timeline < s.latestTimeline
            ? `timeline ${header.timeline} after ${s.latestTimeline}`
            : null));
    if (header === null || fault !== null) return this.#badPage(start, fault ?? "unreadable");
    s.magic = header.magic;
    s.latestTimeline = header.timeline;
    if (header.long !== null) s.systemId = header.long.systemId;
    const continues = (header.info & PAGE_FLAG.contrecord) !== 0;
    const overwrites = (header.info & PAGE_FLAG.overwriteContrecord) !== 0;
    if (s.mode === "first-page") return this.#firstPage(start, continues, overwrites, header.remainingBytes);
    if (s.mode === "seek") {
      // The bytes still to skip include the padding behind the record, the header's count does not.
      if (continues && align8(header.remainingBytes) === s.seekBytes) return;
      return this.#badPage(start, "the record that was begun before does not go on here");
    }
    if (s.record.got === 0) {
      if (continues) this.#badPage(start, "a record goes on that was not begun");
      return;
    }
    if (overwrites) {
      // The record was cut by a crash; what follows was written instead of its rest.
      forget(s.record);
      return;
    }
    const missing = s.record.length - s.record.got;
    if (!continues || header.remainingBytes !== missing || missing === 0) {
      this.#badPage(start, `the record goes on with ${header.remainingBytes} bytes, not ${missing}`);
    }
  }

  #firstPage(start: number, continues: boolean, overwrites: boolean, remaining: number): void {
    const s = this.#s;
    s.mode = "record";
    if (continues) {
      s.mode = "seek";
      s.seekBytes = align8(remaining);
      if (remaining === 0) this.#badPage(start, "a record goes on with no bytes");
    } else if (!overwrites) {
      s.recordEnd = start; // the record before ended exactly at the boundary
    }
  }

  #badPage(start: number, fault: string): void {
    const s = this.#s;
    const because = `page at ${start.toString(16).toUpperCase()}: ${fault}`;
    if (s.mode === "first-page" || s.mode === "seek" || s.recordEnd === null) {
      s.stop = { kind: "no-record", because };
    } else if (s.record.got > 0) {
      s.stop = {
        kind: "cut",
        start: lsnOf(BigInt(s.record.start)),
        missingPage: lsnOf(BigInt(start)),
        because,
      };
    } else {
      s.stop = { kind: "end", because };
    }
  }

  #recordHeader(bytes: Uint8Array, i: number, inPage: number): number {
    const s = this.#s;
    const { record } = s;
    if (record.got === 0) record.start = s.at;
    const count = Math.min(inPage, RECORD_HEADER_BYTES - record.got);
    record.header.set(bytes.subarray(i, i + count), record.got);
    const had = record.got;
    record.got += count;
    s.at += count;
    if (had < 4 && record.got >= 4) {
      record.length = new DataView(record.header.buffer).getUint32(0, true);
      if (record.length < RECORD_HEADER_BYTES) return this.#end(`record length ${record.length}`, count);
    }
    if (record.got === RECORD_HEADER_BYTES) {
      const fault = this.#faultOfHeader();
      if (fault !== null) return this.#end(fault, count);
      if (record.length === RECORD_HEADER_BYTES) this.#completeRecord();
    }
    return count;
  }

  #faultOfHeader(): string | null {
    const { record, previous } = this.#s;
    const view = new DataView(record.header.buffer);
    if (record.length > RECORD_LIMIT_BYTES) return `record length ${record.length}`;
    const manager = record.header[17]!;
    if (manager > LAST_BUILTIN_MANAGER && manager < FIRST_CUSTOM_MANAGER)
      return `resource manager ${manager}`;
    const before = view.getBigUint64(8, true);
    if (previous === null ? before >= BigInt(record.start) : before !== BigInt(previous)) {
      return `previous record at ${before.toString(16).toUpperCase()}`;
    }
    return null;
  }

  #recordBody(bytes: Uint8Array, i: number, inPage: number): number {
    const s = this.#s;
    const { record } = s;
    const count = Math.min(inPage, record.length - record.got);
    const inBody = record.got - RECORD_HEADER_BYTES;
    if (inBody < HEAD_BYTES)
      record.head.set(bytes.subarray(i, i + Math.min(count, HEAD_BYTES - inBody)), inBody);
    record.crc = crc32cUpdate(record.crc, bytes, i, i + count);
    record.got += count;
    s.at += count;
    if (record.got === record.length) this.#completeRecord();
    return count;
  }

  #completeRecord(): void {
    const s = this.#s;
    const { record } = s;
    const view = new DataView(record.header.buffer);
    const crc = crc32cFinish(crc32cUpdate(record.crc, record.header, 0, 20));
    if (crc !== view.getUint32(20, true)) {
      this.#end("checksum", 0);
      return;
    }
    const manager = record.header[17]!;
    const info = record.header[16]!;
    const { segmentBytes } = this.#options;
    let end = align8(s.at);
    if (manager === XLOG_MANAGER && (info & 0xf0) === SWITCH) {
      end = Math.ceil(end / segmentBytes) * segmentBytes;
      s.paddedFrom = s.at;
    }
    this.#options.onRecord?.({
      start: lsnOf(BigInt(record.start)),
      end: lsnOf(BigInt(end)),
      xid: view.getUint32(4, true),
      manager,
      info,
      head: record.head.slice(0, Math.min(HEAD_BYTES, record.length - RECORD_HEADER_BYTES)),
    });
    s.previous = record.start;
    s.recordEnd = end;
    forget(record);
    if (end > s.at) {
      s.mode = "skip";
      s.skipTo = end;
    }
  }

  #end(because: string, count: number): number {
    const s = this.#s;
    s.stop = s.recordEnd === null ? { kind: "no-record", because } : { kind: "end", because };
    return count;
  }
}

interface State {
  at: number;
  mode: "first-page" | "seek" | "record" | "skip";
  page: Uint8Array;
  pageFilled: number;
  inPageHeader: boolean;
  recordEnd: number | null;
  previous: number | null;
  magic: number | null;
  systemId: bigint | null;
  latestTimeline: number;
  skipTo: number;
  paddedFrom: number | null;
  seekBytes: number;
  record: RecordState;
  stop: WalkStop | null;
}

interface RecordState {
  start: number;
  header: Uint8Array<ArrayBuffer>;
  got: number;
  length: number;
  crc: number;
  head: Uint8Array;
}

const freshRecord = (): RecordState => ({
  start: 0,
  header: new Uint8Array(RECORD_HEADER_BYTES),
  got: 0,
  length: 0,
  crc: CRC32C_START,
  head: new Uint8Array(HEAD_BYTES),
});

/** The next record's bytes overwrite what header and head hold. */
function forget(record: RecordState): void {
  record.got = 0;
  record.length = 0;
  record.crc = CRC32C_START;
}

const align8 = (value: number): number => Math.ceil(value / 8) * 8;
const XLOG_MANAGER = 0;
const SWITCH = 0x40;
const ZEROS = new Uint8Array(PAGE_BYTES + LONG_HEADER_BYTES);
