// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), slicing by eight. Postgres: port/pg_crc32c_sb8.c uses the same checksum.

const TABLES = makeTables();

/** Starts a running checksum for `updateCrc32c`. */
export const CRC32C_START = 0xffff_ffff;

/** Adds bytes to a running checksum that began with CRC32C_START; finish it with `finishCrc32c`. */
export function updateCrc32c(crc: number, bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  const length = bytes.length;
  const whole = length - (length % 8);
  let value = crc | 0;
  let at = 0;
  for (; at < whole; at += 8) {
    const low =
      value ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    value =
      t7[low & 0xff]! ^
      t6[(low >>> 8) & 0xff]! ^
      t5[(low >>> 16) & 0xff]! ^
      t4[low >>> 24]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!;
  }
  for (; at < length; at += 1) value = t0[(value ^ bytes[at]!) & 0xff]! ^ (value >>> 8);
  return value >>> 0;
}

/** The checksum's final value, 0 … 2^32 - 1. */
export const finishCrc32c = (crc: number): number => ~crc >>> 0;

/** CRC-32C of `bytes`; `crc32c("123456789")` is 0xE3069283. */
export function crc32c(bytes: Uint8Array): number {
  return finishCrc32c(updateCrc32c(CRC32C_START, bytes));
}

type Tables = [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
];

function makeTables(): Tables {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256)) as Tables;
  for (let byte = 0; byte < 256; byte += 1) {
    let value = byte;
    for (let bit = 0; bit < 8; bit += 1) value = (value & 1) === 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
    tables[0][byte] = value;
  }
  for (let byte = 0; byte < 256; byte += 1) {
    for (let slice = 1; slice < 8; slice += 1) {
      const before = tables[slice - 1]![byte]!;
      tables[slice]![byte] = tables[0][before & 0xff]! ^ (before >>> 8);
    }
  }
  return tables;
}
