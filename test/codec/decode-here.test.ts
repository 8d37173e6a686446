// The decoders of restoring threads agree with the streaming ones: on every frame, cut and flip, though nothing they are given or give lasts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { promisify } from "node:util";
import { constants, zstdCompress } from "node:zlib";
import { collect, copies, streamOf } from "../../src/base/bytes.ts";
import { decodeLz4Here, decodeZstdHere } from "../../src/codec/decode-here.ts";
import { compressLz4, decompressLz4 } from "../../src/codec/lz4-compression.ts";
import { decompressZstd } from "../../src/codec/zstd-compression.ts";
import { fixtureKeys, fixtureNames, fixtureObject } from "../support/walg-fixtures.ts";
import { drawSeed, makeRandom, type Random } from "../support/random.ts";

const SEED = drawSeed();

interface Codec {
  readonly name: string;
  readonly here: (input: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
  readonly streaming: (input: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
  readonly frame: (content: Uint8Array) => Promise<Uint8Array>;
}

const CODECS: readonly Codec[] = [
  {
    name: "lz4",
    here: decodeLz4Here,
    streaming: decompressLz4,
    frame: (content) => collect(compressLz4(streamOf(content))),
  },
  {
    name: "zstd",
    here: decodeZstdHere,
    streaming: decompressZstd,
    frame: (content) => promisify(zstdCompress)(content, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
  },
];

for (const codec of CODECS) {
  test(`${codec.name}: concatenated frames of all sizes, between skippable ones, seed ${SEED}`, async () => {
    const random = makeRandom(SEED);
    const contents = [0, 1, 12, 70_000, 1 << 20, 5 << 20, 300_000].map((bytes) => content(bytes, random));
    const pieces: Uint8Array[] = [skippable(0), skippable(3_000)];
    for (const each of contents) pieces.push(await codec.frame(each), skippable(Math.floor(random() * 100)));
    const stored = Buffer.concat(pieces);
    const decoded = Buffer.from(await collect(copies(codec.here(vanishing(stored, random)))));
    assert.ok(decoded.equals(Buffer.concat(contents)));
  });

  test(`${codec.name}: cuts and flips are seen as the streaming decoder sees them, seed ${SEED}`, async () => {
    const random = makeRandom(SEED + 1);
    const whole = Buffer.concat([
      await codec.frame(content(3_000, random)),
      await codec.frame(content(90_000, random)),
    ]);
    for (let round = 0; round < 120; round += 1) {
      let damaged = Buffer.from(whole);
      if (round % 3 === 0) damaged = damaged.subarray(0, Math.floor(random() * damaged.length));
      else if (round % 3 === 1)
        damaged[Math.floor(random() * damaged.length)]! ^= 1 << Math.floor(random() * 8);
      else damaged = Buffer.concat([damaged, Buffer.from([1, 2, 3, 4, 5, 6, 7, 8])]);
      const [here, streaming] = await Promise.all([
        outcome(codec.here(vanishing(damaged, random))),
        outcome(codec.streaming(streamOf(damaged))),
      ]);
      assert.equal(here, streaming, `round ${round}`);
    }
  });
}

test("every lz4 and zstd object that WAL-G wrote", async () => {
  const random = makeRandom(SEED + 2);
  let seen = 0;
  for (const name of fixtureNames()) {
    if (/broken|libsodium|openpgp/.test(name)) continue;
    for (const key of fixtureKeys(name)) {
      const codec = key.endsWith(".lz4") ? CODECS[0] : key.endsWith(".zst") ? CODECS[1] : undefined;
      if (codec === undefined) continue;
      const stored = fixtureObject(name, key);
      const here = await outcome(codec.here(vanishing(stored, random)));
      assert.equal(here, await outcome(codec.streaming(streamOf(stored))), `${name}/${key}`);
      assert.notEqual(here, "refused", `${name}/${key}`);
      seen += 1;
    }
  }
  assert.ok(seen > 50, `${seen} objects`);
});

/** What came out, or that it was refused. */
async function outcome(decoded: AsyncIterable<Uint8Array>): Promise<string> {
  try {
    return Buffer.from(await collect(copies(decoded))).toString("base64");
  } catch {
    return "refused";
  }
}

/** Pieces of odd sizes in one piece of memory, which is overwritten as soon as the next is asked for. */
async function* vanishing(bytes: Uint8Array, random: Random): AsyncGenerator<Uint8Array> {
  const memory = new Uint8Array(200_000);
  for (let at = 0; at < bytes.byteLength;) {
    const size = Math.min(bytes.byteLength - at, 1 + Math.floor(random() ** 3 * memory.byteLength));
    memory.set(bytes.subarray(at, at + size));
    yield memory.subarray(0, size);
    memory.fill(0xa5);
    at += size;
  }
}

function content(bytes: number, random: Random): Uint8Array {
  const letters = 2 + Math.floor(random() * 200);
  return Uint8Array.from({ length: bytes }, (_, at) =>
    at % 97 < 60 ? at % letters : Math.floor(random() * letters),
  );
}

function skippable(bytes: number): Uint8Array {
  const frame = Buffer.alloc(8 + bytes, 0xee);
  frame.writeUInt32LE(0x184d2a53, 0);
  frame.writeUInt32LE(bytes, 4);
  return frame;
}
