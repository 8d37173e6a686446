// The order of the timers: renew < freeze < quit < promote.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TIMERS, doorsWaitMs, timerFaults } from "../../src/cluster/timers.ts";

test("production's timers are in order", () => assert.deepEqual(timerFaults(TIMERS), []));

test("a new primary waits longer than any licence lasts, whatever the clocks' speeds", () => {
  const slow = TIMERS.freezeMs * (1 + TIMERS.driftRatio) + TIMERS.freezeActMs;
  const fast = doorsWaitMs(TIMERS) * (1 - TIMERS.driftRatio);
  assert.ok(fast > TIMERS.freezeMs && doorsWaitMs(TIMERS) >= slow);
});

test("a self-demotion later than the promotion is named", () => {
  assert.deepEqual(timerFaults({ ...TIMERS, quitMs: 6_500 }), [
    "freezeMs + quitMs (7500 ms) must be below silenceMs (7000 ms)",
  ]);
});
