// May a primary acknowledge? G5, G7 and the licence.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type DoorsFacts, decideDoors } from "../../src/cluster/doors.ts";
import { TIMERS } from "../../src/cluster/timers.ts";

const NOW = 100_000;
const open: DoorsFacts = {
  nowMs: NOW,
  settled: true,
  fencedMs: NOW - 60_000,
  isFenced: false,
  outrankedBy: null,
  counted: [
    { name: "n2", grantedMs: NOW - 100 },
    { name: "n3", grantedMs: NOW - 150 },
  ],
  logConfirmedMs: null,
  wereOpen: true,
  frozenSinceMs: null,
};
const cut = [{ name: "n2", grantedMs: NOW - 3_000 }];

const cases: readonly { name: string; facts: Partial<DoorsFacts>; kind: string }[] = [
  { name: "every member is in sight", facts: {}, kind: "open" },
  { name: "a lone node goes on without the store", facts: { counted: [] }, kind: "open" },
  { name: "one member out of sight and no store: frozen", facts: { counted: cut }, kind: "frozen" },
  {
    name: "one member out of sight, the log is ours",
    facts: { counted: cut, logConfirmedMs: NOW - 300 },
    kind: "open",
  },
  { name: "the log's word is old", facts: { counted: cut, logConfirmedMs: NOW - 1_100 }, kind: "frozen" },
  { name: "frozen for 4 s: shut", facts: { counted: cut, frozenSinceMs: NOW - 4_000 }, kind: "shut" },
  {
    name: "after a long pause the licence is renewed before anything is killed",
    facts: { counted: [{ name: "n2", grantedMs: NOW - 60_000 }] },
    kind: "frozen",
  },
  { name: "a newer fence stands in the log", facts: { isFenced: true }, kind: "shut" },
  { name: "another leads with a newer fence", facts: { outrankedBy: "n3" }, kind: "shut" },
  {
    name: "G5: the history is not accepted yet",
    facts: { settled: false, wereOpen: false },
    kind: "waiting",
  },
  {
    name: "a fresh fence, a member out of sight",
    facts: { wereOpen: false, counted: cut, logConfirmedMs: NOW - 50, fencedMs: NOW - 500 },
    kind: "waiting",
  },
  {
    name: "the doors' wait is over",
    facts: { wereOpen: false, counted: cut, logConfirmedMs: NOW - 50, fencedMs: NOW - 1_200 },
    kind: "open",
  },
  { name: "a fresh fence, everybody grants", facts: { wereOpen: false, fencedMs: NOW - 10 }, kind: "open" },
  {
    name: "handed over: no wait",
    facts: { wereOpen: false, counted: cut, logConfirmedMs: NOW - 50, fencedMs: null },
    kind: "open",
  },
  {
    name: "no licence at the start",
    facts: { wereOpen: false, counted: [{ name: "n2", grantedMs: null }] },
    kind: "waiting",
  },
];

for (const { name, facts, kind } of cases)
  test(`doors: ${name}`, () => assert.equal(decideDoors({ ...open, ...facts }, TIMERS).kind, kind));

test("the sentence names who is missing", () => {
  const doors = decideDoors({ ...open, counted: [...open.counted.slice(1), ...cut] }, TIMERS);
  assert.equal(
    doors.because,
    "the licence was last renewed 3000 ms ago: no word from n2 and none from the store",
  );
});
