import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assembleSegment,
  clipSegment,
  readAccepted,
  recordEndAt,
  recordEndOfLog,
} from "../../src/tail/assemble.ts";
import { PublishedMissingError, StaleViewError, WalGapError } from "../../src/tail/errors.ts";
import { type Lsn, addBytes, formatLsn, lsnOf } from "../../src/wal/lsn.ts";
import { extendPath, rootPath } from "../../src/wal/timeline-path.ts";
import { LogBench, append, promotionAt } from "../support/log-bench.ts";
import type { WalBuilder } from "../support/wal-builder.ts";

const MIB = 1n << 20n;
const first = { timeline: 1, number: 16n };
const second = { timeline: 1, number: 17n };

/** Timeline 1 over a segment and a half, forked in the second; timeline 2 goes on into the third. */
async function forked(
  signal: AbortSignal,
  { bases = false } = {},
): Promise<{
  bench: LogBench;
  wal: WalBuilder;
  child: WalBuilder;
  fork: Lsn;
}> {
  const bench = new LogBench({ signal });
  const wal = bench.wal();
  await using owner = await bench.found(wal, bases ? { baseDue: { slots: 3, bytes: 1 << 30 } } : {});
  wal.record({ bytes: 900_000 });
  wal.record({ bytes: 300_000 });
  const fork = wal.end;
  wal.record({ bytes: 20_000 });
  await append(owner, wal, lsnOf(fork + 8192n - (fork % 8192n))); // a page's boundary inside the last record
  await owner.history(promotionAt(fork));
  const child = wal.fork(2, fork);
  child.record({ bytes: 1_000_000 });
  child.record({ bytes: 7 });
  await owner.append(owner.streamFrom, 2, child.bytes(owner.streamFrom));
  await owner.flush();
  await owner.whenAllPublished(signal);
  return { bench, wal, child, fork };
}

for (const bases of [false, true]) {
  test(`every part of the winner's history is read back${bases ? " with bases on the way" : ""}`, async (t) => {
    const { bench, child } = await forked(t.signal, { bases });
    const view = await bench.read();
    const pieces: Uint8Array[] = [];
    for await (const piece of readAccepted(
      view,
      view.tip!.path,
      child.start,
      child.end,
      bench.assembleTools(),
    ))
      pieces.push(piece);
    assert.deepEqual(Buffer.concat(pieces), child.bytes());
  });
}

test("the child's segment holds the parent's bytes below the fork", async (t) => {
  const { bench, child } = await forked(t.signal);
  const view = await bench.read();
  const answer = await assembleSegment(
    view,
    { timeline: 2, number: 17n },
    view.tip!.path,
    bench.assembleTools(),
  );
  assert.equal(answer.kind, "assembled");
  const start = lsnOf(child.start + MIB);
  assert.deepEqual(
    Buffer.from(answer.kind === "assembled" ? answer.bytes : []),
    child.bytes(start, lsnOf(start + MIB)),
  );
});

test("the parent's segment of the fork ends there, padded with zeros (R3 c, X14)", async (t) => {
  const { bench, wal, fork } = await forked(t.signal);
  const view = await bench.read();
  const answer = await assembleSegment(view, second, view.tip!.path, bench.assembleTools());
  assert.ok(answer.kind === "assembled");
  const start = lsnOf(wal.start + MIB);
  assert.equal(answer.filled, Number(fork - start));
  const wanted = Buffer.alloc(Number(MIB));
  wal.bytes(start, fork).copy(wanted);
  assert.deepEqual(Buffer.from(answer.bytes), wanted);
});

test("for the abandoned timeline as the target its bytes past the fork are there (L7)", async (t) => {
  const { bench, wal, fork } = await forked(t.signal);
  const view = await bench.read();
  const answer = await assembleSegment(view, second, rootPath(1), bench.assembleTools());
  assert.ok(answer.kind === "assembled");
  const end = lsnOf(fork + 8192n - (fork % 8192n));
  const start = lsnOf(wal.start + MIB);
  assert.deepEqual(Buffer.from(answer.bytes.subarray(0, Number(end - start))), wal.bytes(start, end));
});

test("once its slots are gone the abandoned timeline's rest comes from its .partial (P3)", async (t) => {
  const { bench, wal, fork } = await forked(t.signal, { bases: true });
  const owner = bench.owner(await bench.takeOver());
  await owner.begin({ kind: "continue" });
  await owner.stop(5_000);
  const view = await bench.read();
  assert.ok(view.slots.every(({ header }) => header.kind === "fence"));
  const answer = await assembleSegment(view, second, rootPath(1), bench.assembleTools());
  assert.ok(answer.kind === "assembled");
  const end = lsnOf(fork + 8192n - (fork % 8192n));
  const start = lsnOf(wal.start + MIB);
  assert.deepEqual(Buffer.from(answer.bytes.subarray(0, Number(end - start))), wal.bytes(start, end));
});

