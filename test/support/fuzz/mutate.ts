// Damages that parsers have to bear: of bytes, of lines of text, and of the values within JSON.

import { type Random, below, noiseBytes } from "../random.ts";

/** Makes a new input out of one of the corpus; `pool` is the whole corpus, for pieces of others. */
export type Mutator = (input: Buffer, random: Random, pool: readonly Uint8Array[]) => Buffer;

/** Flipped bits, cuts, lost, doubled and swapped stretches, and numbers that lie. One to four of them. */
export const mutateBytes: Mutator = (input, random, pool) => {
  let bytes: Buffer = Buffer.from(input);
  for (let left = 1 + below(random, 4); left > 0; left -= 1) {
    const step = BYTE_STEPS[below(random, BYTE_STEPS.length)]!;
    bytes = step(bytes, random, pool);
  }
  return bytes;
};

/** As `mutateBytes`, and what is hard on readers of lines: huge numbers, wrong words, very long lines, strange characters. */
export const mutateText: Mutator = (input, random, pool) => {
  if (below(random, 4) === 0) return mutateBytes(input, random, pool);
  let text = input.toString("utf8");
  for (let left = 1 + below(random, 3); left > 0; left -= 1) text = textStep(text, random);
  return Buffer.from(text, "utf8");
};

/** Values replaced by others of the same and of other types, keys doubled and renamed, deep nesting; a third of it as text. */
export const mutateJson: Mutator = (input, random, pool) => {
  if (below(random, 3) === 0) return mutateText(input, random, pool);
  let value: unknown;
  try {
    value = JSON.parse(input.toString("utf8"));
  } catch {
    return mutateText(input, random, pool);
  }
  for (let left = 1 + below(random, 3); left > 0; left -= 1) value = jsonStep(value, random);
  return Buffer.from(fill(JSON.stringify(value) ?? "", random), "utf8");
};

type ByteStep = (bytes: Buffer, random: Random, pool: readonly Uint8Array[]) => Buffer;

const BYTE_STEPS: readonly ByteStep[] = [
  (bytes, random) => overwrite(bytes, random, (at) => (bytes[at] = bytes[at]! ^ (1 << below(random, 8)))),
  (bytes, random) => overwrite(bytes, random, (at) => (bytes[at] = below(random, 256))),
  lyingNumber,
  lyingNumber,
  (bytes, random) => bytes.subarray(0, below(random, bytes.length + 1)),
  (bytes, random) => {
    const [from, to] = stretch(bytes, random);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  (bytes, random) => {
    const [from, to] = stretch(bytes, random);
    return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
  },
  (bytes, random) => {
    const at = below(random, bytes.length + 1);
    const added =
      below(random, 2) === 0 ? Buffer.alloc(below(random, 600)) : noiseBytes(below(random, 600), random);
    return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at)]);
  },
  (bytes, random) => {
    const [from, to] = stretch(bytes, random);
    return bytes.fill(below(random, 2) === 0 ? 0 : 0xff, from, to);
  },
  (bytes, random, pool) => {
    const other = pool[below(random, pool.length)]!;
    const at = below(random, bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), other.subarray(below(random, other.length + 1))]);
  },
  (bytes, random, pool) => {
    const other = pool[below(random, pool.length)]!;
    const from = below(random, other.length + 1);
    const piece = other.subarray(from, from + below(random, 4096));
    bytes.set(piece.subarray(0, bytes.length), below(random, Math.max(1, bytes.length - piece.length + 1)));
    return bytes;
  },
];

function overwrite(bytes: Buffer, random: Random, change: (at: number) => void): Buffer {
  if (bytes.length > 0) change(place(bytes.length, random));
  return bytes;
}

/** Anywhere, but more often near the beginning, where headers are. */
const place = (length: number, random: Random): number =>
  below(random, below(random, 2) === 0 ? Math.min(length, 64) : length);

function stretch(bytes: Buffer, random: Random): readonly [number, number] {
  const from = below(random, bytes.length + 1);
  const most = below(random, 2) === 0 ? 16 : bytes.length;
  return [from, Math.min(bytes.length, from + below(random, most + 1))];
}

/** A field of 1, 2, 4 or 8 bytes in either order gets a value that lengths and counts go wrong with. */
function lyingNumber(bytes: Buffer, random: Random): Buffer {
  const width = [1, 2, 4, 8][below(random, 4)]!;
  if (bytes.length < width) return bytes;
  const at = Math.min(place(bytes.length, random), bytes.length - width);
  const value = LIES[below(random, LIES.length)]!(BigInt(bytes.length), random);
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(BigInt.asUintN(64, value));
  const narrow = field.subarray(0, width);
  bytes.set(below(random, 2) === 0 ? narrow : narrow.toReversed(), at);
  return bytes;
}

const LIES: readonly ((length: bigint, random: Random) => bigint)[] = [
  () => 0n,
  () => 1n,
  () => -1n,
  (length) => length,
  (length) => length - 1n,
  (length) => length + 1n,
  (length) => length * 2n,
  () => 0x7fff_ffffn,
  () => 0x8000_0000n,
  () => 0xffff_fff0n,
  () => 1n << 53n,
  () => (1n << 63n) - 1n,
  () => 1n << 63n,
  (_length, random) => 1n << BigInt(below(random, 64)),
];

