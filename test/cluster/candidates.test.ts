// Whose WAL is longest, then priority, then name.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Candidate, type StoreEnd, bestCandidate } from "../../src/cluster/candidates.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const node = (name: string, end: string, more: Partial<Candidate> = {}): Candidate => ({
  name,
  eligible: true,
  timeline: 1,
  recordEnd: parseLsn(end),
  priority: 100,
  ...more,
});
const store = (timeline: number, end: string): StoreEnd => ({ timeline, end: parseLsn(end) });

const cases: readonly {
  name: string;
  among: readonly Candidate[];
  store: StoreEnd | null;
  best: string | null;
}[] = [
  { name: "the longer WAL", among: [node("n2", "0/100"), node("n3", "0/200")], store: null, best: "n3" },
  {
    name: "priority does not beat WAL",
    among: [node("n2", "0/100", { priority: 200 }), node("n3", "0/200")],
    store: null,
    best: "n3",
  },
  {
    name: "what the store has counts for both",
    among: [node("n2", "0/100", { priority: 200 }), node("n3", "0/200")],
    store: store(1, "0/300"),
    best: "n2",
  },
  {
    name: "ahead of the store still wins",
    among: [node("n2", "0/100", { priority: 200 }), node("n3", "0/400")],
    store: store(1, "0/300"),
    best: "n3",
  },
  {
    name: "the newer timeline",
    among: [node("n2", "0/900"), node("n3", "0/200", { timeline: 2 })],
    store: null,
    best: "n3",
  },
  {
    name: "equal WAL: priority",
    among: [node("n2", "0/100"), node("n3", "0/100", { priority: 200 })],
    store: null,
    best: "n3",
  },
  {
    name: "all equal: the first name",
    among: [node("n3", "0/100"), node("n2", "0/100")],
    store: null,
    best: "n2",
  },
  {
    name: "who may not lead is not compared",
    among: [node("n2", "0/100"), node("n3", "0/900", { eligible: false })],
    store: null,
    best: "n2",
  },
  { name: "nobody may lead", among: [node("n3", "0/900", { eligible: false })], store: null, best: null },
];

for (const { name, among, store: end, best } of cases)
  test(`candidates: ${name}`, () => assert.equal(bestCandidate(among, end)?.name ?? null, best));
