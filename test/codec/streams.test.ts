import assert from "node:assert/strict";
import { randomFillSync } from "node:crypto";
import { test } from "node:test";
import type { Method } from "../../src/codec/compression.ts";
import { makeCipher, noCipher } from "../../src/codec/encryption.ts";
import { collect, streamOf } from "../../src/base/bytes.ts";
import { open, openStream, seal, sealStream } from "../../src/codec/seal.ts";
import { Secret } from "../../src/base/secret.ts";
import { makeRandom, mixedBytes } from "../support/random.ts";
import { fixturePath } from "../support/walg-fixtures.ts";

const MIB = 1 << 20;
const STREAM_MIB = 160;
/** How far reading may run ahead of what comes out: buffers between the steps, whatever the stream's length. */
const LEAD_MIB = 32;

const ciphers = {
  none: noCipher,
  libsodium: await makeCipher({
    kind: "libsodium",
    key: { kind: "value", value: new Secret("a passphrase of enough bytes") },
    transform: "none",
  }),
  openpgp: await makeCipher({
    kind: "openpgp",
    key: { kind: "file", path: fixturePath("pg17-openpgp-ecc", "keys/secret.asc") },
    passphrase: null,
  }),
};

const cases: readonly (readonly [Method, keyof typeof ciphers])[] = [
  ["lz4", "none"],
  ["zstd", "none"],
  ["brotli", "none"],
  ["none", "libsodium"],
  ["none", "openpgp"],
  ["zstd", "openpgp"],
];

for (const [method, name] of cases) {
  test(`${method} with ${name}: ${STREAM_MIB} MiB pass, and reading never runs far ahead`, async () => {
    const block = mixedBytes(MIB, makeRandom(3));
    let fed = 0;
    async function* long(): AsyncGenerator<Uint8Array> {
      for (; fed < STREAM_MIB * MIB; fed += MIB) {
        const piece = Uint8Array.from(block);
        yield randomFillSync(piece, 0, MIB / 4); // else a window that spans blocks would make next to nothing of them
      }
    }
    let lead = 0;
    let total = 0;
    const codec = { compression: { method }, cipher: ciphers[name] };
    for await (const piece of openStream(sealStream(long(), codec), method, codec.cipher)) {
      total += piece.byteLength;
      lead = Math.max(lead, fed - total);
    }
    assert.equal(total, STREAM_MIB * MIB);
    assert.ok(lead < LEAD_MIB * MIB, `${Math.round(lead / MIB)} MiB ahead`);
  });
}

test("lzma: a piece that becomes very much comes out bit by bit", async () => {
  const codec = { compression: { method: "lzma" }, cipher: noCipher } as const;
  async function* zeros(): AsyncGenerator<Uint8Array> {
    for (let left = 100; left > 0; left -= 1) yield new Uint8Array(MIB);
  }
  const packed = await collect(sealStream(zeros(), codec));
  let [total, longest] = [0, 0];
  for await (const piece of openStream(streamOf(packed), "lzma", noCipher)) {
    total += piece.byteLength;
    longest = Math.max(longest, piece.byteLength);
  }
  assert.equal(total, 100 * MIB);
  assert.ok(longest <= MIB, `a piece of ${longest} bytes`);
});

test("lzma: a header that asks for a dictionary of gigabytes is refused", async () => {
  const packed = Buffer.from(
    await seal(Buffer.from("some rows"), { compression: { method: "lzma" }, cipher: noCipher }),
  );
  packed.writeUInt32LE(0x8000_0000, 1);
  await assert.rejects(open(packed, "lzma", noCipher), /2147483648 bytes is too large/);
});
