// When a full volume makes a primary hand over.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FULL_BYTES, isReliefDue } from "../../src/cluster/full-volume.ts";

const full = {
  freeBytes: FULL_BYTES - 1,
  fullBytes: FULL_BYTES,
  isPaused: false,
  nowMs: 60_000,
  triedMs: null,
};

test("a full volume asks for relief, and not again at once", () => {
  assert.equal(isReliefDue(full), true);
  assert.equal(isReliefDue({ ...full, triedMs: 59_000 }), false);
  assert.equal(isReliefDue({ ...full, triedMs: 40_000 }), true);
});

test("room, no measure yet, or an operator's pause: nothing is done", () => {
  assert.equal(isReliefDue({ ...full, freeBytes: FULL_BYTES }), false);
  assert.equal(isReliefDue({ ...full, freeBytes: null }), false);
  assert.equal(isReliefDue({ ...full, isPaused: true }), false);
});
