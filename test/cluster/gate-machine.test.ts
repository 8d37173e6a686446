// The gate step by step, and every way out of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  GATE_LIMIT_MS,
  type GateEvent,
  type GateState,
  advanceGate,
  beginGate,
  openGate,
} from "../../src/cluster/gate-machine.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const WAY: readonly GateEvent[] = [
  { kind: "fenced", epoch: 34, atMs: 100 },
  { kind: "claimed" },
  { kind: "fetched", recordEnd: parseLsn("0/500") },
  { kind: "looked", leads: null },
  { kind: "marked", promotion: "ab" },
  { kind: "promoted", timeline: 2 },
  { kind: "recorded" },
  { kind: "declared" },
];

function after(events: readonly GateEvent[], nowMs = 200): GateState {
  let gate: GateState = beginGate(0);
  for (const event of events) {
    assert.equal(gate.kind, "running");
    if (gate.kind === "running") gate = advanceGate(gate, event, nowMs);
  }
  return gate;
}

test("the order: fence, claim, fetch, look, mark, promote, record, declare, open", () => {
  const steps = WAY.map((_event, index) => {
    const gate = after(WAY.slice(0, index));
    return gate.kind === "running" ? gate.step : gate.kind;
  });
  assert.deepEqual(steps, ["fence", "claim", "fetch", "look", "mark", "promote", "record", "declare"]);
  const last = after(WAY);
  assert.equal(last.kind === "running" && last.step, "open");
  assert.deepEqual(last.kind === "running" && openGate(last), {
    kind: "open",
    epoch: 34,
    fencedMs: 100,
    timeline: 2,
  });
});

test("the last look finds the primary: nothing is promoted", () => {
  assert.deepEqual(after([...WAY.slice(0, 3), { kind: "looked", leads: "n1" }]), {
    kind: "abandoned",
    because: "n1 leads after all",
  });
});

test("a refusal before the promotion abandons, after it the data is lost to the log", () => {
  const no: GateEvent = { kind: "refused", because: "a newer fence" };
  assert.equal(after([...WAY.slice(0, 4), no]).kind, "abandoned");
  assert.equal(after([...WAY.slice(0, 5), no]).kind, "lost");
  assert.equal(after([...WAY.slice(0, 6), no]).kind, "lost");
});

test("a store that does not answer is asked again, for a bounded time before the promotion", () => {
  const again: GateEvent = { kind: "again", because: "no answer" };
  assert.equal(after([WAY[0]!, again]).kind, "running");
  assert.equal(after([WAY[0]!, again], GATE_LIMIT_MS + 1).kind, "abandoned");
  assert.equal(after([...WAY.slice(0, 6), again], 10 * GATE_LIMIT_MS).kind, "running");
});

test("an answer that comes late, for a step that is over, changes nothing", () => {
  const gate = after([...WAY.slice(0, 2), { kind: "claimed" }]);
  assert.equal(gate.kind === "running" && gate.step, "fetch");
  assert.deepEqual(openGate(beginGate(0)), beginGate(0));
});
