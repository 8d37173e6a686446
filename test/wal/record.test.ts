import assert from "node:assert/strict";
import { test } from "node:test";
import { WalBuilder } from "../support/wal-builder.ts";
import { makeRandom } from "../support/random.ts";
import { type Lsn, addBytes, formatLsn, lsnOf } from "../../src/wal/lsn.ts";
import { PAGE_BYTES } from "../../src/wal/page.ts";
import { RecordWalk, type WalkedRecord } from "../../src/wal/record.ts";

function walked(wal: WalBuilder, to: Lsn = wal.end, from: Lsn = wal.start): RecordWalk {
  const walk = new RecordWalk(from, { segmentBytes: wal.segmentBytes });
  walk.push(wal.bytes(from, to));
  return walk;
}

/** RE(x) of the builder's bytes, in words. */
const recordEnd = (wal: WalBuilder, x: Lsn, from: Lsn = wal.start): string | null => {
  const end = walked(wal, x, from).recordEndWithZeros();
  return end === null ? null : formatLsn(end);
};

test("records of all lengths are walked to the end", () => {
  const wal = new WalBuilder();
  for (const bytes of [0, 1, 7, 8, 40, 8_000, 8_192, 20_000, 300_000, 0, 3]) wal.record({ bytes });
  const walk = walked(wal);
  assert.equal(walk.stopped, null);
  assert.equal(walk.recordEnd, wal.end);
});

test("every version's magic is known, and it may not change on the way", () => {
  for (const version of [13, 14, 15, 16, 17, 18]) {
    const wal = new WalBuilder({ version });
    wal.record({ bytes: 20_000 });
    assert.equal(walked(wal).recordEnd, wal.end, String(version));
  }
  const seventeen = new WalBuilder({ version: 17 });
  seventeen.record({ bytes: 20_000 });
  const bytes = seventeen.bytes();
  bytes.writeUInt16LE(0xd118, PAGE_BYTES);
  const walk = new RecordWalk(seventeen.start, { segmentBytes: seventeen.segmentBytes });
  walk.push(bytes);
  assert.equal(walk.stopped?.kind, "cut");
});

const CUTS: readonly { name: string; into: number; difference: number }[] = [
  { name: "at the record's end", into: 0, difference: 0 },
  { name: "one byte into the next record", into: 1, difference: -1 },
  { name: "8 bytes into it", into: 8, difference: -8 },
  { name: "behind its header", into: 24, difference: -24 },
  { name: "in its body", into: 40, difference: -40 },
];
for (const { name, into, difference } of CUTS) {
  test(`cut ${name}: the record end lies ${-difference} bytes below`, () => {
    const wal = new WalBuilder();
    wal.record();
    const { end } = wal.record();
    wal.record({ body: Buffer.alloc(100, 9) });
    const x = addBytes(end, into);
    assert.equal(recordEnd(wal, x), formatLsn(addBytes(x, difference)));
  });
}

test("cut at a page boundary inside a record: the record's start", () => {
  const wal = new WalBuilder();
  wal.record();
  const { start } = wal.record({ bytes: 40_000 });
  for (const more of [0, 8, 24, 1000]) {
    assert.equal(recordEnd(wal, lsnOf(wal.start + 3n * 8192n + BigInt(more))), formatLsn(start), `+${more}`);
  }
});

test("cut at a segment boundary inside a record: the record's start, one segment lower", () => {
  const wal = new WalBuilder();
  wal.record();
  const { start } = wal.record({ bytes: 2 << 20 });
  for (const more of [0, 8, 40, 8192]) {
    assert.equal(recordEnd(wal, lsnOf(wal.start + (1n << 20n) + BigInt(more))), formatLsn(start), `+${more}`);
  }
});

test("only zero bytes of a record are missing: padding completes it, the end lies above", () => {
  const wal = new WalBuilder();
  wal.record();
  const body = Buffer.alloc(600, 1);
  body.fill(0, 100);
  const { end } = wal.record({ body });
  assert.equal(recordEnd(wal, addBytes(end, -500)), formatLsn(end));
});

test("only the alignment behind a record is missing: the end lies above", () => {
  const wal = new WalBuilder();
  const { end } = wal.record({ bytes: 41 });
  assert.equal(recordEnd(wal, addBytes(end, -7)), formatLsn(end));
});