function textStep(text: string, random: Random): string {
  const word = WORDS[below(random, WORDS.length)]!;
  const matches = [
    ...text.matchAll([/-?\d+/g, /[A-Za-z_]+/g, /[^\w\s]/g, /\S+/g, /[^\n]*\n?/g][below(random, 5)]!),
  ];
  const match = matches[below(random, matches.length)];
  if (match === undefined) return fill(text + word, random);
  const [found] = match;
  const [before, after] = [text.slice(0, match.index), text.slice(match.index + found.length)];
  switch (below(random, 4)) {
    case 0:
      return before + after;
    case 1:
      return before + found + found + after;
    default:
      return before + fill(word, random) + after;
  }
}

/** Words that are long or deep are made only where they are used. */
function fill(text: string, random: Random): string {
  if (!text.includes(DEEP) && !text.includes(LONG)) return text;
  const depth = [10, 1000, 20_000][below(random, 3)]!;
  const [open, close] = below(random, 2) === 0 ? ["[", "]"] : ['{"a":', "}"];
  return text
    .replaceAll(`"${DEEP}"`, () => open.repeat(depth) + (open === "[" ? "" : "1") + close.repeat(depth))
    .replaceAll(DEEP, () => "[".repeat(depth))
    .replaceAll(LONG, () => "A".repeat([300, 70_000][below(random, 2)]!));
}

const DEEP = "@deep@";
const LONG = "@long@";
const WORDS: readonly string[] = [
  ...["0", "-1", "1", "-0", "0.5", "1e-7", "1e400", "-1e400", "9007199254740993", "18446744073709551616"],
  ...["4294967296", "2147483648", "0x10", "1_000", "123456789012345678901234567890", "NaN", "Infinity"],
  ...[
    "null",
    "true",
    '""',
    "[]",
    "{}",
    '"',
    "\\",
    "\0",
    "\n",
    "\r\n",
    "=",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "/",
  ],
  ...[
    "../../../etc/passwd",
    "/..",
    "./",
    "__proto__",
    "constructor",
    "toString",
    "FFFFFFFF/FFFFFFFF",
    "0/0",
    "///",
  ],
  ...[
    "\ud800",
    "\u2028",
    "é",
    "\u{1F600}",
    "\uFEFF",
    "%s%n",
    "FFFFFFFFFFFFFFFFFFFFFFFF",
    "ZZZZZZZZZZZZZZZZZZZZZZZZ",
  ],
  ...["9999-12-31T23:59:59.999999999-23:59", "0000-01-01T00:00:00Z", "2026-02-30T24:61:61Z", DEEP, LONG],
];

/** A place within a JSON value. */
interface Spot {
  readonly holder: Record<string, unknown> | unknown[];
  readonly key: string;
}

function jsonStep(value: unknown, random: Random): unknown {
  const spots: Spot[] = [];
  gather(value, spots);
  const spot = spots[below(random, spots.length)];
  if (spot === undefined || below(random, 40) === 0) return strangeValue(random);
  const holder = spot.holder as Record<string, unknown>;
  switch (below(random, 8)) {
    case 0:
      if (Array.isArray(spot.holder)) spot.holder.splice(Number(spot.key), 1);
      else delete holder[spot.key];
      return value;
    case 1:
      if (Array.isArray(spot.holder)) spot.holder.push(spot.holder[Number(spot.key)]);
      else define(holder, `${spot.key}${below(random, 2) === 0 ? "" : "2"}`.toUpperCase(), holder[spot.key]);
      return value;
    case 2: {
      const key = ["__proto__", "constructor", "", "toString", LONG][below(random, 5)]!;
      if (Array.isArray(spot.holder)) spot.holder.push(strangeValue(random));
      else define(holder, key, strangeValue(random));
      return value;
    }
    case 3: {
      const other = spots[below(random, spots.length)]!;
      define(holder, spot.key, structuredClone((other.holder as Record<string, unknown>)[other.key]));
      return value;
    }
    default:
      define(holder, spot.key, strangeValue(random));
      return value;
  }
}

/** Not by assignment: "__proto__" must become a key. */
function define(holder: object, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
}

function gather(value: unknown, spots: Spot[]): void {
  if (typeof value !== "object" || value === null || spots.length > 20_000) return;
  for (const key of Object.keys(value)) {
    spots.push({ holder: value as Spot["holder"], key });
    gather((value as Record<string, unknown>)[key], spots);
  }
}

function strangeValue(random: Random): unknown {
  const values: readonly unknown[] = [
    ...[
      null,
      true,
      false,
      0,
      -1,
      1,
      0.5,
      1e21,
      -1e21,
      1e300,
      4_294_967_296,
      2 ** 53,
      2 ** 53 + 2,
      2 ** 63,
      2 ** 64,
    ],
    ...["", [], {}, [[]], [null], { a: null }, [1, "a"], DEEP, WORDS[below(random, WORDS.length)]],
  ];
  return values[below(random, values.length)];
}
