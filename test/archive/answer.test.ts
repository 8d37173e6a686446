// The table of what is served (R3 to R5), case by case.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type HistoryKnowledge,
  judgeHistory,
  judgeSegment,
  type LocalCopy,
  placeSegment,
  type SegmentFound,
  type Situation,
} from "../../src/archive/answer.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import type { TimelinePath } from "../../src/wal/timeline-path.ts";

const BYTES = 16 << 20;

const path: TimelinePath = [
  { timeline: 1, begin: parseLsn("0/0") },
  { timeline: 2, begin: parseLsn("0/4020000") },
  { timeline: 5, begin: parseLsn("0/6000000") },
];

const places = [
  { name: "a segment in the middle of its timeline", timeline: 1, number: 3n, expected: "allowed 0/4000000" },
  {
    name: "the parent's segment of the fork is clipped",
    timeline: 1,
    number: 4n,
    expected: "clipped 0/4020000",
  },
  {
    name: "the parent's segment behind the fork",
    timeline: 1,
    number: 5n,
    expected: "the path left timeline 1 at 0/4020000, before it",
  },
  { name: "the child's segment of the fork", timeline: 2, number: 4n, expected: "allowed 0/5000000" },
  {
    name: "the child before its fork",
    timeline: 2,
    number: 3n,
    expected: "timeline 2 begins at 0/4020000, behind it",
  },
  {
    name: "a fork on a segment's boundary leaves the parent nothing of the next",
    timeline: 2,
    number: 6n,
    expected: "the path left timeline 2 at 0/6000000, before it",
  },
  {
    name: "the segment before that boundary is whole",
    timeline: 2,
    number: 5n,
    expected: "allowed 0/6000000",
  },
  { name: "the last timeline goes on", timeline: 5, number: 99n, expected: "allowed 0/64000000" },
  {
    name: "a timeline off the path",
    timeline: 3,
    number: 5n,
    expected: "timeline 3 is not on the path to timeline 5",
  },
] as const;

for (const { name, timeline, number, expected } of places) {
  test(`place: ${name}`, () => {
    const place = placeSegment({ timeline, number }, path, BYTES);
    const hex = (lsn: bigint): string => `0/${lsn.toString(16).toUpperCase()}`;
    const said =
      place.kind === "absent"
        ? place.because
        : `${place.isClipped ? "clipped" : "allowed"} ${hex(place.until)}`;
    assert.equal(said, expected);
  });
}

const complete: SegmentFound = { kind: "complete", bytes: new Uint8Array(8) };
const partial: SegmentFound = { kind: "partial", bytes: new Uint8Array(8), filled: 4 };
const nothing: SegmentFound = { kind: "absent", because: "a listing shows no object of it" };
const different: LocalCopy = { kind: "different", at: parseLsn("0/4000100") };

const verdicts: readonly {
  readonly name: string;
  readonly found: SegmentFound;
  readonly situation: Situation;
  readonly local: LocalCopy | null;
  readonly expected: string;
}[] = [
  { name: "complete, restore", found: complete, situation: "restore", local: null, expected: "serve" },
  { name: "complete, standby", found: complete, situation: "standby", local: null, expected: "serve" },
  { name: "open, restore", found: partial, situation: "restore", local: null, expected: "serve" },
  { name: "open, standby", found: partial, situation: "standby", local: null, expected: "absent" },
  {
    name: "open, standby that was not compared",
    found: partial,
    situation: "catch-up",
    local: null,
    expected: "absent",
  },
  {
    name: "open, local shorter and equal",
    found: partial,
    situation: "catch-up",
    local: { kind: "behind" },
    expected: "serve",
  },
  {
    name: "open, no local file",
    found: partial,
    situation: "catch-up",
    local: { kind: "none" },
    expected: "serve",
  },
  {
    name: "open, local has as much or more",
    found: partial,
    situation: "catch-up",
    local: { kind: "not-behind" },
    expected: "absent",
  },
  { name: "open, local differs", found: partial, situation: "catch-up", local: different, expected: "alarm" },
  { name: "absent, restore", found: nothing, situation: "restore", local: null, expected: "absent" },
  { name: "absent, standby", found: nothing, situation: "standby", local: null, expected: "absent" },
];

for (const { name, found, situation, local, expected } of verdicts) {
  test(`segment: ${name}: ${expected}`, () => {
    const verdict = judgeSegment(found, situation, local);
    const said = verdict.kind === "serve" ? "serve" : verdict.alarm ? "alarm" : "absent";
    assert.equal(said, expected);
  });
}

const log: HistoryKnowledge = { lastTimeline: 5, path, accepted: new Set([4, 5]), hasLog: true };

const histories = [
  { name: "T*'s own", timeline: 5, log, expected: "accepted" },
  { name: "an abandoned timeline that was accepted", timeline: 4, log, expected: "accepted" },
  { name: "above T*: never, whatever stands in wal_005 (X12)", timeline: 6, log, expected: "absent" },
  { name: "a hole below T* is an empty file", timeline: 3, log, expected: "empty" },
  { name: "an ancestor from before the log", timeline: 2, log, expected: "stored, else empty" },
  {
    name: "T* from before the log",
    timeline: 5,
    log: { ...log, accepted: new Set<number>() },
    expected: "stored, else absent",
  },
  {
    name: "without a log: what is stored",
    timeline: 3,
    log: { ...log, accepted: new Set<number>(), hasLog: false },
    expected: "stored, else empty",
  },
  {
    name: "without a log: above the highest",
    timeline: 6,
    log: { ...log, accepted: new Set<number>(), hasLog: false },
    expected: "absent",
  },
  { name: "timeline 1 has none", timeline: 1, log, expected: "absent" },
  { name: "without anything", timeline: 2, log: null, expected: "stored, else absent" },
] as const;

for (const { name, timeline, log: known, expected } of histories) {
  test(`history: ${name}: ${expected}`, () => {
    const verdict = judgeHistory(timeline, path, known);
    assert.equal(verdict.kind === "stored" ? `stored, else ${verdict.otherwise}` : verdict.kind, expected);
  });
}
