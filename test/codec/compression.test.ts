import assert from "node:assert/strict";
import { test } from "node:test";
import { collect, streamOf } from "../../src/base/bytes.ts";
import { CodecError } from "../../src/codec/codec-error.ts";
import {
  type Method,
  type ReadMethod,
  compress,
  compressWhole,
  decompress,
  extensionOf,
  methodOfExtension,
} from "../../src/codec/compression.ts";
import { makeRandom, mixedBytes } from "../support/random.ts";

const METHODS: readonly Method[] = ["lz4", "zstd", "brotli", "lzma", "none"];
const MIB = 1 << 20;
const SIZES = [0, 1, 12, 13, 8191, 8192, 8193, MIB, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 17];

for (const method of METHODS) {
  for (const size of SIZES.filter((size) => method !== "lzma" || size <= 2 * MIB)) {
    test(`${method}: ${size} bytes come back, streamed and whole`, async () => {
      const bytes = mixedBytes(size, makeRandom(size + 1));
      const streamed = await collect(compress({ method }, inPieces(bytes, 65_537)));
      assert.deepEqual(Buffer.from(await collect(decompress(method, inPieces(streamed, 40_009)))), bytes);
      const whole = await compressWhole({ method }, bytes);
      assert.deepEqual(Buffer.from(await collect(decompress(method, streamOf(whole)))), bytes);
    });
  }
}

test("every method has its own extension, and every extension its method", () => {
  for (const method of [...METHODS, "gzip", "lzo"] as ReadMethod[]) {
    assert.equal(methodOfExtension(extensionOf(method)), method);
  }
  assert.equal(methodOfExtension("tar"), "none");
  assert.equal(methodOfExtension("xz"), null);
});

test("an empty object is damaged in every method but none", async () => {
  for (const method of ["lz4", "zstd", "brotli", "lzma", "gzip", "lzo"] as ReadMethod[]) {
    await assert.rejects(collect(decompress(method, streamOf())), CodecError, method);
  }
  assert.equal((await collect(decompress("none", streamOf()))).byteLength, 0);
});

test("an error of the input passes unchanged", async () => {
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(10);
    throw new RangeError("the input broke");
  }
  for (const method of METHODS) {
    await assert.rejects(collect(compress({ method }, failing())), RangeError, method);
    await assert.rejects(
      collect(decompress(method, failing())),
      (error) => error instanceof RangeError || error instanceof CodecError,
    );
  }
});

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}
