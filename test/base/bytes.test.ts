import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { ByteSource } from "../../src/base/byte-source.ts";
import { BoundsError, ByteReader, collect, compareKeys, streamOf } from "../../src/base/bytes.ts";

test("a reader gives fields in their order and refuses to run past the end", () => {
  const reader = new ByteReader(Buffer.from("01020304050607080900000000000000ffC3A4", "hex"));
  assert.equal(reader.uint8(), 1);
  assert.equal(reader.uint16be(), 0x0203);
  assert.equal(reader.uint16le(), 0x0504);
  assert.equal(reader.uint32be(), 0x06070809);
  assert.equal(reader.uint32le(), 0);
  assert.throws(() => reader.uint64be(), BoundsError);
  assert.equal(reader.offset, 13, "a refused read takes nothing");
  assert.equal(reader.remaining, 6);
  reader.skip(4);
  assert.throws(() => reader.finish(), /2 bytes are left over/);
  assert.equal(reader.text(2), "ä");
  reader.finish();
  assert.throws(() => reader.bytes(1), /wanted 1 bytes at offset 19, 0 are left/);
  for (const count of [-1, 0.5, Number.NaN]) assert.throws(() => reader.bytes(count), BoundsError);
});

test("a reader of a part of a buffer sees that part only", () => {
  const reader = new ByteReader(Buffer.from("aabbccdd00000000000000ff", "hex").subarray(4, 12));
  assert.equal(reader.uint64be(), 0xffn);
  assert.throws(() => reader.uint8(), BoundsError);
});

test("text that is not UTF-8 is refused", () => {
  assert.throws(() => new ByteReader(Buffer.from("ff", "hex")).text(1), TypeError);
});

test("keys compare by their bytes, not by UTF-16 units", () => {
  const [beyond, last] = ["\u{10000}", "\uffff"] as string[];
  assert.ok(beyond! < last!, "JavaScript's own order");
  assert.ok(compareKeys(beyond!, last!) > 0);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
      assert.equal(Math.sign(compareKeys(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});

test("collect stops at its limit", async () => {
  assert.equal((await collect(streamOf(new Uint8Array(5), new Uint8Array(5)), 10)).byteLength, 10);
  await assert.rejects(collect(streamOf(new Uint8Array(5), new Uint8Array(6)), 10), BoundsError);
});

test("a source gives the same bytes however the stream is cut and however it is read", async () => {
  const reads = fc.array(
    fc.record({ how: fc.constantFrom("take", "peek", "some"), count: fc.integer({ min: 1, max: 40 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 30 })), reads, async (pieces, steps) => {
      const all = Buffer.concat(pieces);
      const source = new ByteSource(streamOf(...pieces));
      let at = 0;
      for (const { how, count } of steps) {
        const expected = all.subarray(at, at + count);
        if (how === "peek") assert.deepEqual(Buffer.from(await source.peek(count)), expected);
        else if (how === "take") {
          const taken = await source.take(count);
          assert.deepEqual(taken && Buffer.from(taken), expected.byteLength < count ? null : expected);
          at += taken?.byteLength ?? 0;
        } else {
          const piece = await source.some(count);
          if (piece === null) assert.equal(at, all.byteLength);
          else assert.deepEqual(Buffer.from(piece), all.subarray(at, at + piece.byteLength));
          at += piece?.byteLength ?? 0;
        }
        assert.equal(source.consumed, at);
      }
      assert.equal(await source.atEnd(), at === all.byteLength);
    }),
  );
});

test("closing a source ends its stream", async () => {
  let ended = false;
  async function* stream(): AsyncGenerator<Uint8Array> {
    try {
      yield new Uint8Array(10);
      yield new Uint8Array(10);
    } finally {
      ended = true;
    }
  }
  const source = new ByteSource(stream());
  await source.take(3);
  await source.close();
  assert.ok(ended);
});
