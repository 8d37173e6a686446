// CRC-32C (Castagnoli), as Postgres's pg_crc32c: slicing by eight.

/** The state before the first byte. */
export const CRC32C_START = 0xffff_ffff;

/** The state after `bytes[from, to)`. */
export function crc32cUpdate(
  state: number,
  bytes: Uint8Array,
  from: number = 0,
  to: number = bytes.byteLength,
): number {
  let crc = state;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      TABLES[1792 + (low & 0xff)]! ^
      TABLES[1536 + ((low >>> 8) & 0xff)]! ^
      TABLES[1280 + ((low >>> 16) & 0xff)]! ^
      TABLES[1024 + (low >>> 24)]! ^
      TABLES[768 + bytes[at + 4]!]! ^
      TABLES[512 + bytes[at + 5]!]! ^
      TABLES[256 + bytes[at + 6]!]! ^
      TABLES[bytes[at + 7]!]!;
  }
  for (; at < to; at += 1) crc = TABLES[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return crc;
}

/** The checksum of a finished state, unsigned. */
export const crc32cFinish = (state: number): number => (state ^ 0xffff_ffff) >>> 0;

/** The checksum of `bytes`, unsigned. */
export const crc32c = (bytes: Uint8Array): number => crc32cFinish(crc32cUpdate(CRC32C_START, bytes));

const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let n = 0; n < 256; n += 1) {
    let crc = n;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    tables[n] = crc;
  }
  for (let n = 256; n < tables.length; n += 1) {
    const shorter = tables[n - 256]!;
    tables[n] = tables[shorter & 0xff]! ^ (shorter >>> 8);
  }
  return tables;
}
