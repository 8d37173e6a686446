// Which slots a node should have.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type SlotState, type SlotsFacts, planSlots } from "../../src/cluster/slots-plan.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const slot = (name: string, more: Partial<SlotState> = {}): SlotState => ({
  name,
  isActive: false,
  isPhysical: true,
  isLost: false,
  restart: parseLsn("0/100"),
  ...more,
});
const base: SlotsFacts = {
  isPrimary: false,
  replayed: parseLsn("0/500"),
  slots: [slot("holdfast_tail"), slot("holdfast_n3")],
  streamer: { name: "holdfast_tail", at: parseLsn("0/100") },
  members: [{ name: "holdfast_n3", at: null }],
  prefix: "holdfast_",
};

const cases: readonly { name: string; facts: Partial<SlotsFacts>; steps: readonly string[] }[] = [
  { name: "all is right", facts: {}, steps: [] },
  { name: "none yet", facts: { slots: [] }, steps: ["create holdfast_tail", "create holdfast_n3"] },
  {
    name: "a standby follows the store's position",
    facts: { streamer: { name: "holdfast_tail", at: parseLsn("0/300") } },
    steps: ["advance holdfast_tail 768"],
  },
  {
    name: "never past what was replayed",
    facts: { streamer: { name: "holdfast_tail", at: parseLsn("0/900") } },
    steps: ["advance holdfast_tail 1280"],
  },
  { name: "never back", facts: { streamer: { name: "holdfast_tail", at: parseLsn("0/50") } }, steps: [] },
  {
    name: "on a primary the stream moves it",
    facts: { isPrimary: true, streamer: { name: "holdfast_tail", at: parseLsn("0/300") } },
    steps: [],
  },
  { name: "a ghost's slot", facts: { members: [] }, steps: ["drop holdfast_n3"] },
  {
    name: "an active one is left alone",
    facts: { members: [], slots: [slot("holdfast_tail"), slot("holdfast_n3", { isActive: true })] },
    steps: [],
  },
  {
    name: "a lost one is made anew",
    facts: { slots: [slot("holdfast_tail"), slot("holdfast_n3", { isLost: true, restart: null })] },
    steps: ["drop holdfast_n3", "create holdfast_n3"],
  },
  {
    name: "others' slots are not ours",
    facts: { slots: [...base.slots, slot("debezium", { isPhysical: false }), slot("mine")] },
    steps: [],
  },
];

for (const { name, facts, steps } of cases) {
  test(`slots: ${name}`, () => {
    const plan = planSlots({ ...base, ...facts });
    assert.deepEqual(
      plan.map((step) => `${step.kind} ${step.name}${step.kind === "advance" ? ` ${step.to}` : ""}`),
      steps,
    );
  });
}
