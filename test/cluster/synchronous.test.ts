// Whom commits wait for, and who may be promoted: the order of the steps has no gap.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type SynchronousFacts,
  firstSynchronousNames,
  formatSynchronousNames,
  planSynchronous,
} from "../../src/cluster/synchronous.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const at = parseLsn;
const standby = (name: string, flushed = "0/500", isSync = true) => ({ name, flushed: at(flushed), isSync });
const base: SynchronousFacts = {
  nowMs: 100_000,
  configured: ["n2"],
  recorded: ["n2"],
  streaming: [standby("n2"), standby("n3", "0/480", false)],
  wanted: ["n2", "n3"],
  configuredAt: at("0/400"),
  missingSinceMs: null,
  policy: "bounded",
  degradeMs: 10_000,
};
const lost = { streaming: [], wanted: [] };

const cases: readonly { name: string; facts: Partial<SynchronousFacts>; step: string }[] = [
  { name: "all is well", facts: {}, step: "none" },
  {
    name: "a new primary first makes commits wait",
    facts: { configured: [], recorded: [] },
    step: "configure n2",
  },
  { name: "it is recorded once it has caught up", facts: { recorded: [] }, step: "record n2" },
  {
    name: "not before it passed the position read after that was in force",
    facts: { recorded: [], streaming: [standby("n2", "0/399")] },
    step: "none",
  },
  {
    name: "not before Postgres counts it in",
    facts: { recorded: [], streaming: [standby("n2", "0/500", false)] },
    step: "none",
  },
  { name: "not before the position was read", facts: { recorded: [], configuredAt: null }, step: "none" },
  {
    name: "it dies: commits wait for the other one too",
    facts: { streaming: [standby("n3")], wanted: ["n3"] },
    step: "configure n2 n3",
  },
  {
    name: "the other one caught up: it alone is recorded",
    facts: { configured: ["n2", "n3"], streaming: [standby("n3")], wanted: ["n3"] },
    step: "record n3",
  },
  {
    name: "only then nobody waits for the dead one",
    facts: { configured: ["n2", "n3"], recorded: ["n3"], streaming: [standby("n3")], wanted: ["n3"] },
    step: "configure n3",
  },
  { name: "no standby for 1 s: commits wait", facts: { ...lost, missingSinceMs: 99_000 }, step: "none" },
  {
    name: "no standby for 10 s: the record first",
    facts: { ...lost, missingSinceMs: 90_000 },
    step: "record ",
  },
  {
    name: "then commits go on",
    facts: { ...lost, missingSinceMs: 90_000, recorded: [] },
    step: "configure ",
  },
  {
    name: "strict: commits wait as long as it takes",
    facts: { ...lost, missingSinceMs: 0, policy: "strict" },
    step: "none",
  },
  {
    name: "a record without a wait is mended first",
    facts: { configured: [], recorded: ["n2"] },
    step: "configure n2",
  },
];

for (const { name, facts, step } of cases) {
  test(`synchronous: ${name}`, () => {
    const plan = planSynchronous({ ...base, ...facts });
    assert.equal(plan.kind === "none" ? "none" : `${plan.kind} ${plan.names.join(" ")}`, step);
  });
}

test("a new primary is protected from its first commit on", () => {
  assert.deepEqual(firstSynchronousNames(["n3", "n2"], ["n1", "n2", "n3"], "bounded"), ["n2"]);
  assert.deepEqual(firstSynchronousNames([], ["n1"], "bounded"), []);
  assert.deepEqual(firstSynchronousNames([], ["n1"], "strict"), ["n1"]);
});

test("names are quoted for Postgres", () => {
  assert.equal(formatSynchronousNames([]), "");
  assert.equal(formatSynchronousNames(["n2", 'a"b']), 'FIRST 2 ("n2", "a""b")');
});
