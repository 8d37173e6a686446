import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { StoreError, readWhole } from "../../src/storage/object-store.ts";
import { FaultyStore, NO_FAULTS } from "../support/faulty-store.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { objectStoreSuite } from "../support/object-store-suite.ts";
import { drawSeed, makeRandom } from "../support/random.ts";

const never = new AbortController().signal;
const tools = (seed: number) => ({ random: makeRandom(seed), clock: systemClock, delayMs: 3, lateMs: 5 });

objectStoreSuite("faulty without faults", async () => new FaultyStore(new MemoryStore(), {}, tools(1)));

test("every fault ends in `unknown`, and only requests that arrive take effect", async () => {
  const seed = drawSeed();
  const inner = new MemoryStore();
  const rates = {
    delay: 0.3,
    lostRequest: 0.1,
    lostReply: 0.1,
    late: 0.1,
    busy: 0.1,
    conflict: 0.1,
    duplicate: 0.1,
  };
  const store = new FaultyStore(inner, { ...rates, brokenRead: 0.2 }, tools(seed));
  for (let i = 0; i < 400; i += 1) {
    const key = `k/${i % 50}`;
    const outcome = await store.create(key, Buffer.from(`${i}`), never).catch((error: unknown) => {
      assert.ok(error instanceof StoreError && error.kind === "unknown", `seed ${seed}: ${String(error)}`);
      return "unknown";
    });
    if (outcome !== "unknown")
      assert.ok(inner.objects.has(key), `seed ${seed}: ${outcome} without an object`);
    const got = await store.get(key, never).catch(() => null);
    if (got !== null) await readWhole(got).catch((error: unknown) => assert.ok(error instanceof StoreError));
  }
  await store.settled();
  for (const fault of Object.keys(NO_FAULTS)) {
    assert.ok(store.happened.has(fault as keyof typeof NO_FAULTS), `seed ${seed}: no ${fault} in 400 rounds`);
  }
});

test("an unreachable store has no effect", async () => {
  const inner = new MemoryStore();
  const store = new FaultyStore(inner, {}, tools(2));
  store.reachable = false;
  await assert.rejects(store.put("x", Buffer.from("1"), never), StoreError);
  await assert.rejects(store.head("x", never), StoreError);
  assert.equal(inner.objects.size, 0);
  store.reachable = true;
  await store.put("x", Buffer.from("1"), never);
  assert.equal(inner.objects.size, 1);
});
