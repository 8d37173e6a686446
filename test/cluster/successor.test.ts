// To whom a primary hands over.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Heir, type SuccessorFacts, chooseSuccessor } from "../../src/cluster/successor.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const heir = (name: string, more: Partial<Heir> = {}): Heir => ({
  name,
  eligible: true,
  standing: "standby",
  streaming: true,
  inSync: null,
  priority: 100,
  build: "17.1",
  upSeconds: 90_000,
  flushed: parseLsn("0/1000"),
  freeBytes: null,
  ...more,
});
const base: SuccessorFacts = {
  heirs: [heir("n2"), heir("n3")],
  ownBuild: "17.1",
  ownUpSeconds: 90_000,
  flushed: parseLsn("0/1000"),
  lagLimitBytes: 1_000,
  leastFreeBytes: 500,
  asked: null,
};

const cases: readonly { name: string; facts: Partial<SuccessorFacts>; to: string }[] = [
  { name: "nobody was renewed: who is restarted last", facts: {}, to: "n3" },
  {
    name: "one runs the new software",
    facts: { heirs: [heir("n2", { build: "17.2" }), heir("n3")] },
    to: "n2",
  },
  {
    name: "one restarted in this roll",
    facts: { heirs: [heir("n2", { upSeconds: 60 }), heir("n3")] },
    to: "n2",
  },
  { name: "priority among equals", facts: { heirs: [heir("n2", { priority: 200 }), heir("n3")] }, to: "n2" },
  { name: "an operator's choice", facts: { asked: "n2" }, to: "n2" },
  {
    name: "an operator's choice, whatever the region",
    facts: { asked: "n2", heirs: [heir("n2", { eligible: false })] },
    to: "n2",
  },
  {
    name: "not one whose volume is full",
    facts: { heirs: [heir("n2", { freeBytes: 500 }), heir("n3", { freeBytes: 499 })] },
    to: "n2",
  },
  {
    name: "not one that is behind",
    facts: { heirs: [heir("n2"), heir("n3", { flushed: parseLsn("0/1") })] },
    to: "n2",
  },
  {
    name: "not one that does not stream",
    facts: { heirs: [heir("n2"), heir("n3", { streaming: false })] },
    to: "n2",
  },
  { name: "not one out of sync", facts: { heirs: [heir("n2"), heir("n3", { inSync: false })] }, to: "n2" },
  { name: "nobody is there", facts: { heirs: [] }, to: "no member is in sight" },
  { name: "nobody fits", facts: { heirs: [heir("n2", { standing: "joining" })] }, to: "n2: it is joining" },
  {
    name: "the asked one does not fit",
    facts: { asked: "n3", heirs: [heir("n3", { streaming: false })] },
    to: "n3 cannot lead: it does not stream",
  },
];

for (const { name, facts, to } of cases) {
  test(`successor: ${name}`, () => {
    const choice = chooseSuccessor({ ...base, ...facts });
    assert.equal(choice.kind === "successor" ? choice.name : choice.because, to);
  });
}
