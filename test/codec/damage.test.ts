import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { test } from "node:test";
import * as fc from "fast-check";
import { collect, streamOf } from "../../src/base/bytes.ts";
import { CipherError, CodecError } from "../../src/codec/codec-error.ts";
import { type Method, type ReadMethod, compressWhole, decompress } from "../../src/codec/compression.ts";
import { type Cipher, type CipherSettings, makeCipher } from "../../src/codec/encryption.ts";
import { open, openStream, seal, sealStream } from "../../src/codec/seal.ts";
import { Secret } from "../../src/base/secret.ts";
import { below, drawSeed, makeRandom, mixedBytes, noiseBytes, type Random } from "../support/random.ts";
import { fixturePath } from "../support/walg-fixtures.ts";

const seed = drawSeed();
const METHODS: readonly Method[] = ["lz4", "zstd", "brotli", "lzma", "none"];
const ROUNDS = 60;

/** What every method must notice, checksum or not. */
const gross: Readonly<Record<string, (bytes: Buffer, random: Random) => Buffer>> = {
  "cut somewhere": (bytes, random) => bytes.subarray(0, below(random, bytes.byteLength)),
  "cut by one byte": (bytes) => bytes.subarray(0, -1),
  "cut by a few bytes": (bytes, random) => bytes.subarray(0, -1 - below(random, 12)),
  "followed by zeros": (bytes, random) => Buffer.concat([bytes, Buffer.alloc(1 + below(random, 600))]),
  "followed by garbage": (bytes, random) =>
    Buffer.concat([bytes, noiseBytes(1 + below(random, 600), random)]),
  garbage: (_bytes, random) => noiseBytes(1 + below(random, 5000), random),
};

/** What only a checksum notices. */
const fine: Readonly<Record<string, (bytes: Buffer, random: Random) => Buffer>> = {
  "one bit flipped": (bytes, random) => flip(bytes, below(random, bytes.byteLength), 1 << below(random, 8)),
  "a byte lost": (bytes, random) => {
    const at = below(random, bytes.byteLength);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
  },
  "a stretch overwritten": (bytes, random) => {
    const at = below(random, bytes.byteLength);
    const copy = Buffer.from(bytes);
    noiseBytes(below(random, 200), random).copy(copy, at);
    return copy;
  },
  "a stretch doubled": (bytes, random) => {
    const at = 1 + below(random, bytes.byteLength - 1); // from 0 on it could be a whole frame, and two frames are sound
    const end = Math.min(bytes.byteLength, at + 1 + below(random, 100));
    return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
  },
};

const compressed: readonly (readonly [ReadMethod, (bytes: Buffer) => Promise<Uint8Array>])[] = [
  ...METHODS.filter((method) => method !== "none").map(
    (method) => [method, (bytes: Buffer) => compressWhole({ method }, bytes)] as const,
  ),
  ["gzip", async (bytes: Buffer) => gzipSync(bytes)],
];

for (const [method, pack] of compressed) {
  for (const [what, damage] of Object.entries({ ...gross, ...(hasChecksum(method) ? fine : {}) })) {
    test(`${method}, ${what}: an error, or the very bytes`, async () => {
      const random = makeRandom(seed);
      for (let round = 0; round < ROUNDS; round += 1) {
        const bytes = mixedBytes(below(random, 60_000), random);
        const damaged = damage(Buffer.from(await pack(bytes)), random);
        await assertNoticed(
          () => collect(decompress(method, inPieces(damaged, 1 + below(random, 9000)))),
          bytes,
          round,
        );
      }
    });
  }
}

for (const [name, settings] of Object.entries(ciphers())) {
  for (const method of ["none", "zstd"] as const) {
    test(`${name} over ${method}: damage of every kind is an error, or the very bytes`, async () => {
      const cipher = await makeCipher(settings);
      const random = makeRandom(seed);
      for (const [what, damage] of Object.entries({ ...gross, ...fine })) {
        for (let round = 0; round < 12; round += 1) {
          const bytes = mixedBytes(below(random, 60_000), random);
          const sealed = await seal(bytes, { compression: { method }, cipher });
          const damaged = damage(Buffer.from(sealed), random);
          await assertNoticed(() => open(damaged, method, cipher), bytes, `${what}, ${round}`);
        }
      }
    });
  }
}

test("brotli and lzma: a flipped bit is never a hang, a crash or an error of another kind", async () => {
  const random = makeRandom(seed);
  for (const method of ["brotli", "lzma"] as const) {
    for (const damage of Object.values(fine)) {
      for (let round = 0; round < 20; round += 1) {
        const bytes = mixedBytes(below(random, 60_000), random);
        const damaged = damage(Buffer.from(await compressWhole({ method }, bytes)), random);
        await collect(decompress(method, streamOf(damaged)), 1 << 28).catch((error: unknown) => {
          assert.ok(error instanceof CodecError, `seed ${seed}, ${method}, ${round}: ${String(error)}`);
        });
      }
    }
  }
});

test("any bytes in any pieces come back from every method and cipher", async () => {
  const made: Cipher[] = [];
  for (const settings of Object.values(ciphers())) made.push(await makeCipher(settings));
  const codecs = fc.record({
    compression: fc.record({ method: fc.constantFrom(...METHODS) }),
    cipher: fc.constantFrom(...made),
  });
  const pieces = fc.array(fc.uint8Array({ maxLength: 20_000 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(codecs, pieces, fc.integer({ min: 1, max: 30_000 }), async (codec, input, size) => {
      const expected = Buffer.concat(input);
      const sealed = await collect(sealStream(streamOf(...input), codec));
      const opened = await collect(
        openStream(inPieces(sealed, size), codec.compression.method, codec.cipher),
      );
      assert.deepEqual(Buffer.from(opened), expected);
    }),
    { numRuns: 80, seed },
  );
});

function ciphers(): Readonly<Record<string, CipherSettings>> {
  const value = new Secret("a passphrase of enough bytes");
  const path = fixturePath("pg17-openpgp-ecc", "keys/secret.asc");
  return {
    libsodium: { kind: "libsodium", key: { kind: "value", value }, transform: "none" },
    openpgp: { kind: "openpgp", key: { kind: "file", path }, passphrase: null },
  };
}

async function assertNoticed(
  work: () => Promise<Uint8Array>,
  bytes: Buffer,
  where: string | number,
): Promise<void> {
  try {
    assert.ok(bytes.equals(await work()), `seed ${seed}, ${where}: other bytes and no error`);
  } catch (error) {
    const known =
      error instanceof CodecError || error instanceof CipherError || error instanceof assert.AssertionError;
    if (!known) throw new Error(`seed ${seed}, ${where}`, { cause: error });
    if (error instanceof assert.AssertionError) throw error;
  }
}

function hasChecksum(method: ReadMethod): boolean {
  return method === "lz4" || method === "zstd" || method === "gzip";
}

function flip(bytes: Buffer, at: number, mask: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= mask;
  return copy;
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}
