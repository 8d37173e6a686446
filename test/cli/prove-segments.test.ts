// Copies of segments are judged by what they hold: what joins the stored WAL is taken, everything that only looks like it is refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import { PathReader } from "../../src/archive/path-reader.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Proof, SegmentProver } from "../../src/cli/verify/prove-segments.ts";
import type { SegmentSource } from "../../src/cli/verify/segment-copies.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { seal } from "../../src/codec/seal.ts";
import { WalGapError } from "../../src/tail/errors.ts";
import { addBytes, type Lsn } from "../../src/wal/lsn.ts";
import { PAGE_BYTES } from "../../src/wal/page.ts";
import { type Segment, segmentAt, segmentName, segmentStart } from "../../src/wal/segment-name.ts";
import { rootPath, type TimelinePath } from "../../src/wal/timeline-path.ts";
import { LZ4 } from "../support/archive-bench.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { WalBuilder, type WalBuilderOptions } from "../support/wal-builder.ts";

const MIB = 1 << 20;
const never = new AbortController().signal;

/** Five segments and a half, of records that lie across every border. */
function written(options: WalBuilderOptions = {}, seed = 1): WalBuilder {
  const wal = new WalBuilder(options);
  while (wal.end < wal.start + BigInt(5.5 * MIB)) wal.record({ body: Buffer.alloc(4_000, seed) });
  return wal;
}

const wal = written();

const segmentOf = (index: number, timeline = 1): Segment =>
  segmentAt(timeline, addBytes(wal.start, index * MIB), MIB);
const nameOf = (segment: Segment): string => segmentName(segment, MIB);
const bytesOf = (index: number, from: WalBuilder = wal): Buffer => {
  const start = segmentStart(segmentOf(index), MIB);
  return from.bytes(start, addBytes(start, MIB));
};

