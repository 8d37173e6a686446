// Paths and segments of an archive without a log: which timelines there are, and what a fork's segment holds.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ArchiveSource,
  historyKnowledge,
  pathTo,
  storedTimelines,
  TimelineUnknownError,
} from "../../src/archive/archive-source.ts";
import { PathReader, SegmentMissingError } from "../../src/archive/path-reader.ts";
import { WalFileDamagedError } from "../../src/archive/wal-file-check.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { seal } from "../../src/codec/seal.ts";
import { addBytes, formatLsn, type Lsn } from "../../src/wal/lsn.ts";
import { segmentAt, segmentName } from "../../src/wal/segment-name.ts";
import { LZ4 } from "../support/archive-bench.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { WalBuilder } from "../support/wal-builder.ts";

const MIB = 1 << 20;
const never = new AbortController().signal;

const wal = new WalBuilder();
while (wal.end < wal.start + BigInt(2.5 * MIB)) wal.record({ bytes: 4_000 });
/** Inside the second segment. */
const fork = addBytes(wal.start, MIB + 3 * 8192);

function archive(): {
  readonly source: ArchiveSource;
  readonly put: (name: string, bytes: Uint8Array) => Promise<void>;
} {
  const store = new MemoryStore();
  return {
    source: {
      ...{ store, cipher: noCipher, likely: "lz4", clock: systemClock, log: silentLog },
      ...{ segmentBytes: MIB, systemId: wal.systemId, magic: null },
    },
    put: async (name, bytes) => store.put(`wal_005/${name}.lz4`, await seal(bytes, LZ4), never),
  };
}

const nameAt = (index: number, timeline = 1): string =>
  segmentName(segmentAt(timeline, addBytes(wal.start, index * MIB), MIB), MIB);
const segment = (index: number): Buffer =>
  wal.bytes(addBytes(wal.start, index * MIB), addBytes(wal.start, (index + 1) * MIB));
const history = (lines: readonly (readonly [number, Lsn])[]): Buffer =>
  Buffer.from(lines.map(([parent, at]) => `${parent}\t${formatLsn(at)}\tx\n`).join(""));

test("timelines are found by one listing each, and the highest leads", async () => {
  const { source, put } = archive();
  await put(nameAt(0), segment(0));
  await put("00000002.history", history([[1, fork]]));
  await put("00000004.history", history([[1, fork]]));
  await put(nameAt(2, 4), segment(2));
  assert.deepEqual(await storedTimelines(source, never), [1, 2, 4]);
  assert.deepEqual(await pathTo("latest", null, source, never), [
    { timeline: 1, begin: 0n },
    { timeline: 4, begin: fork },
  ]);
  assert.deepEqual(await pathTo(1, null, source, never), [{ timeline: 1, begin: 0n }]);
  await assert.rejects(pathTo(3, null, source, never), TimelineUnknownError);
  const known = await historyKnowledge(null, await pathTo("latest", null, source, never), source, never);
  assert.equal(known?.lastTimeline, 4);
  assert.equal(known.hasLog, false);
});

test("a history without a line, or of nonsense, is damage", async () => {
  const { source, put } = archive();
  await put("00000002.history", new Uint8Array(0));
  await assert.rejects(pathTo("latest", null, source, never), WalFileDamagedError);
});

test("a fork's segment that the child never completed holds the parent's bytes below the fork", async () => {
  const { source, put } = archive();
  for (const index of [0, 1]) await put(nameAt(index), segment(index));
  await put("00000002.history", history([[1, fork]]));
  const reader = new PathReader(source, null, await pathTo("latest", null, source, never));
  const found = await reader.segment(segmentAt(2, fork, MIB), never);
  assert.equal(found.kind, "partial");
  assert.ok(found.kind === "partial");
  assert.equal(found.filled, 3 * 8192);
  assert.ok(segment(1).subarray(0, found.filled).equals(found.bytes.subarray(0, found.filled)));
  assert.ok(found.bytes.subarray(found.filled).every((byte) => byte === 0));
  // RE: the last record that is whole below the fork.
  const { at } = await reader.recordEnd(fork, wal.start, never);
  assert.ok(at <= fork && at > addBytes(fork, -8192));
});

test("the parent's open segment is put together from the child's copy, else from the .partial", async () => {
  const { source, put } = archive();
  await put(nameAt(0), segment(0));
  await put("00000002.history", history([[1, fork]]));
  const path = await pathTo("latest", null, source, never);
  const parent = segmentAt(1, fork, MIB);
  assert.equal((await new PathReader(source, null, path).segment(parent, never)).kind, "absent");
  const padded = segment(1).fill(0, 3 * 8192);
  await put(`${nameAt(1)}.partial`, padded);
  const fromPartial = await new PathReader(source, null, path).segment(parent, never);
  assert.equal(fromPartial.kind, "partial");
  await put(nameAt(1, 2), segment(1));
  const fromChild = await new PathReader(source, null, path).segment(parent, never);
  assert.ok(fromChild.kind === "complete");
  assert.ok(Buffer.from(padded).equals(fromChild.bytes));
});

test("a walk over missing WAL names the segment", async () => {
  const { source, put } = archive();
  await put(nameAt(0), segment(0));
  const reader = new PathReader(source, null, await pathTo("latest", null, source, never));
  await assert.rejects(
    async () => {
      for await (const _ of reader.walSource(never)(wal.start, addBytes(wal.start, 2 * MIB)));
    },
    (error) => error instanceof SegmentMissingError && error.message.includes(nameAt(1)),
  );
});