test("a switch record is complete, the fill is missing: the segment's end", () => {
  const wal = new WalBuilder();
  wal.record();
  const { start, end } = wal.switch();
  assert.equal(recordEnd(wal, addBytes(start, 24)), formatLsn(end));
  assert.equal(recordEnd(wal, addBytes(start, 23)), formatLsn(start));
  assert.equal(end, lsnOf(wal.start + (1n << 20n)));
});

test("behind a switch the walk goes on in the next segment", () => {
  const wal = new WalBuilder();
  wal.record();
  wal.switch();
  wal.record({ bytes: 10 });
  assert.equal(walked(wal).recordEnd, wal.end);
});

test("the header of a fresh segment alone counts for nothing", () => {
  const wal = new WalBuilder();
  wal.switch();
  wal.record();
  const boundary = lsnOf(wal.start + (1n << 20n));
  assert.equal(recordEnd(wal, addBytes(boundary, 40)), formatLsn(boundary));
  // From this segment alone, what came before is not known until a header shows that no record goes on.
  assert.equal(recordEnd(wal, addBytes(boundary, 40), boundary), formatLsn(boundary));
  assert.equal(recordEnd(wal, addBytes(boundary, 20), boundary), null);
});

test("a record that ends exactly at a page boundary: the boundary is the end", () => {
  const wal = new WalBuilder();
  wal.fillPage();
  const { end } = wal;
  assert.equal(end % 8192n, 0n);
  wal.record();
  assert.equal(recordEnd(wal, end), formatLsn(end));
  assert.equal(recordEnd(wal, addBytes(end, 24)), formatLsn(end));
});

for (const left of [8, 16, 24]) {
  test(`a record header with ${left} bytes left on its page is put together`, () => {
    const wal = new WalBuilder();
    wal.fillPage(left);
    const { end, start } = wal.record({ bytes: 100 });
    assert.equal(walked(wal).recordEnd, end);
    assert.equal(recordEnd(wal, lsnOf(wal.start + 8192n)), formatLsn(start));
  });
}

test("a walk that starts in a segment in which a record goes on begins at the first record there", () => {
  const wal = new WalBuilder();
  const { end } = wal.record({ bytes: (1 << 20) + 50_000 });
  wal.record();
  const second = lsnOf(wal.start + (1n << 20n));
  const seen: WalkedRecord[] = [];
  const walk = new RecordWalk(second, {
    segmentBytes: wal.segmentBytes,
    onRecord: (record) => seen.push(record),
  });
  walk.push(wal.bytes(second));
  assert.equal(walk.recordEnd, wal.end);
  assert.deepEqual(
    seen.map(({ start }) => start),
    [end],
  );
});

test("a record that fills the segment: no record's end is known there", () => {
  const wal = new WalBuilder();
  wal.record();
  const { start } = wal.record({ bytes: 3 << 20 });
  const second = lsnOf(wal.start + (1n << 20n));
  const x = lsnOf(second + (1n << 20n));
  assert.equal(recordEnd(wal, x, second), null);
  assert.equal(recordEnd(wal, x), formatLsn(start));
});

test("padding is never taken for the end of a record whose beginning was not seen", () => {
  const wal = new WalBuilder();
  wal.record();
  const { start, end } = wal.record({ bytes: (1 << 20) + 5_000 });
  const second = lsnOf(wal.start + (1n << 20n));
  const x = addBytes(end, -100);
  assert.equal(recordEnd(wal, x, second), null);
  assert.equal(recordEnd(wal, x), formatLsn(start));
});

test("after a crash inside a record the walk drops it and goes on behind OVERWRITE_CONTRECORD", () => {
  const wal = new WalBuilder();
  wal.record();
  const { start } = wal.record({ bytes: 40_000 });
  const missing = lsnOf(wal.start + 3n * 8192n);
  wal.crashInsideRecord(missing);
  wal.record();
  assert.equal(recordEnd(wal, missing), formatLsn(start));
  assert.equal(recordEnd(wal, addBytes(missing, 24)), formatLsn(start));
  assert.equal(walked(wal).recordEnd, wal.end);
});

test("a segment that begins with OVERWRITE_CONTRECORD does not say where the record before it was cut", () => {
  const wal = new WalBuilder();
  wal.record();
  const { start } = wal.record({ bytes: 2 << 20 });
  const second = lsnOf(wal.start + (1n << 20n));
  wal.crashInsideRecord(second);
  assert.equal(recordEnd(wal, addBytes(second, 40), second), null);
  assert.equal(recordEnd(wal, addBytes(second, 40)), formatLsn(start));
  assert.equal(walked(wal, wal.end, second).recordEnd, wal.end);
});

