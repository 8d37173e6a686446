import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import { collect, streamOf } from "../../src/base/bytes.ts";
import { CodecError } from "../../src/codec/codec-error.ts";
import {
  type ReadMethod,
  compressWhole,
  decompress,
  methodOfExtension,
} from "../../src/codec/compression.ts";
import { xxh32 } from "../../src/codec/xxh32.ts";
import { below, drawSeed, makeRandom, noiseBytes, wordyBytes } from "../support/random.ts";

const FOLDER = join(import.meta.dirname, "../fixtures/codec");
const plain = wordyBytes(80_000, makeRandom(42));
const fixture = (name: string): Buffer => readFileSync(join(FOLDER, name));
const opened = async (method: ReadMethod, ...pieces: readonly Uint8Array[]): Promise<Buffer> =>
  Buffer.from(await collect(decompress(method, streamOf(...pieces))));

const files = [
  "linked-64k-block-checksums-size.lz4",
  "independent-64k-no-checksum.lz4",
  "linked-4m-high.lz4",
  "no-checksum-19.zst",
  "window-128m.zst",
  "quality-9.br",
  "nine.gz",
  "xz.lzma",
  "lc2-lp1-pb1.lzma",
  "one.lzo",
  "nine.lzo",
  "crc32.lzo",
  "no-checksum.lzo",
];

for (const name of files) {
  test(`${name} is read, whole and byte by byte`, async () => {
    const method = methodOfExtension(name.slice(name.lastIndexOf(".") + 1))!;
    const bytes = fixture(name);
    assert.ok(plain.equals(await opened(method, bytes)));
    const head = [...bytes.subarray(0, 300)].map((byte) => Uint8Array.of(byte));
    assert.ok(plain.equals(await opened(method, ...head, bytes.subarray(300))));
  });
}

test("lzop stores what does not shrink", async () => {
  assert.ok(noiseBytes(3000, makeRandom(43)).equals(await opened("lzo", fixture("noise.lzo"))));
});

test("lzma with its size told is read; a wrong size is damaged", async () => {
  const told = (bytes: number): Buffer => {
    const copy = fixture("xz.lzma");
    copy.writeBigUInt64LE(BigInt(bytes), 5);
    return copy;
  };
  assert.ok(plain.equals(await opened("lzma", told(plain.byteLength))));
  await assert.rejects(opened("lzma", told(plain.byteLength + 1)), CodecError);
  await assert.rejects(opened("lzma", told(plain.byteLength - 1)), CodecError);
});

test("damaged lzop files are noticed", async () => {
  const seed = drawSeed();
  const random = makeRandom(seed);
  for (const name of ["one.lzo", "nine.lzo", "crc32.lzo"]) {
    for (let round = 0; round < 60; round += 1) {
      const damaged = fixture(name);
      const at = below(random, damaged.byteLength);
      damaged[at]! ^= 1 << below(random, 8);
      const result = await opened("lzo", damaged).catch((error: unknown) => {
        assert.ok(error instanceof CodecError, `seed ${seed}: ${String(error)}`);
        return plain;
      });
      assert.ok(plain.equals(result), `seed ${seed}: ${name} with a flipped bit in byte ${at}`);
      await assert.rejects(
        opened("lzo", fixture(name).subarray(0, at)),
        CodecError,
        `seed ${seed}, cut at ${at}`,
      );
    }
  }
});

/** A skippable frame that both lz4 and zstd know. */
function skippable(bytes: number, kind: number): Buffer {
  const frame = Buffer.alloc(8 + bytes, 0xaa);
  frame.writeUInt32LE(0x184d2a50 + kind, 0);
  frame.writeUInt32LE(bytes, 4);
  return frame;
}

for (const method of ["lz4", "zstd"] as const) {
  test(`${method}: frames that follow one another, empty ones and skippable ones are read`, async () => {
    const [a, b, none] = [
      await compressWhole({ method }, plain),
      await compressWhole({ method }, Buffer.from("b")),
      await compressWhole({ method }, Buffer.alloc(0)),
    ];
    const both = Buffer.concat([plain, Buffer.from("b"), plain]);
    const pieces = [skippable(5000, 0), a, none, skippable(0, 15), b, a, none, skippable(3, 7)];
    assert.ok(both.equals(await opened(method, ...pieces)));
    assert.ok(both.equals(await opened(method, Buffer.concat(pieces))));
    const many = Array.from({ length: 300 }, () => b);
    assert.equal(String(await opened(method, ...many)), "b".repeat(300));
  });

  test(`${method}: a cut in any of several frames is damaged, at their borders too`, async () => {
    const frame = await compressWhole({ method }, Buffer.from("some words, some words"));
    const two = Buffer.concat([frame, frame, skippable(9, 1)]);
    const whole = [frame.byteLength, 2 * frame.byteLength];
    for (let length = 0; length < two.byteLength; length += 1) {
      const cut = opened(method, two.subarray(0, length));
      if (whole.includes(length)) await cut;
      else await assert.rejects(cut, CodecError, `${length}`);
    }
  });

  test(`${method}: skippable frames alone are no object`, async () => {
    await assert.rejects(opened(method, skippable(10, 2)), CodecError);
  });
}

test("zstd: a small object that becomes huge does so in small pieces, and can be left", async () => {
  const bomb = zstdCompressSync(Buffer.alloc(256 << 20), {
    params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  assert.ok(bomb.byteLength < 100_000);
  let most = 0;
  let total = 0;
  for await (const piece of decompress("zstd", streamOf(bomb))) {
    most = Math.max(most, piece.byteLength);
    total += piece.byteLength;
    if (total > 64 << 20) break;
  }
  assert.ok(most <= 1 << 20, `a piece of ${most} bytes`);
});

test("gzip members that follow one another are read", async () => {
  const two = Buffer.concat([gzipSync(plain), gzipSync(Buffer.from("b"))]);
  assert.ok(Buffer.concat([plain, Buffer.from("b")]).equals(await opened("gzip", two)));
});

test("a container of another kind is damaged, and the message names what was found", async () => {
  await assert.rejects(
    opened("lz4", await compressWhole({ method: "zstd" }, plain)),
    /lz4: no frame begins with 0xfd2fb528/,
  );
  await assert.rejects(
    opened("zstd", await compressWhole({ method: "lz4" }, plain)),
    /zstd: no frame begins with 0x184d2204/,
  );
  await assert.rejects(opened("lzma", Buffer.from("fd377a585a000004e6d6b44600000000", "hex")), CodecError); // xz
});

/** Known values of XXH32 with seed 0. */
const sums: readonly (readonly [string, number])[] = [
  ["", 0x02cc5d05],
  ["a", 0x550d7456],
  ["abc", 0x32d153ff],
  ["Nobody inspects the spammish repetition", 0xe2293b2f],
];

for (const [text, sum] of sums) {
  test(`XXH32 of "${text}"`, () => assert.equal(xxh32(Buffer.from(text)), sum));
}
