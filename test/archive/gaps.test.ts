// Runs, holes, and the segments that a path needs.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  continuousFrom,
  holesBetween,
  missingRuns,
  runLength,
  segmentRuns,
  SegmentSet,
  segmentsOnPath,
} from "../../src/archive/gaps.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { parseSegmentName, type Segment, segmentName } from "../../src/wal/segment-name.ts";
import type { TimelinePath } from "../../src/wal/timeline-path.ts";

const MIB = 1 << 20;
const BYTES = 16 * MIB;

const segments = (...names: string[]): Segment[] => names.map((name) => parseSegmentName(name, BYTES)!);
const names = (found: Iterable<Segment>): string[] =>
  [...found].map((segment) => segmentName(segment, BYTES));

test("segments in any order, with doubles, become the fewest runs", () => {
  const runs = segmentRuns(
    segments(
      "000000020000000000000004",
      "0000000100000000000000FF",
      "000000010000000100000000",
      "0000000100000000000000FF",
      "000000010000000100000002",
    ),
  );
  assert.deepEqual(runs, [
    { timeline: 1, first: 255n, last: 256n },
    { timeline: 1, first: 258n, last: 258n },
    { timeline: 2, first: 4n, last: 4n },
  ]);
  assert.deepEqual(runs.map(runLength), [2, 1, 1]);
  assert.deepEqual(holesBetween(runs), [{ timeline: 1, first: 257n, last: 257n }]);
});

const path: TimelinePath = [
  { timeline: 1, begin: parseLsn("0/0") },
  { timeline: 2, begin: parseLsn("0/4020000") },
  { timeline: 3, begin: parseLsn("0/6000000") },
];

test("a path reads the segment of a fork under the child's name, also when the fork is its first byte", () => {
  assert.deepEqual(names(segmentsOnPath(path, parseLsn("0/3000028"), parseLsn("0/6000001"), BYTES)), [
    "000000010000000000000003",
    "000000020000000000000004",
    "000000020000000000000005",
    "000000030000000000000006",
  ]);
  assert.deepEqual(names(segmentsOnPath(path, parseLsn("0/3000028"), parseLsn("0/4000000"), BYTES)), [
    "000000010000000000000003",
  ]);
  assert.deepEqual(names(segmentsOnPath(path, parseLsn("0/3000028"), parseLsn("0/3000028"), BYTES)), []);
});

test("two forks in one segment: it is read under the last child's name", () => {
  const twice: TimelinePath = [...path.slice(0, 2), { timeline: 3, begin: parseLsn("0/4030000") }];
  assert.deepEqual(names(segmentsOnPath(twice, parseLsn("0/4000000"), parseLsn("0/4040000"), BYTES)), [
    "000000030000000000000004",
  ]);
});

test("missing segments come as runs, broken where the timeline changes", () => {
  const wanted = segmentsOnPath(path, parseLsn("0/2000000"), parseLsn("0/7000000"), BYTES);
  const there = new SegmentSet(segments("000000010000000000000002", "000000020000000000000005"));
  assert.deepEqual(
    missingRuns(wanted, (segment) => there.has(segment)),
    [
      { timeline: 1, first: 3n, last: 3n },
      { timeline: 2, first: 4n, last: 4n },
      { timeline: 3, first: 6n, last: 6n },
    ],
  );
  assert.equal(there.size, 2);
});

test("the continuous segments end before the first hole", () => {
  const there = new SegmentSet(
    segments("000000010000000000000002", "000000010000000000000003", "000000010000000000000005"),
  );
  const from = parseSegmentName("000000010000000000000002", BYTES)!;
  assert.equal(
    continuousFrom(from, (segment) => there.has(segment)),
    2,
  );
});
