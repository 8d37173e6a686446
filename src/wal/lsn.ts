// WAL positions: parse, format, arithmetic.

/** A byte position in the WAL, 0 … 2^64 - 1. Made only by `parseLsn` and `lsnOf`. */
export type Lsn = bigint & { readonly brand: "Lsn" };

/** Reads Postgres's `X/X` (pg_lsn). Throws RangeError on anything else. */
export function parseLsn(text: string): Lsn {
  const match = LSN_TEXT.exec(text);
  if (match === null) throw new RangeError(`not an LSN: "${text}"`);
  return lsnOf((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`));
}

/** Would `parseLsn` read this? */
export const isLsnText = (text: string): boolean => LSN_TEXT.test(text);

/** Prints as Postgres does: upper-case hex without leading zeros. */
export function formatLsn(lsn: Lsn): string {
  return `${hex(lsn >> 32n)}/${hex(lsn & 0xffff_ffffn)}`;
}

/** The position with this number. Throws RangeError outside 0 … 2^64 - 1. */
export function lsnOf(value: bigint): Lsn {
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw new RangeError(`not an LSN: ${value}`);
  return value as Lsn;
}

/** `lsn` moved by `bytes`, which may be negative. */
export function addBytes(lsn: Lsn, bytes: number | bigint): Lsn {
  return lsnOf(lsn + BigInt(bytes));
}

/** `to - from` in bytes; throws RangeError when it does not fit a safe integer. */
export function bytesBetween(from: Lsn, to: Lsn): number {
  const bytes = Number(to - from);
  if (!Number.isSafeInteger(bytes))
    throw new RangeError(`too far apart: ${formatLsn(from)} and ${formatLsn(to)}`);
  return bytes;
}

export const minLsn = (a: Lsn, b: Lsn): Lsn => (a < b ? a : b);
export const maxLsn = (a: Lsn, b: Lsn): Lsn => (a > b ? a : b);

export const ZERO_LSN: Lsn = lsnOf(0n);

const LSN_TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;
const hex = (half: bigint): string => half.toString(16).toUpperCase();
