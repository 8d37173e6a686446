// The checksum of data pages as a WebAssembly program, put together here: 32 lanes as eight vectors of four, about four times as fast as JavaScript.
// Opcodes: https://webassembly.github.io/spec/core/binary/instructions.html

/** FNV's prime. src/include/storage/checksum_impl.h: FNV_PRIME. */
export const PRIME = 16_777_619;

/** Where each lane begins. checksum_impl.h: checksumBaseOffsets. */
// prettier-ignore
export const SEEDS: Int32Array = Int32Array.of(
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c,
  0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb,
  0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4,
  0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
);

type Code = readonly number[];

/**
 * The module. It imports its memory as `e.m` and exports `verify(at, pages, block)`: the index of the first page from byte `at` on whose checksum is
 * not that of block `block + index`, or -1. New pages (pd_upper 0) pass. pd_checksum is put to zero and back while a page is summed.
 */
export function checksumModule(): Uint8Array<ArrayBuffer> {
  const signature = [0x60, ...vector([I32], [I32], [I32]), ...vector([I32])];
  const memory = [...name("e"), ...name("m"), 0x02, 0x00, ...leb(1)];
  const exported = [...name("verify"), 0x00, ...leb(0)];
  const locals = vector([...leb(5), I32], [...leb(10), V128]);
  const body = [...locals, ...verifyCode(), END];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(signature)),
    ...section(2, vector(memory)),
    ...section(3, vector(leb(0))),
    ...section(7, vector(exported)),
    ...section(10, vector([...leb(body.length), ...body])),
  ]);
}

// Parameters, then locals, by their index.
const AT = 0;
const PAGES = 1;
const BLOCK = 2;
const INDEX = 3;
const ROW = 4;
const PAGE_END = 5;
const SUM = 6;
const STORED = 7;
const PRIMES = 9;
const LANES = [10, 11, 12, 13, 14, 15, 16, 17] as const;
const MIXED = 8;
const PAGE_BYTES = 8192;

/** For each page: sum it unless it is new, and return its index when the sum is not what it says. */
function verifyCode(): Code {
  return [
    ...[...i32(PRIME), ...simd(SPLAT), ...set(PRIMES)],
    ...[BLOCK_OP, EMPTY, LOOP, EMPTY],
    ...[...get(INDEX), ...get(PAGES), I32_GE_U, ...branchIf(1)],
    ...[...get(AT), I32_LOAD16_U, 1, 14, ...i32(0), I32_NE, IF, EMPTY],
    ...sumPage(),
    ...[...get(SUM), ...get(STORED), I32_NE, IF, EMPTY, ...get(INDEX), RETURN, END],
    END,
    ...[...get(AT), ...i32(PAGE_BYTES), I32_ADD, ...set(AT)],
    ...[...get(INDEX), ...i32(1), I32_ADD, ...set(INDEX)],
    ...[BR, ...leb(0), END, END],
    ...i32(-1),
  ];
}

/** Leaves pd_checksum in STORED and what it should be in SUM. */
function sumPage(): Code {
  const everyLane = LANES.flatMap((lane) => [...mix(lane), ...set(lane)]);
  return [
    ...LANES.flatMap((lane, at) => [...seeds(at), ...set(lane)]),
    ...[...get(AT), I32_LOAD16_U, 1, 8, ...set(STORED)],
    ...[...get(AT), ...i32(0), I32_STORE16, 1, 8],
    ...sumRows(),
    ...[...get(AT), ...get(STORED), I32_STORE16, 1, 8],
    // Two more rounds of zeros.
    ...everyLane,
    ...everyLane,
    ...get(LANES[0]),
    ...LANES.slice(1).flatMap((lane) => [...get(lane), ...simd(V128_XOR)]),
    ...set(MIXED),
    ...[0, 1, 2, 3].flatMap((lane) => [
      ...get(MIXED),
      ...simd(EXTRACT_LANE),
      lane,
      ...(lane === 0 ? [] : [I32_XOR]),
    ]),
    ...[...get(BLOCK), ...get(INDEX), I32_ADD, I32_XOR],
    ...[...i32(65_535), I32_REM_U, ...i32(1), I32_ADD, ...set(SUM)],
  ];
}

/** Mixes the page into the lanes, a row of 128 bytes at a time. */
function sumRows(): Code {
  return [
    ...[...get(AT), ...set(ROW)],
    ...[...get(AT), ...i32(PAGE_BYTES), I32_ADD, ...set(PAGE_END)],
    ...[LOOP, EMPTY],
    ...LANES.flatMap((lane, at) => [
      ...[
        ...get(lane),
        ...get(ROW),
        ...simd(V128_LOAD),
        0,
        ...leb(at * 16),
        ...simd(V128_XOR),
        ...set(MIXED),
      ],
      ...[...mix(MIXED), ...set(lane)],
    ]),
    ...[...get(ROW), ...i32(128), I32_ADD, ...set(ROW)],
    ...[...get(ROW), ...get(PAGE_END), I32_LT_U, ...branchIf(0), END],
  ];
}

/** (value * prime) ^ (value >>> 17), of the vector in a local. */
const mix = (local: number): Code => [
  ...get(local),
  ...get(PRIMES),
  ...simd(I32X4_MUL),
  ...get(local),
  ...i32(17),
  ...simd(I32X4_SHR_U),
  ...simd(V128_XOR),
];

const seeds = (at: number): Code => [
  ...simd(V128_CONST),
  ...new Uint8Array(SEEDS.slice(at * 4, at * 4 + 4).buffer),
];

const get = (local: number): Code => [0x20, ...leb(local)];
const set = (local: number): Code => [0x21, ...leb(local)];
const branchIf = (depth: number): Code => [0x0d, ...leb(depth)];
const simd = (opcode: number): Code => [0xfd, ...leb(opcode)];
const i32 = (value: number): Code => [0x41, ...signedLeb(value)];
const section = (id: number, content: Code): Code => [id, ...leb(content.length), ...content];
const vector = (...items: readonly Code[]): Code => [...leb(items.length), ...items.flat()];
const name = (text: string): Code => vector(...Array.from(Buffer.from(text), (byte) => [byte]));

/** Unsigned LEB128. */
function leb(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
}

/** Signed LEB128 of a 32-bit number. */
function signedLeb(value: number): Code {
  const low = value & 0x7f;
  const rest = value >> 7;
  const done = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
  return done ? [low] : [low | 0x80, ...signedLeb(rest)];
}

const I32 = 0x7f;
const V128 = 0x7b;
const EMPTY = 0x40; // a block without a result
const BLOCK_OP = 0x02;
const LOOP = 0x03;
const IF = 0x04;
const END = 0x0b;
const BR = 0x0c;
const RETURN = 0x0f;
const I32_LOAD16_U = 0x2f;
const I32_STORE16 = 0x3b;
const I32_NE = 0x47;
const I32_LT_U = 0x49;
const I32_GE_U = 0x4f;
const I32_ADD = 0x6a;
const I32_REM_U = 0x70;
const I32_XOR = 0x73;
// After the prefix 0xfd.
const V128_LOAD = 0;
const V128_CONST = 12;
const SPLAT = 17;
const EXTRACT_LANE = 27;
const V128_XOR = 81;
const I32X4_SHR_U = 173;
const I32X4_MUL = 181;