/** A place that holds these files and nothing else. */
function place(name: string, files: ReadonlyMap<string, Uint8Array>): SegmentSource {
  return {
    name,
    trouble: null,
    read: async (segment) => files.get(nameOf(segment)) ?? null,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

const holding = (name: string, ...files: readonly (readonly [Segment, Uint8Array])[]): SegmentSource =>
  place(name, new Map(files.map(([segment, bytes]) => [nameOf(segment), bytes])));

/** Proves `missing` against an archive that has the segments `stored` and no log. */
async function prove(
  stored: readonly (readonly [Segment, Uint8Array])[],
  missing: readonly Segment[],
  sources: readonly SegmentSource[],
  path: TimelinePath = rootPath(1),
): Promise<{ readonly proven: readonly string[]; readonly refused: string; readonly proof: Proof }> {
  const store = new MemoryStore();
  for (const [segment, bytes] of stored)
    await store.put(`wal_005/${nameOf(segment)}.lz4`, await seal(bytes, LZ4), never);
  const source: ArchiveSource = {
    ...{ store, cipher: noCipher, likely: "lz4", clock: systemClock, log: silentLog },
    ...{ segmentBytes: MIB, systemId: null, magic: null },
  };
  const reader = new PathReader(source, null, path);
  const proof = await new SegmentProver(missing, reader, sources, never).prove();
  assert.equal(proof.proven.length + proof.refused.length, missing.length);
  return {
    proven: proof.proven.map(({ segment, source: from }) => `${nameOf(segment)} ${from.name}`),
    refused: proof.refused.map(({ segment, because }) => `${nameOf(segment)} ${because}`).join("\n"),
    proof,
  };
}

const around = (...indexes: readonly number[]): (readonly [Segment, Uint8Array])[] =>
  indexes.map((index) => [segmentOf(index), bytesOf(index)]);

test("a copy that goes on from the stored WAL, and into it, is proven; so is a chain of them", async () => {
  const node = holding("n1", ...around(1, 2, 3, 4));
  const one = await prove(around(0, 1, 3, 4), [segmentOf(2)], [node]);
  assert.deepEqual(one.proven, [`${nameOf(segmentOf(2))} n1`]);
  const chain = await prove(around(0, 4), [segmentOf(1), segmentOf(2), segmentOf(3)], [node]);
  assert.equal(chain.proven.length, 3, chain.refused);
});

test("what lies under the right name and is something else is refused with what it is", async () => {
  const half = Buffer.concat([bytesOf(2).subarray(0, MIB / 2), bytesOf(0).subarray(MIB / 2)]);
  const torn = bytesOf(2);
  torn.fill(0, MIB / 2);
  const stranger = written({ systemId: 9n });
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["a recycled file", bytesOf(0), /it holds WAL of 0\/1000000: a recycled file/],
    ["an old tail", half, /its records end at 0\/127\w+: page at 1280000: page address/],
    ["not written to its end", torn, /its records end at 0\/127\w+: page at 1280000/],
    ["short", bytesOf(2).subarray(0, MIB - 1), /it is no WAL segment/],
    ["zeros", new Uint8Array(MIB), /it is no WAL segment/],
    ["another cluster's", bytesOf(2, stranger), /system identifier 9/],
    ["another history of the same cluster", bytesOf(2, written({}, 2)), /its records end at .*: checksum/],
  ];
  for (const [what, bytes, because] of cases) {
    const { proven, refused } = await prove(
      around(0, 1, 3, 4),
      [segmentOf(2)],
      [holding("n1", [segmentOf(2), bytes])],
    );
    assert.deepEqual(proven, [], what);
    assert.match(refused, because, what);
    // Without the segment before it there is nothing to compare with but what is behind it.
    const behind = await prove(around(3, 4), [segmentOf(2)], [holding("n1", [segmentOf(2), bytes])]);
    assert.deepEqual(behind.proven, [], `${what}, from behind`);
  }
});

test("a bad copy gives way to a good one of another place", async () => {
  const lastPage = bytesOf(2);
  // The record that lies across the border: its first half is old, in a page whose header is right.
  lastPage.fill(7, MIB - 64);
  const bad = holding("bad", [segmentOf(2), lastPage]);
  const good = holding("good", ...around(2));
  const two = await prove(around(1, 3), [segmentOf(2)], [bad, good]);
  assert.deepEqual(two.proven, [`${nameOf(segmentOf(2))} good`]);
  const alone = await prove(around(1, 3), [segmentOf(2)], [bad]);
  assert.deepEqual(alone.proven, []);
  assert.match(alone.refused, /bad: what follows does not go on from it: the stored segment behind it/);
  // Where the next one is missing too, its copy shows which of the two is right.
  const chain = await prove(
    around(1),
    [segmentOf(2), segmentOf(3)],
    [bad, good, holding("more", ...around(3, 4))],
  );
  assert.deepEqual(chain.proven, [`${nameOf(segmentOf(2))} good`]);
  assert.match(chain.refused, /its last record goes on behind it/);
});

test("one that nobody has does not stop those around it, and nothing is taken on trust", async () => {
  const chain = [1, 2, 3].map((index) => segmentOf(index));
  const { proven, refused } = await prove(around(0, 4), chain, [holding("n1", ...around(1, 3))]);
  // The first leads to nothing that is stored, and a server that went on by itself would look the same.
  assert.deepEqual(proven, [`${nameOf(segmentOf(3))} n1`]);
  assert.match(
    refused,
    new RegExp(`${nameOf(segmentOf(1))} n1 has it, but nothing shows that it leads to the stored WAL`),
  );
  assert.match(refused, new RegExp(`${nameOf(segmentOf(2))} nobody who could be asked has it any more`));
  const alone = await prove([], [segmentOf(2)], [holding("n1", ...around(2))]);
  assert.match(alone.refused, /no stored segment next to it/);
});

test("what the log gave up is not written", async () => {
  const gap: SegmentSource = {
    ...holding("the tail log"),
    read: () =>
      Promise.reject(new WalGapError(1, segmentStart(segmentOf(2), MIB), segmentStart(segmentOf(3), MIB))),
  };
  const { proven, refused } = await prove(
    around(0, 1, 3, 4),
    [segmentOf(2)],
    [gap, holding("n1", ...around(2))],
  );
  assert.deepEqual(proven, []);
  assert.match(refused, /was lost before it reached the store/);
});

test("a server that went on by itself does not fill a hole, and another's copies do", async () => {
  const ends: Lsn[] = [];
  const right = new WalBuilder();
  while (right.end < right.start + BigInt(5.5 * MIB))
    ends.push(right.record({ body: Buffer.alloc(4_000, 1) }).end);
  const apart = ends.find((end) => end > addBytes(right.start, 1.5 * MIB))!;
  // The same timeline and the same places of records, with other contents from the middle of segment 1 on.
  const stray = right.fork(1, apart);
  while (stray.end < stray.start + BigInt(5.5 * MIB)) stray.record({ body: Buffer.alloc(4_000, 2) });
  const files = (from: WalBuilder, ...indexes: readonly number[]): (readonly [Segment, Uint8Array])[] =>
    indexes.map((index) => [segmentOf(index), bytesOf(index, from)]);
  const stored = files(right, 0, 4);
  const chain = [1, 2, 3].map((index) => segmentOf(index));
  const alone = await prove(stored, chain, [holding("stray", ...files(stray, 1, 2, 3))]);
  assert.deepEqual(alone.proven, [], alone.refused);
  assert.match(alone.refused, /stray: what follows does not go on from it: the stored segment behind it/);
  const both = await prove(stored, chain, [
    holding("stray", ...files(stray, 1, 2, 3)),
    holding("good", ...files(right, 1, 2, 3)),
  ]);
  assert.deepEqual(
    both.proven,
    chain.map((segment) => `${nameOf(segment)} good`),
    both.refused,
  );
  const holed = await prove(stored, chain, [
    holding("stray", ...files(stray, 1)),
    holding("good", ...files(right, 3)),
  ]);
  assert.deepEqual(holed.proven, [`${nameOf(segmentOf(3))} good`]);
});

test("a segment that ends with a switch ends there, if zeros follow", async () => {
  const short = new WalBuilder();
  while (short.end < short.start + BigInt(1.5 * MIB)) short.record({ bytes: 4_000 });
  short.switch();
  const stored = [[segmentOf(0), bytesOf(0, short)]] as const;
  const whole = await prove(stored, [segmentOf(1)], [holding("n1", [segmentOf(1), bytesOf(1, short)])]);
  assert.equal(whole.proven.length, 1, whole.refused);
  const old = bytesOf(1, short);
  old.set(bytesOf(1).subarray(MIB - PAGE_BYTES), MIB - PAGE_BYTES);
  const refused = await prove(stored, [segmentOf(1)], [holding("n1", [segmentOf(1), old])]);
  assert.match(refused.refused, /old bytes stand behind its switch record at 0\/118/);
});

test("a segment that ends exactly with a record is whole by itself, and must still fit to what follows", async () => {
  const exact = new WalBuilder();
  while (exact.end < exact.start + BigInt(2 * MIB - 2 * PAGE_BYTES)) exact.record({ bytes: 4_000 });
  while (exact.end % BigInt(MIB) !== 0n) exact.fillPage();
  const border = exact.end;
  while (exact.end < exact.start + BigInt(3.5 * MIB)) exact.record({ bytes: 4_000 });
  assert.equal(border, addBytes(exact.start, 2 * MIB));
  const copy = holding("n1", [segmentOf(1), bytesOf(1, exact)]);
  const before = [segmentOf(0), bytesOf(0, exact)] as const;
  for (const stored of [[before], [before, [segmentOf(2), bytesOf(2, exact)] as const]])
    assert.equal((await prove(stored, [segmentOf(1)], [copy])).proven.length, 1);
  const other = await prove([before, ...around(2)], [segmentOf(1)], [copy]);
  assert.match(other.refused, /does not go on from it: the stored segment behind it/);
});

test("around a fork the child's copies are taken, and the parent's of behind it are not", async () => {
  const ends: Lsn[] = [];
  const parent = new WalBuilder();
  while (parent.end < parent.start + BigInt(5.5 * MIB))
    ends.push(parent.record({ body: Buffer.alloc(4_000, 1) }).end);
  const fork = ends.find((end) => end > addBytes(parent.start, 2.25 * MIB))!;
  const child = parent.fork(2, fork);
  while (child.end < child.start + BigInt(5.5 * MIB)) child.record({ body: Buffer.alloc(4_000, 2) });
  const path: TimelinePath = [
    { timeline: 1, begin: 0n as Lsn },
    { timeline: 2, begin: fork },
  ];
  const stored = [
    [segmentOf(0), bytesOf(0, parent)],
    [segmentOf(4, 2), bytesOf(4, child)],
  ] as const;
  const missing = [segmentOf(1), segmentOf(2, 2), segmentOf(3, 2)];
  const files = [
    [segmentOf(1), bytesOf(1, parent)],
    [segmentOf(2, 2), bytesOf(2, child)],
    [segmentOf(3, 2), bytesOf(3, child)],
  ] as const;
  const all = await prove(stored, missing, [holding("n1", ...files)], path);
  assert.equal(all.proven.length, 3, all.refused);
  // The parent's file under the child's name, as a careless copy makes it.
  const wrong = holding("old", [segmentOf(3, 2), bytesOf(3, parent)]);
  const some = await prove(stored, missing, [holding("n1", files[0], files[1]), wrong], path);
  assert.deepEqual(some.proven, [], "copies that contradict one another are all refused");
  assert.match(some.refused, /old: its records end at/);
});