test("a recycled page below a record is an end, inside a record it is a cut", () => {
  const wal = new WalBuilder();
  wal.fillPage();
  wal.record({ bytes: 10 });
  const bytes = wal.bytes();
  bytes.writeBigUInt64LE(0x2000000n, PAGE_BYTES + 8);
  const walk = new RecordWalk(wal.start, { segmentBytes: wal.segmentBytes });
  walk.push(bytes);
  assert.equal(walk.stopped?.kind, "end");
  assert.equal(walk.recordEnd, lsnOf(wal.start + 8192n));

  const long = new WalBuilder();
  const { start } = long.record({ bytes: 20_000 });
  const cut = long.bytes();
  cut.writeBigUInt64LE(0x2000000n, 2 * PAGE_BYTES + 8);
  const second = new RecordWalk(long.start, { segmentBytes: long.segmentBytes });
  second.push(cut);
  assert.deepEqual(
    { ...second.stopped, because: "" },
    { kind: "cut", start, missingPage: lsnOf(long.start + 2n * 8192n), because: "" },
  );
});

test("one flipped bit anywhere in a record ends the walk before it", () => {
  const random = makeRandom(7);
  for (let round = 0; round < 60; round += 1) {
    const wal = new WalBuilder();
    wal.record();
    const { end: before } = wal.record({ bytes: 33 });
    wal.record({ bytes: 9_000 });
    const bytes = wal.bytes();
    const at = Number(before - wal.start) + Math.floor(random() * 9_000);
    bytes[at]! ^= 1 << Math.floor(random() * 8);
    const walk = new RecordWalk(wal.start, { segmentBytes: wal.segmentBytes });
    walk.push(bytes);
    // The one harmless bit is in the padding, the transaction's id is covered by the checksum.
    assert.equal(walk.recordEnd, before, `round ${round}, byte ${at}`);
  }
});

test("pieces of any size give the same walk", () => {
  const random = makeRandom(11);
  const wal = new WalBuilder();
  for (let i = 0; i < 60; i += 1) wal.record({ bytes: Math.floor(random() * 30_000) });
  const bytes = wal.bytes();
  const walk = new RecordWalk(wal.start, { segmentBytes: wal.segmentBytes });
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() * 5_000);
    walk.push(bytes.subarray(at, at + size));
    at += size;
    const x = lsnOf(wal.start + BigInt(Math.min(at, bytes.length)));
    if (random() < 0.1) assert.equal(walk.recordEndWithZeros(), walked(wal, x).recordEndWithZeros());
  }
  assert.equal(walk.recordEnd, wal.end);
});

test("a child timeline forks inside a page: the page keeps the parent's id, the next has the child's", () => {
  const wal = new WalBuilder();
  wal.record();
  const fork = wal.end;
  wal.record({ bytes: 100 });
  const child = wal.fork(2, fork);
  child.record({ bytes: 20_000 });
  assert.equal(child.bytes().readUInt32LE(4), 1);
  assert.equal(child.bytes().readUInt32LE(PAGE_BYTES + 4), 2);
  assert.equal(walked(child).recordEnd, child.end);
});

test("a timeline that falls from page to page is an end", () => {
  const wal = new WalBuilder({ timeline: 3 });
  wal.fillPage();
  wal.fillPage();
  wal.record();
  const bytes = wal.bytes();
  bytes.writeUInt32LE(2, 2 * PAGE_BYTES + 4);
  const walk = new RecordWalk(wal.start, { segmentBytes: wal.segmentBytes });
  walk.push(bytes);
  assert.equal(walk.recordEnd, lsnOf(wal.start + 2n * 8192n));
});

test("a walk from a fork knows that a record ended there, before a byte of the child has come", () => {
  const wal = new WalBuilder();
  wal.fillPage();
  const fork = wal.end;
  const walk = new RecordWalk(fork, { segmentBytes: wal.segmentBytes, isRecordEnd: true });
  assert.equal(walk.recordEndWithZeros(), fork);
  const child = wal.fork(2, fork);
  child.record();
  walk.push(child.bytes(fork));
  assert.equal(walk.recordEnd, child.end);
});

test("another system's WAL is an end", () => {
  const wal = new WalBuilder();
  wal.record();
  const walk = new RecordWalk(wal.start, { segmentBytes: wal.segmentBytes, systemId: 1n });
  walk.push(wal.bytes());
  assert.equal(walk.stopped?.kind, "no-record");
});
