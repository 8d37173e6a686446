// What the mind asks of its shell, and asks again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Mind } from "../../src/cluster/mind.ts";
import { RULES } from "../../src/cluster/rules.ts";
import { TIMERS } from "../../src/cluster/timers.ts";
import { ZERO_LSN } from "../../src/wal/lsn.ts";

test("a step of the gate that nobody performed is asked for again", () => {
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
  const steps = (nowMs: number): readonly string[] =>
    mind.tick(nowMs).flatMap((effect) => (effect.kind === "gate" ? effect.step : []));
  mind.onBecame({ kind: "standby" }, 10);
  mind.onForced(20);
  assert.deepEqual(steps(30), ["fence"]);
  assert.deepEqual(steps(40), [], "it is under way");
  mind.onGate({ kind: "again", because: "its server is not there yet" }, 50);
  assert.deepEqual(steps(60), ["fence"]);
});
