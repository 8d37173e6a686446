// Where clients are sent.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sight } from "../../src/cluster/detection.ts";
import { type ClusterRoute, type RoutingFacts, decideRoute } from "../../src/cluster/routing.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { ALIVE, standbyReport, viewOf } from "../support/cluster-members.ts";

const leader = { standing: "primary", accepting: true, epoch: 17, streaming: false } as const;
const SILENT: Sight = { kind: "silent", forMs: 3_000, because: "no answer" };
const GONE: Sight = { kind: "gone", how: "silence", because: "no answer" };
const at = (name: string) => ({
  name,
  host: name === "n2" ? "127.0.0.1" : `10.0.0.${name.slice(1)}`,
  port: 5433,
});
const current: ClusterRoute = { primary: at("n1"), standbys: [at("n2")] };
const base: RoutingFacts = {
  self: standbyReport("n2"),
  views: [viewOf("n1", ALIVE, leader), viewOf("n3", ALIVE)],
  addressOf: (name) => `10.0.0.${name.slice(1)}`,
  port: 5433,
  lagLimitBytes: 0x100,
  current,
};

const cases: readonly { name: string; facts: Partial<RoutingFacts>; primary: string; standbys: string }[] = [
  { name: "everybody is there", facts: {}, primary: "n1", standbys: "n2 n3" },
  {
    name: "a standby that is behind gets no readers",
    facts: { views: [viewOf("n1", ALIVE, leader), viewOf("n3", ALIVE, { replayed: parseLsn("0/E00") })] },
    primary: "n1",
    standbys: "n2",
  },
  {
    name: "one that does not stream neither",
    facts: { self: standbyReport("n2", { streaming: false }) },
    primary: "n1",
    standbys: "n3",
  },
  {
    name: "no standby: readers go to the primary",
    facts: { self: standbyReport("n2", { standing: "joining" }), views: [viewOf("n1", ALIVE, leader)] },
    primary: "n1",
    standbys: "n1",
  },
  {
    name: "a silent primary keeps its sessions",
    facts: { views: [viewOf("n1", SILENT, { ...leader, accepting: true })] },
    primary: "n1",
    standbys: "n2",
  },
  {
    name: "one that is frozen for a moment too",
    facts: { views: [viewOf("n1", ALIVE, { ...leader, accepting: false })] },
    primary: "n1",
    standbys: "n2",
  },
  {
    name: "one that is gone does not",
    facts: { views: [viewOf("n1", GONE, leader)] },
    primary: "-",
    standbys: "n2",
  },
  {
    name: "one that stepped down does not",
    facts: { views: [viewOf("n1", ALIVE, { standing: "suspect" })] },
    primary: "-",
    standbys: "n2",
  },
  {
    name: "the newer fence wins",
    facts: { self: standbyReport("n2", { ...leader, epoch: 34 }) },
    primary: "n2",
    standbys: "n3",
  },
  {
    name: "this node leads",
    facts: { self: standbyReport("n2", leader), views: [viewOf("n3", ALIVE)] },
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
