// When may a standby begin the gate?

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sight } from "../../src/cluster/detection.ts";
import { type EvidenceFacts, type MemberView, decideEvidence } from "../../src/cluster/evidence.ts";
import type { Report } from "../../src/cluster/report.ts";
import { TIMERS } from "../../src/cluster/timers.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { ALIVE, standbyReport, viewOf } from "../support/cluster-members.ts";

const NOW = 100_000;
const GONE: Sight = { kind: "gone", how: "closed", because: "closed its connection, no answer for 2000 ms" };
const SILENT: Sight = { kind: "silent", forMs: 3_000, because: "no answer for 3000 ms" };
const UNHEARD: Sight = { kind: "silent", forMs: 3_000, because: "not heard yet" };

const view = (name: string, sight: Sight, more: Partial<Report> = {}): MemberView =>
  viewOf(name, sight, more, NOW - 50);
const n1 = (sight: Sight): MemberView => view("n1", sight, { standing: "primary", epoch: 17 });

const base: EvidenceFacts = {
  nowMs: NOW,
  self: standbyReport("n2"),
  inRoster: true,
  holders: null,
  isPaused: false,
  canFence: true,
  primary: "n1",
  members: [n1(GONE)],
  logLife: { readMs: NOW - 100, sameSinceMs: NOW - 2_000 },
  storeEnd: null,
  passedOverSinceMs: null,
  startedMs: 0,
  isHandedOver: false,
};

const cases: readonly { name: string; facts: Partial<EvidenceFacts>; kind: string; because: string }[] = [
  {
    name: "the primary is gone and the log is still",
    facts: {},
    kind: "begin",
    because: "n1 is gone: closed its connection, no answer for 2000 ms",
  },
  { name: "the primary answers", facts: { members: [n1(ALIVE)] }, kind: "wait", because: "n1 leads" },
  {
    name: "a 5 s pause",
    facts: { members: [n1(SILENT)] },
    kind: "wait",
    because: "n1 has been silent for 3000 ms only",
  },
  {
    name: "another member still hears it",
    facts: { members: [n1(GONE), view("n3", ALIVE, { primary: { name: "n1", heardAgoMs: 100 } })] },
    kind: "wait",
    because: "n3 heard from n1 150 ms ago",
  },
  {
    name: "another member runs the gate",
    facts: { members: [n1(GONE), view("n3", ALIVE, { standing: "candidate", gateForMs: 300 })] },
    kind: "wait",
    because: "n3 runs the gate",
  },
  {
    name: "the log grows",
    facts: { logLife: { readMs: NOW - 100, sameSinceMs: NOW - 900 } },
    kind: "wait",
    because: "the log has been still for 800 ms only",
  },
  {
    name: "the store does not answer",
    facts: { logLife: { readMs: NOW - 9_000, sameSinceMs: NOW - 20_000 } },
    kind: "wait",
    because: "the store does not answer",
  },
  { name: "no look yet", facts: { logLife: null }, kind: "wait", because: "the log was not looked at yet" },
  {
    name: "a better candidate is in sight",
    facts: { members: [n1(GONE), view("n3", ALIVE, { recordEnd: parseLsn("0/2000") })] },
    kind: "wait",
    because: "n3 is the better candidate",
  },
  {
    name: "one with more WAL that is not in sync is not waited for: it may not lead",
    facts: { holders: ["n2"], members: [n1(GONE), view("n3", ALIVE, { recordEnd: parseLsn("0/2000") })] },
    kind: "begin",
    because: "n1 is gone: closed its connection, no answer for 2000 ms",
  },
  {
    name: "the better one did nothing for 4 s",
    facts: {
      passedOverSinceMs: NOW - 4_000,
      members: [n1(GONE), view("n3", ALIVE, { recordEnd: parseLsn("0/2000") })],
    },
    kind: "begin",
    because: "n1 is gone: closed its connection, no answer for 2000 ms",
  },
  {
    name: "an operator paused failover",
    facts: { isPaused: true },
    kind: "never",
    because: "automatic failover is paused",
  },
  {
    name: "another region",
    facts: { self: standbyReport("n2", { eligible: false }) },
    kind: "never",
    because: "its region or priority forbids that this node leads",
  },
  {
    name: "not in sync",
    facts: { holders: ["n3"] },
    kind: "never",
    because: "this standby may lack acknowledged commits",
  },
  {
    name: "not in the roster",
    facts: { inRoster: false },
    kind: "never",
    because: "this node is not in the roster",
  },
  {
    name: "a store without conditional writes",
    facts: { canFence: false },
    kind: "never",
    because: "the store cannot fence: only an operator promotes here",
  },
  {
    name: "handed over, whatever the region",
    facts: { isHandedOver: true, self: standbyReport("n2", { eligible: false }), members: [n1(ALIVE)] },
    kind: "begin",
    because: "the primary handed over",
  },
  {
    name: "the primary hands over to another",
    facts: { members: [view("n1", ALIVE, { standing: "leaving" })] },
    kind: "wait",
    because: "n1 hands over",
  },
  {
    name: "the old primary stepped down",
    facts: { members: [view("n1", ALIVE, { standing: "suspect" })] },
    kind: "begin",
    because: "n1 does not lead any more",
  },
  {
    name: "a former primary came up just now",
    facts: { members: [view("n1", ALIVE, { standing: "contender", upSeconds: 2 })] },
    kind: "wait",
    because: "n1 held a primary and asks the log whether it still leads",
  },
  {
    name: "it asked for 10 s",
    facts: { members: [view("n1", ALIVE, { standing: "contender", upSeconds: 20 })] },
    kind: "begin",
    because: "n1 does not lead any more",
  },
  {
    name: "cold start, a member was not heard yet",
    facts: { primary: null, members: [view("n1", UNHEARD)] },
    kind: "wait",
    because: "n1 was not heard yet",
  },
  {
    name: "cold start, everybody is here",
    facts: { primary: null, logLife: { readMs: NOW, sameSinceMs: NOW }, members: [view("n3", ALIVE)] },
    kind: "begin",
    because: "no member leads",
  },
];

for (const { name, facts, kind, because } of cases) {
  test(`evidence: ${name}`, () => {
    const evidence = decideEvidence({ ...base, ...facts }, TIMERS);
    assert.deepEqual([evidence.kind, evidence.because], [kind, because]);
  });
}
