// Where clients are sent.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sight } from "../../src/cluster/detection.ts";
import type { MemberView } from "../../src/cluster/evidence.ts";
import type { Report } from "../../src/cluster/report.ts";
import { type ClusterRoute, type RoutingFacts, decideRoute } from "../../src/cluster/routing.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const report = (name: string, more: Partial<Report> = {}): Report => ({
  name,
  region: "fra",
  priority: 100,
  eligible: true,
  incarnation: "i",
  build: "1",
  upSeconds: 600,
  systemId: "1",
  volume: "v",
  standing: "standby",
  accepting: false,
  epoch: null,
  timeline: 1,
  recordEnd: parseLsn("0/1000"),
  replayed: parseLsn("0/1000"),
  durable: null,
  streaming: true,
  primary: null,
  gateForMs: null,
  storeAgoMs: null,
  ...more,
});
const leader = { standing: "primary", accepting: true, epoch: 17, streaming: false } as const;
const ALIVE: Sight = { kind: "alive" };
const SILENT: Sight = { kind: "silent", forMs: 3_000, because: "no answer" };
const GONE: Sight = { kind: "gone", how: "silence", because: "no answer" };
const view = (name: string, sight: Sight, more: Partial<Report> = {}): MemberView => ({
  name,
  sight,
  report: report(name, more),
  reportMs: 0,
});
const at = (name: string) => ({
  name,
  host: name === "n2" ? "127.0.0.1" : `10.0.0.${name.slice(1)}`,
  port: 5433,
});
const current: ClusterRoute = { primary: at("n1"), standbys: [at("n2")] };
const base: RoutingFacts = {
  self: report("n2"),
  views: [view("n1", ALIVE, leader), view("n3", ALIVE)],
  addressOf: (name) => `10.0.0.${name.slice(1)}`,
  port: 5433,
  lagLimitBytes: 0x100,
  current,
};

const cases: readonly { name: string; facts: Partial<RoutingFacts>; primary: string; standbys: string }[] = [
  { name: "everybody is there", facts: {}, primary: "n1", standbys: "n2 n3" },
  {
    name: "a standby that is behind gets no readers",
    facts: { views: [view("n1", ALIVE, leader), view("n3", ALIVE, { replayed: parseLsn("0/E00") })] },
    primary: "n1",
    standbys: "n2",
  },
  {
    name: "one that does not stream neither",
    facts: { self: report("n2", { streaming: false }) },
    primary: "n1",
    standbys: "n3",
  },
  {
    name: "no standby: readers go to the primary",
    facts: { self: report("n2", { standing: "joining" }), views: [view("n1", ALIVE, leader)] },
    primary: "n1",
    standbys: "n1",
  },
  {
    name: "a silent primary keeps its sessions",
    facts: { views: [view("n1", SILENT, { ...leader, accepting: true })] },
    primary: "n1",
    standbys: "n2",
  },
  {
    name: "one that is frozen for a moment too",
    facts: { views: [view("n1", ALIVE, { ...leader, accepting: false })] },
    primary: "n1",
    standbys: "n2",
  },
  {
    name: "one that is gone does not",
    facts: { views: [view("n1", GONE, leader)] },
    primary: "-",
    standbys: "n2",
  },
  {
    name: "one that stepped down does not",
    facts: { views: [view("n1", ALIVE, { standing: "suspect" })] },
    primary: "-",
    standbys: "n2",
  },
  {
    name: "the newer fence wins",
    facts: { self: report("n2", { ...leader, epoch: 34 }) },
    primary: "n2",
    standbys: "n3",
  },
  {
    name: "this node leads",
    facts: { self: report("n2", leader), views: [view("n3", ALIVE)] },
    primary: "n2",
    standbys: "n3",
  },
];

for (const { name, facts, primary, standbys } of cases) {
  test(`route: ${name}`, () => {
    const route = decideRoute({ ...base, ...facts });
    assert.equal(route.primary?.name ?? "-", primary);
    assert.equal(route.standbys.map((target) => target.name).join(" "), standbys);
  });
}

test("this node is reached over the loopback, others where they answered from", () => {
  const route = decideRoute(base);
  assert.deepEqual(route.standbys, [at("n2"), at("n3")]);
});
