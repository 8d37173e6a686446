import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../src/base/clock.ts";
import { limitTo } from "../../src/storage/rate-limit.ts";

const never = new AbortController().signal;

/** Time passes only while somebody sleeps. */
function sleepingClock(): Clock & { atMs: number } {
  const clock = {
    atMs: 0,
    now: () => clock.atMs,
    monotonicMs: () => clock.atMs,
    sleep: async (ms: number) => void (clock.atMs += ms),
  };
  return clock;
}

test("a burst of a second passes at once, then the rate holds", async () => {
  const clock = sleepingClock();
  const pace = limitTo(1000, clock);
  await pace(1000, never);
  assert.equal(clock.atMs, 0);
  for (let i = 0; i < 10; i += 1) await pace(500, never);
  assert.equal(clock.atMs, 5000);
});

test("a piece larger than a second's worth waits for its time", async () => {
  const clock = sleepingClock();
  const pace = limitTo(1000, clock);
  await pace(5000, never);
  assert.equal(clock.atMs, 4000);
});

test("idle time saves no more than one second's worth", async () => {
  const clock = sleepingClock();
  const pace = limitTo(1000, clock);
  clock.atMs = 60_000;
  await pace(1000, never);
  assert.equal(clock.atMs, 60_000);
  await pace(1000, never);
  assert.equal(clock.atMs, 61_000);
});
