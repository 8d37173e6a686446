// What the records of a path say about targets: commit times, transactions, restore points. xact.h, xlog_internal.h, xlog.h.

import type { PathReader } from "../archive/path-reader.ts";
import { type Lsn, lsnOf, maxLsn } from "../wal/lsn.ts";
import { walkRange } from "../wal/record-end.ts";
import type { WalkedRecord } from "../wal/record.ts";
import { segmentFloor } from "../wal/segment-name.ts";
import type { Microseconds } from "./target.ts";

/** Commit time of the newest commit record below `end`, or null when none is found in the segments that are looked at. */
export async function newestCommitBelow(
  reader: PathReader,
  end: Lsn,
  floor: Lsn,
  signal: AbortSignal,
): Promise<Microseconds | null> {
  const { segmentBytes, systemId } = reader.source;
  let to = end;
  for (let looked = 0; to > floor && looked < SEGMENTS_LOOKED_AT; looked += 1) {
    const from = maxLsn(segmentFloor(lsnOf(to - 1n), segmentBytes), floor);
    let newest: Microseconds | null = null;
    const onRecord = (record: WalkedRecord): void => {
      const at = commitMoment(record);
      if (at !== null && (newest === null || at > newest)) newest = at;
    };
    // The records of one segment are enough; one that goes on behind it counts with the next look.
    await walkRange(reader.walSource(signal), from, to, { segmentBytes, systemId, onRecord });
    if (newest !== null) return newest;
    to = from;
  }
  return null;
}

/** Start of the last record that ends at or below `end`, or null when none begins in the segments that are looked at. */
export async function lastRecordBelow(
  reader: PathReader,
  end: Lsn,
  floor: Lsn,
  signal: AbortSignal,
): Promise<Lsn | null> {
  const { segmentBytes, systemId } = reader.source;
  for (let from = end; from > floor;) {
    from = maxLsn(segmentFloor(lsnOf(from - 1n), segmentBytes), floor);
    let last: Lsn | null = null;
    const onRecord = (record: WalkedRecord): void => {
      last = record.start;
    };
    await walkRange(reader.walSource(signal), from, end, { segmentBytes, systemId, onRecord });
    if (last !== null) return last;
  }
  return null;
}

/** What is looked for by reading the WAL. */
export type SoughtTarget =
  | { readonly kind: "xid"; readonly xid: number }
  | { readonly kind: "name"; readonly name: string };

/**
 * Start of the record that ends a replay to this target, in `[from, to)`: of a transaction its commit or abort, of a name the newest restore
 * point that carries it. Reads all of it, a segment at a time; `onSegment` tells how far it is.
 */
export async function locateTarget(
  reader: PathReader,
  from: Lsn,
  to: Lsn,
  sought: SoughtTarget,
  signal: AbortSignal,
  onSegment: (at: Lsn) => void = () => undefined,
): Promise<Lsn | null> {
  const { segmentBytes, systemId } = reader.source;
  let found: Lsn | null = null;
  const onRecord = (record: WalkedRecord): void => {
    if (matches(record, sought)) found = record.start;
  };
  const source = reader.walSource(signal);
  async function* told(): AsyncGenerator<Uint8Array> {
    let at = from;
    for await (const bytes of source(from, to)) {
      yield bytes;
      at = lsnOf(at + BigInt(bytes.byteLength));
      onSegment(at);
      // A transaction ends once; of a name the newest counts.
      if (found !== null && sought.kind === "xid") return;
    }
  }
  await walkRange(told, from, to, { segmentBytes, systemId, onRecord });
  return found;
}

function matches(record: WalkedRecord, sought: SoughtTarget): boolean {
  return sought.kind === "xid"
    ? endedTransaction(record) === sought.xid
    : restorePointName(record) === sought.name;
}

/** Time of a commit record; null for every other record. xl_xact_commit begins with it: microseconds since 2000. */
export function commitMoment(record: WalkedRecord): Microseconds | null {
  const kind = record.info & 0x70;
  if (record.manager !== TRANSACTION_MANAGER || (kind !== COMMIT && kind !== COMMIT_PREPARED)) return null;
  const data = mainData(record);
  if (data === null || data.byteLength < 8) return null;
  return new DataView(data.buffer, data.byteOffset, 8).getBigInt64(0, true) + POSTGRES_EPOCH_US;
}

/** The transaction that this record commits or aborts, or null. */
export function endedTransaction(record: WalkedRecord): number | null {
  if (record.manager !== TRANSACTION_MANAGER) return null;
  const kind = record.info & 0x70;
  if (kind === COMMIT || kind === ABORT) return record.xid;
  return kind === COMMIT_PREPARED || kind === ABORT_PREPARED ? preparedTransaction(record) : null;
}

/** xl_xact_twophase behind the time, `xinfo` and what it announces; null when that lies behind the bytes at hand. */
function preparedTransaction(record: WalkedRecord): number | null {
  const data = mainData(record);
  if (data === null || (record.info & HAS_INFO) === 0 || data.byteLength < 12) return null;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const flags = view.getUint32(8, true);
  let at = 12;
  if ((flags & XINFO.dbInfo) !== 0) at += 8;
  if ((flags & XINFO.subTransactions) !== 0) {
    if (at + 4 > data.byteLength) return null;
    at += 4 + 4 * view.getInt32(at, true);
  }
  if ((flags & (XINFO.relations | XINFO.droppedStats | XINFO.invalidations)) !== 0) return null;
  return at + 4 <= data.byteLength ? view.getUint32(at, true) : null;
}

/** The name in an XLOG_RESTORE_POINT record, or null. */
export function restorePointName(record: WalkedRecord): string | null {
  if (record.manager !== XLOG_MANAGER || (record.info & 0xf0) !== RESTORE_POINT) return null;
  const data = mainData(record);
  if (data === null || data.byteLength <= 8) return null;
  const name = Buffer.from(data.buffer, data.byteOffset + 8, Math.min(64, data.byteLength - 8));
  const end = name.indexOf(0);
  return name.toString("utf8", 0, end < 0 ? name.byteLength : end);
}

/** xlogrecord.h: headers of origin (253) and top-level transaction (252) may stand before that of the main data (255 short, 254 long). */
function mainData({ head }: WalkedRecord): Uint8Array | null {
  let at = 0;
  for (;;) {
    if (head[at] === 253) at += 3;
    else if (head[at] === 252) at += 5;
    else break;
  }
  const size = head[at] === 255 ? 2 : head[at] === 254 ? 5 : 0;
  return size === 0 ? null : head.subarray(at + size);
}

const POSTGRES_EPOCH_US = 946_684_800_000_000n; // 2000-01-01
const XLOG_MANAGER = 0;
const RESTORE_POINT = 0x70;
const TRANSACTION_MANAGER = 1;
const COMMIT = 0x00;
const ABORT = 0x20;
const COMMIT_PREPARED = 0x30;
const ABORT_PREPARED = 0x40;
const HAS_INFO = 0x80;
const XINFO = { dbInfo: 1, subTransactions: 2, relations: 4, invalidations: 8, droppedStats: 0x100 } as const;

/** Of an idle archive the newest commit may lie far back; then its time stays unknown, and nothing is refused because of it. */
const SEGMENTS_LOOKED_AT = 16;
