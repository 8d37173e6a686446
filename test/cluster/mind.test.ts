// What the mind asks of its shell, and asks again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { GATE_LIMIT_MS } from "../../src/cluster/gate-machine.ts";
import { Mind } from "../../src/cluster/mind.ts";
import { RULES } from "../../src/cluster/rules.ts";
import { TIMERS } from "../../src/cluster/timers.ts";
import { ZERO_LSN } from "../../src/wal/lsn.ts";

test("a step of the gate that nobody performed is asked for again", () => {
  const mind = standby();
  mind.onForced(20);
  assert.deepEqual(steps(mind, 30), ["fence"]);
  assert.deepEqual(steps(mind, 40), [], "it is under way");
  mind.onGate({ kind: "again", because: "its server is not there yet" }, 50);
  assert.deepEqual(steps(mind, 60), ["fence"]);
});

test("a promotion by force that gets no fence ends with its gate, and nothing is promoted later", () => {
  const mind = standby();
  mind.onForced(20);
  assert.deepEqual(steps(mind, 30), ["fence"]);
  const again = { kind: "again", because: "the store does not answer" } as const;
  assert.deepEqual(mind.onGate(again, GATE_LIMIT_MS), []);
  assert.deepEqual(steps(mind, GATE_LIMIT_MS + 10), ["fence"]);
  const [said] = mind.onGate(again, GATE_LIMIT_MS + 40);
  assert.equal(said?.kind === "say" ? said.sentence : said?.kind, "gate abandoned");
  assert.equal(mind.standing, "standby");
  for (let nowMs = GATE_LIMIT_MS + 50; nowMs < 3 * GATE_LIMIT_MS; nowMs += 150)
    assert.deepEqual(steps(mind, nowMs), [], "the order is void");
});

test("an order to promote by force that found no occasion is void after a minute", () => {
  const mind = standby();
  mind.onForced(20);
  assert.deepEqual(steps(mind, 60_030), []);
  mind.onForced(60_040);
  assert.deepEqual(steps(mind, 60_050), ["fence"]);
});

/** A standby that never heard of a primary. */
function standby(): Mind {
  const self = { name: "n1", region: "", priority: 100, eligible: true, incarnation: "i", build: "1" };
  const local = { systemId: "1", volume: "v", timeline: 1, recordEnd: ZERO_LSN, replayed: ZERO_LSN };
  const mind = new Mind(
    self,
    ["n2"],
    { timers: TIMERS, synchronous: null, canFence: true },
    RULES,
    { ...local, durable: null, streaming: false, freeBytes: null },
    0,
  );
  mind.onBecame({ kind: "standby" }, 10);
  return mind;
}

const steps = (mind: Mind, nowMs: number): readonly string[] =>
  mind.tick(nowMs).flatMap((effect) => (effect.kind === "gate" ? effect.step : []));
