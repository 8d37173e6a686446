// The WebAssembly engine against lz4-napi and the frame reader: what one packs the other unpacks, and no block of garbage leaves its memory.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import lz4 from "lz4-napi";
import { assemble } from "../../scripts/wasm/assemble.ts";
import { collect, copies, streamOf } from "../../src/base/bytes.ts";
import { CodecError } from "../../src/codec/codec-error.ts";
import { decodeLz4Here } from "../../src/codec/decode-here.ts";
import { Lz4BlockEncoder, compressLz4, decompressLz4 } from "../../src/codec/lz4-compression.ts";
import { ENGINE_WASM, Lz4Engine } from "../../src/codec/lz4-engine.ts";
import { xxh32 } from "../../src/codec/xxh32.ts";
import { makeRandom } from "../support/random.ts";

const BLOCK_BYTES = 64 << 10;
const SEED = Number(process.env["HOLDFAST_SEED"] ?? 20_261_124);

test("the program in the source is the assembled text", () => {
  const text = readFileSync(join(import.meta.dirname, "../../scripts/wasm/lz4.wat"), "utf8");
  assert.equal(Buffer.from(assemble(text)).toString("base64"), ENGINE_WASM);
});

test(`every kind of input comes back through lz4-napi and through the engine, seed ${SEED}`, () => {
  const engine = new Lz4Engine(BLOCK_BYTES);
  for (const input of inputs(SEED, 3_000)) {
    engine.input.set(input);
    const block = Buffer.from(engine.compress(input.byteLength));
    const word = block.readUInt32LE(0);
    if (word >= 0x8000_0000) {
      assert.deepEqual(block.subarray(4), Buffer.from(input));
      continue;
    }
    assert.equal(word, block.length - 4);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(input.byteLength);
    assert.deepEqual(lz4.uncompressSync(Buffer.concat([size, block.subarray(4)])), Buffer.from(input));
    const back = unpack(engine, block.subarray(4), input.byteLength);
    assert.deepEqual(Buffer.from(back), Buffer.from(input));
  }
});

test("a block that lz4-napi packed with a history is unpacked with it", () => {
  const engine = new Lz4Engine(BLOCK_BYTES);
  const history = Buffer.from("the quick brown fox jumps over the lazy dog ".repeat(40));
  const input = Buffer.from("the lazy dog jumps over the quick brown fox ".repeat(20));
  const block = lz4.compressSync(input, history).subarray(4);
  assert.deepEqual(Buffer.from(unpack(engine, block, input.length, history)), input);
  assert.throws(() => unpack(engine, block, input.length, history.subarray(-8)), CodecError);
});

test(`garbage is refused or decodes within its room, seed ${SEED}`, () => {
  const engine = new Lz4Engine(BLOCK_BYTES);
  const random = makeRandom(SEED);
  const good = Buffer.from("abcabcabc".repeat(300));
  engine.input.set(good);
  const packed = Buffer.from(engine.compress(good.length)).subarray(4);
  for (let round = 0; round < 20_000; round += 1) {
    const block = Buffer.from(round % 2 === 0 ? packed : Buffer.alloc(1 + Math.floor(random() * 200)));
    for (let flips = round % 2 === 0 ? 3 : block.length; flips > 0; flips -= 1)
      block[Math.floor(random() * block.length)] = Math.floor(random() * 256);
    const room = Math.floor(random() * 4_000);
    try {
      assert.ok(unpack(engine, block, room).byteLength <= room);
    } catch (error) {
      assert.ok(error instanceof CodecError, String(error));
    }
  }
});

test("the running hash equals xxh32 however the bytes are cut", () => {
  const engine = new Lz4Engine(BLOCK_BYTES);
  const random = makeRandom(SEED);
  for (let round = 0; round < 300; round += 1) {
    const bytes = Uint8Array.from({ length: Math.floor(random() * 200_000) }, () =>
      Math.floor(random() * 256),
    );
    engine.startHash();
    for (let at = 0; at < bytes.byteLength;) {
      const piece = bytes.subarray(at, at + 1 + Math.floor(random() * 70_000));
      engine.update(piece);
      at += piece.byteLength;
    }
    assert.equal(engine.digest(), xxh32(bytes));
  }
});

test("frames of the block encoder are read by both readers, and frames of the stream by the engine's", async () => {
  const encoder = new Lz4BlockEncoder(BLOCK_BYTES);
  const inputsInOrder = inputs(SEED, 200).filter(({ byteLength }) => byteLength > 0);
  const pieces: Uint8Array[] = [Uint8Array.from(encoder.begin())];
  for (const input of inputsInOrder) {
    encoder.input.set(input);
    pieces.push(Uint8Array.from(encoder.block(input.byteLength)));
  }
  pieces.push(encoder.end());
  const whole = Buffer.concat(inputsInOrder);
  const frame = Buffer.concat(pieces);
  assert.deepEqual(Buffer.from(await collect(decompressLz4(streamOf(frame)))), whole);
  assert.deepEqual(Buffer.from(await collect(copies(decodeLz4Here(streamOf(frame))))), whole);
  const streamed = await collect(compressLz4(streamOf(whole)));
  assert.deepEqual(Buffer.from(await collect(copies(decodeLz4Here(streamOf(streamed))))), whole);
  frame[frame.length - 1]! ^= 1;
  await assert.rejects(collect(copies(decodeLz4Here(streamOf(frame)))), /content checksum/);
});

function unpack(engine: Lz4Engine, block: Uint8Array, room: number, history = new Uint8Array(0)): Uint8Array {
  engine.input.set(block);
  return engine.decompress(block.byteLength, room, history);
}

/** Empty, tiny, repetitive, random, mixed, and full blocks. */
function inputs(seed: number, count: number): Uint8Array[] {
  const random = makeRandom(seed);
  return Array.from({ length: count }, (_, index) => {
    const length = index % 50 === 0 ? BLOCK_BYTES : Math.floor(random() * random() * 4_000);
    const letters = 1 + Math.floor(random() * 255);
    const repeats = random();
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 1) {
      const isRepeat = at > 40 && random() < repeats;
      bytes[at] = isRepeat ? bytes[at - 1 - Math.floor(random() * 40)]! : Math.floor(random() * letters);
    }
    return bytes;
  });
}
