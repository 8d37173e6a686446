// RE(X): where the last valid record below X ends, as Postgres would end a replay of the bytes below X.

import { AppError } from "../base/errors.ts";
import { type Lsn, addBytes, formatLsn, lsnOf, maxLsn } from "./lsn.ts";
import { PAGE_BYTES } from "./page.ts";
import { RecordWalk, type WalkOptions, type WalkedRecord } from "./record.ts";
import { segmentFloor } from "./segment-name.ts";

/** Yields the bytes `[from, to)` of one path in order; throws when they are not there. */
export type WalSource = (from: Lsn, to: Lsn) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** No record begins between the earliest bytes at hand and X. */
export class RecordEndUnknownError extends AppError {
  constructor(x: Lsn, floor: Lsn) {
    super(`no WAL record begins between ${formatLsn(floor)} and ${formatLsn(x)}`, {
      code: "RECORD_END_UNKNOWN",
      hint: "check that the segments below that position are in the archive",
    });
  }
}

export interface RecordEnd {
  /** RE(X). */
  readonly at: Lsn;
  /** True when a record was begun below X and is not complete. */
  readonly isCut: boolean;
  /** The walk that found it, standing at X: it goes on with the bytes from X. */
  readonly walk: RecordWalk;
}

/**
 * RE(X) over `source`, beginning at the first record of X's segment and going back a segment while none begins there, not below
 * `floor` (a segment's start or a record's start). Throws RecordEndUnknownError.
 */
export async function findRecordEnd(
  source: WalSource,
  x: Lsn,
  floor: Lsn,
  options: WalkOptions,
): Promise<RecordEnd> {
  if (x <= floor) {
    if (x < floor || x % BigInt(PAGE_BYTES) === 0n) throw new RecordEndUnknownError(x, floor);
    return { at: x, isCut: false, walk: new RecordWalk(x, options) };
  }
  let from = maxLsn(segmentFloor(addBytes(x, -1), options.segmentBytes), floor);
  for (;;) {
    const walk = await walkRange(source, from, x, options);
    if (walk.stopped !== null) walk.moveTo(x);
    const at = walk.recordEndWithZeros();
    if (at !== null) return { at, isCut: at < x, walk };
    if (from === floor) throw new RecordEndUnknownError(x, floor);
    from = maxLsn(
      lsnOf(from - BigInt(options.segmentBytes) < 0n ? 0n : from - BigInt(options.segmentBytes)),
      floor,
    );
  }
}

/** Walks `[from, to)` or until the walk stops; `from` as in RecordWalk. */
export async function walkRange(
  source: WalSource,
  from: Lsn,
  to: Lsn,
  options: WalkOptions,
): Promise<RecordWalk> {
  const walk = new RecordWalk(from, options);
  for await (const chunk of source(from, to)) {
    walk.push(chunk);
    if (walk.stopped !== null) break;
  }
  return walk;
}

/** Time of a commit record (milliseconds since 1970), or null for every other record. xact.h: xl_xact_commit. */
export function commitTimeOf(record: WalkedRecord): number | null {
  const kind = record.info & 0x70;
  if (record.manager !== TRANSACTION_MANAGER || (kind !== COMMIT && kind !== COMMIT_PREPARED)) return null;
  const { head } = record;
  let at = 0;
  // xlogrecord.h: headers of origin and top-level transaction may stand before that of the main data.
  for (;;) {
    const id = head[at];
    if (id === 253) at += 3;
    else if (id === 252) at += 5;
    else break;
  }
  const size = head[at] === 255 ? 2 : head[at] === 254 ? 5 : 0;
  if (size === 0 || at + size + 8 > head.byteLength) return null;
  const microseconds = new DataView(head.buffer, head.byteOffset, head.byteLength).getBigInt64(
    at + size,
    true,
  );
  return Number(microseconds / 1000n) + Date.UTC(2000, 0, 1);
}

const TRANSACTION_MANAGER = 1;
const COMMIT = 0x00;
const COMMIT_PREPARED = 0x30;