const ABSENT: readonly { name: string; segment: { timeline: number; number: bigint }; because: RegExp }[] = [
  {
    name: "a timeline that is not on the path",
    segment: { timeline: 3, number: 17n },
    because: /timeline 3 is not on the target's path/,
  },
  {
    name: "the parent behind the fork's segment",
    segment: { timeline: 1, number: 18n },
    because: /leaves the timeline at/,
  },
  {
    name: "the child before the fork's segment",
    segment: { timeline: 2, number: 16n },
    because: /begins behind this segment/,
  },
  {
    name: "what was never written",
    segment: { timeline: 2, number: 40n },
    because: /accepted nothing of it/,
  },
];
for (const { name, segment, because } of ABSENT) {
  test(`absent: ${name}`, async (t) => {
    const { bench } = await forked(t.signal);
    const view = await bench.read();
    const answer = await assembleSegment(view, segment, view.tip!.path, bench.assembleTools());
    assert.equal(answer.kind, "absent");
    assert.match(answer.kind === "absent" ? answer.because : "", because);
  });
}

test("a complete segment is clipped in a copy; the given bytes stay as they are", () => {
  const fork = lsnOf(0x1100000n + 100n);
  const path = extendPath(rootPath(1), 2, fork);
  const bytes = Buffer.alloc(Number(MIB), 7); // a Buffer: its slice() would share the memory
  const clipped = clipSegment(bytes, second, path, Number(MIB));
  assert.equal(clipped?.[99], 7);
  assert.equal(clipped?.[100], 0);
  assert.ok(bytes.every((byte) => byte === 7));
  assert.equal(clipSegment(bytes, first, path, Number(MIB)), bytes);
  assert.equal(clipSegment(bytes, { timeline: 1, number: 18n }, path, Number(MIB)), null);
  assert.equal(clipSegment(bytes, { timeline: 2, number: 16n }, path, Number(MIB)), null);
  assert.equal(clipSegment(bytes, { timeline: 5, number: 17n }, path, Number(MIB)), null);
});

test("bytes that a path lost to a gap are refused by name (L5)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const owner = await bench.found(wal);
  wal.record();
  await append(owner, wal);
  await owner.gap(lsnOf(wal.start + MIB));
  const view = await bench.read();
  await assert.rejects(
    assembleSegment(view, first, view.tip!.path, bench.assembleTools()),
    (error) =>
      error instanceof WalGapError &&
      error.message.includes(`WAL ${formatLsn(wal.end)} to 0/1100000 of timeline 1 was lost`),
  );
});

test("a published segment that is gone is not taken for the end of the log", async (t) => {
  const { bench } = await forked(t.signal, { bases: true });
  const view = await bench.read();
  for (const key of bench.keys("wal_005/")) bench.memory.objects.delete(key);
  await assert.rejects(
    assembleSegment(view, first, view.tip!.path, bench.assembleTools()),
    PublishedMissingError,
  );
});

test("a slot that was deleted since the log was read makes the view stale", async (t) => {
  const { bench, wal } = await forked(t.signal);
  const view = await bench.read({ keepBytes: 0 });
  for (const key of bench.keys("tail_v1/log/")) bench.memory.objects.delete(key);
  bench.memory.objects.delete("wal_005/000000010000000000000010");
  const pieces = readAccepted(view, view.tip!.path, wal.start, view.tip!.end, bench.assembleTools());
  await assert.rejects(async () => {
    for await (const _piece of pieces);
  }, StaleViewError);
});

test("RE(End) is found in the log, below the slots too, and over several segments", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await using owner = await bench.found(wal);
  wal.record();
  const { start } = wal.record({ bytes: 3 << 20 });
  await append(owner, wal, lsnOf(wal.start + 3n * MIB));
  await owner.stop(5_000);
  const view = await bench.read();
  assert.equal(view.base?.header.length, 0);
  const end = await recordEndOfLog(view, bench.assembleTools());
  assert.deepEqual([end.at, end.isCut], [start, true]);
  assert.equal(
    (await recordEndAt(view, view.tip!.path, addBytes(start, 8), bench.assembleTools())).at,
    start,
  );
});

test("a log that was founded and holds nothing ends where it begins", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await using _owner = await bench.found(wal);
  const end = await recordEndOfLog(await bench.read(), bench.assembleTools());
  assert.deepEqual([end.at, end.isCut], [wal.start, false]);
});
