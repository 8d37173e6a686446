import assert from "node:assert/strict";
import { test } from "node:test";
import { WalBuilder } from "../support/wal-builder.ts";
import { type Lsn, addBytes, lsnOf } from "../../src/wal/lsn.ts";
import { RecordEndUnknownError, commitTimeOf, findRecordEnd, walkRange } from "../../src/wal/record-end.ts";

const sourceOf =
  (wal: WalBuilder, reads: Lsn[] = []) =>
  (from: Lsn, to: Lsn): Iterable<Uint8Array> => {
    reads.push(from);
    return [wal.bytes(from, to)];
  };

test("the end is found in the last segment alone when a record begins there", async () => {
  const wal = new WalBuilder();
  wal.record();
  wal.switch();
  wal.record();
  wal.record({ bytes: 500 });
  const reads: Lsn[] = [];
  const found = await findRecordEnd(sourceOf(wal, reads), addBytes(wal.end, -8), wal.start, wal);
  assert.equal(found.isCut, true);
  assert.deepEqual(reads, [lsnOf(wal.start + (1n << 20n))]);
});

test("under a record of several segments the search goes back to where it begins", async () => {
  const wal = new WalBuilder();
  wal.record();
  const { start } = wal.record({ bytes: 3 << 20 });
  const found = await findRecordEnd(sourceOf(wal), lsnOf(wal.start + (3n << 20n)), wal.start, wal);
  assert.equal(found.at, start);
  assert.equal(found.walk.position, lsnOf(wal.start + (3n << 20n)));
});

test("without a record below the position the error names both", async () => {
  const wal = new WalBuilder();
  wal.record({ bytes: 3 << 20 });
  const floor = lsnOf(wal.start + (1n << 20n));
  await assert.rejects(
    findRecordEnd(sourceOf(wal), lsnOf(floor + (1n << 20n)), floor, wal),
    (error) => error instanceof RecordEndUnknownError && /0\/1100000 and 0\/1200000/.test(error.message),
  );
});

test("a walk from REDO stops where the records end, whatever older pages follow", async () => {
  const wal = new WalBuilder();
  const { end } = wal.record();
  wal.record({ bytes: 20_000 });
  const recycled = wal.bytes(wal.start, addBytes(wal.end, 100_000));
  recycled.fill(7, Number(wal.end - wal.start));
  const walk = await walkRange(() => [recycled.subarray(Number(end - wal.start))], end, wal.end, wal);
  assert.equal(walk.recordEnd, wal.end);
  assert.equal(walk.stopped?.kind, "end");
});

test("the time of a commit is read, other records have none", async () => {
  const wal = new WalBuilder();
  const times: (number | null)[] = [];
  wal.record();
  wal.commit(Date.UTC(2026, 0, 2, 3, 4, 5));
  wal.record({ manager: "Transaction", info: 0x20 });
  await walkRange(sourceOf(wal), wal.start, wal.end, {
    segmentBytes: wal.segmentBytes,
    onRecord: (record) => times.push(commitTimeOf(record)),
  });
  assert.deepEqual(times, [null, Date.UTC(2026, 0, 2, 3, 4, 5), null]);
});
