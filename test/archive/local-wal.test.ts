// The WAL files of a volume: where the records end, and whether a file is missing before that can be told.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { LocalWal } from "../../src/archive/local-wal.ts";
import { lsnOf } from "../../src/wal/lsn.ts";
import { segmentAt, segmentName } from "../../src/wal/segment-name.ts";
import { rootPath } from "../../src/wal/timeline-path.ts";
import { WalBuilder } from "../support/wal-builder.ts";

/** Four segments of WAL as files, without those of these numbers. */
async function volume(
  t: TestContext,
  missing: readonly number[],
): Promise<{ wal: WalBuilder; local: LocalWal }> {
  const folder = await mkdtemp(join(tmpdir(), "hf-wal-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const wal = new WalBuilder();
  const size = BigInt(wal.segmentBytes);
  while (wal.end < wal.start + 3n * size + size / 2n) wal.record({ bytes: 60_000 });
  for (let index = 0; index < 4; index += 1) {
    if (missing.includes(index)) continue;
    const from = lsnOf(wal.start + BigInt(index) * size);
    const name = segmentName(segmentAt(1, from, wal.segmentBytes), wal.segmentBytes);
    await writeFile(join(folder, name), wal.bytes(from, lsnOf(from + size)));
  }
  // A recycled file: a future name, an old content.
  const future = segmentName(segmentAt(1, lsnOf(wal.start + 9n * size), wal.segmentBytes), wal.segmentBytes);
  await writeFile(join(folder, future), wal.bytes(wal.start, lsnOf(wal.start + size)));
  return { wal, local: new LocalWal(folder, rootPath(1), wal.segmentBytes) };
}

test("whole WAL has no hole, whatever recycled files are called", async (t) => {
  const { wal, local } = await volume(t, []);
  const end = await local.walkFrom(wal.start, wal.systemId);
  assert.equal(end, wal.end);
  assert.equal(await local.hasHole(wal.start, end), false);
});

for (const missing of [0, 1, 2])
  test(`segment ${missing} of four is missing`, async (t) => {
    const { wal, local } = await volume(t, [missing]);
    const end = await local.walkFrom(wal.start, wal.systemId);
    assert.equal(await local.hasHole(wal.start, end), true);
  });

test("a record that is torn at the end of the last file is no hole", async (t) => {
  const { wal, local } = await volume(t, [3]);
  const end = await local.walkFrom(wal.start, wal.systemId);
  assert.ok(end < wal.end);
  assert.equal(await local.hasHole(wal.start, end), false);
});

test("older records of a recycled file, at the very places of new ones, are not taken for new ones", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "hf-wal-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const older = new WalBuilder();
  const newer = new WalBuilder({ at: "0/1100000" });
  // As behind pg_switch_wal: each segment begins with the same records.
  const places = Array.from({ length: 400 }, (_unused, index) => {
    const content = { bytes: 40 + ((index * 37) % 200) };
    older.record(content);
    return newer.record(content);
  });
  const size = newer.segmentBytes;
  const old = older.bytes(older.start, lsnOf(older.start + BigInt(size)));
  const fresh = newer.bytes(newer.start, lsnOf(newer.start + BigInt(size)));
  const local = new LocalWal(folder, rootPath(1), size);
  const path = join(folder, segmentName(segmentAt(1, newer.start, size), size));
  let misled = 0;
  for (const { end } of places.slice(0, -1)) {
    const received = Number(end - newer.start);
    await writeFile(path, Buffer.concat([fresh.subarray(0, received), old.subarray(received)]));
    assert.equal(await local.completeEnd(end, newer.systemId), end);
    if ((await local.walkFrom(end, newer.systemId)) > end) misled += 1;
  }
  assert.ok(misled > 100, `a walk that begins at the end itself is misled ${misled} times`);
  // And what was received beyond is seen.
  await writeFile(path, fresh);
  assert.equal(await local.completeEnd(places[10]!.end, newer.systemId), newer.end);
});
