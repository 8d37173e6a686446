// A node whose volume held a primary comes up.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type ContendFacts, decideContend } from "../../src/cluster/contend.ts";
import type { MemberView } from "../../src/cluster/evidence.ts";
import type { Report } from "../../src/cluster/report.ts";
import { TIMERS } from "../../src/cluster/timers.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const NOW = 100_000;
const self = { name: "n1", eligible: true, timeline: 2, recordEnd: parseLsn("0/500"), priority: 100 };
const other = (more: Partial<Report> = {}, isAlive = true): MemberView => ({
  name: "n2",
  sight: isAlive ? { kind: "alive" } : { kind: "gone", how: "silence", because: "no answer" },
  report: {
    ...self,
    name: "n2",
    region: "fra",
    incarnation: "i",
    build: "1",
    upSeconds: 1,
    systemId: "1",
    volume: "v",
    standing: "standby",
    accepting: false,
    epoch: null,
    replayed: parseLsn("0/500"),
    durable: null,
    streaming: false,
    primary: null,
    gateForMs: null,
    storeAgoMs: null,
    freeBytes: null,
    ...more,
  },
  reportMs: NOW,
});
const base: ContendFacts = {
  nowMs: NOW,
  startedMs: NOW - 10_000,
  sinceMs: NOW - 10_000,
  counted: ["n2"],
  members: [other()],
  logLife: { readMs: NOW - 100, sameSinceMs: NOW - 9_000 },
  promotionPending: false,
  self,
};
const away = { logLife: null };

const cases: readonly { name: string; facts: Partial<ContendFacts>; kind: string }[] = [
  { name: "another leads", facts: { members: [other({ standing: "primary", epoch: 40 })] }, kind: "rejoin" },
  {
    name: "another runs the gate",
    facts: { members: [other({ standing: "candidate", gateForMs: 10 })] },
    kind: "wait",
  },
  { name: "nobody leads: the log decides", facts: {}, kind: "contend" },
  {
    name: "a member is out of sight: the log decides",
    facts: { members: [other({}, false)] },
    kind: "contend",
  },
  {
    name: "it just started, and heard nobody",
    facts: { startedMs: NOW - 500, members: [other({}, false)] },
    kind: "wait",
  },
  {
    name: "out of sight, and a promotion was fenced",
    facts: { promotionPending: true, members: [other({}, false)] },
    kind: "wait",
  },
  {
    name: "that promotion never came",
    facts: {
      promotionPending: true,
      members: [other({}, false)],
      logLife: { readMs: NOW, sameSinceMs: NOW - 20_000 },
    },
    kind: "contend",
  },
  { name: "the store is away, everybody is here", facts: away, kind: "lead-without-store" },
  {
    name: "the store is away, and so is a member",
    facts: { ...away, members: [other({}, false)] },
    kind: "wait",
  },
  {
    name: "the store is away, another has a newer timeline",
    facts: { ...away, members: [other({ timeline: 3 })] },
    kind: "wait",
  },
  {
    name: "the store is away, another has more WAL",
    facts: { ...away, members: [other({ recordEnd: parseLsn("0/600") })] },
    kind: "wait",
  },
  {
    name: "the store is away, another is seeding",
    facts: { ...away, members: [other({ standing: "joining" })] },
    kind: "wait",
  },
  {
    name: "alone without the store",
    facts: { ...away, counted: [], members: [] },
    kind: "lead-without-store",
  },
  {
    name: "the store may still come",
    facts: { ...away, startedMs: NOW - 3_000, sinceMs: NOW - 3_000 },
    kind: "wait",
  },
  {
    name: "a node that runs for long and has just begun to contend has not asked the store yet",
    facts: { ...away, sinceMs: NOW - 60 },
    kind: "wait",
  },
];

for (const { name, facts, kind } of cases)
  test(`contend: ${name}`, () => assert.equal(decideContend({ ...base, ...facts }, TIMERS).kind, kind));
