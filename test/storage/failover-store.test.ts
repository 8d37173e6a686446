import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { FailoverStore } from "../../src/storage/failover-store.ts";
import { type ObjectInfo, type ObjectStore, StoreError, readWhole } from "../../src/storage/object-store.ts";
import { FaultyStore } from "../support/faulty-store.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { objectStoreSuite } from "../support/object-store-suite.ts";
import { makeRandom } from "../support/random.ts";

const never = new AbortController().signal;
const options = { clock: systemClock, log: silentLog, checkTimeoutMs: 200 };

objectStoreSuite("failover", async () => pair().store, { bulk: false });

test("writes go to the first, and to the second while the first is down", async () => {
  const { store, first, second } = pair();
  await store.put("a", Buffer.from("1"), never);
  first.reachable = false;
  await assert.rejects(store.put("b", Buffer.from("2"), never), unknown); // it may have arrived: the caller repeats
  await store.put("b", Buffer.from("2"), never);
  first.reachable = true;
  await store.put("c", Buffer.from("3"), never); // one run stays with what it found
  assert.deepEqual(await keysOf(second), ["b", "c"]);
  const later = new FailoverStore(members(first, second), options);
  await later.put("d", Buffer.from("4"), never);
  assert.deepEqual(await keysOf(first), ["a", "d"]);
});

test("reads see the union, and of two objects with one key the first store's", async () => {
  const { store, first, second } = pair();
  for (const key of ["a", "c", "x"]) await first.put(key, Buffer.from("first"), never);
  for (const key of ["b", "c", "d"]) await second.put(key, Buffer.from("second"), never);
  assert.deepEqual(await keysOf(store), ["a", "b", "c", "d", "x"]);
  const texts = await Promise.all(["a", "b", "c"].map((key) => textOf(store, key)));
  assert.deepEqual(texts, ["first", "second", "first"]);
  assert.equal(await store.head("nothing", never), null);
  for await (const { key } of store.list("", never)) {
    assert.equal(key, "a");
    break;
  }
});

test("while a store is down, what the other holds is served, and absence is not claimed", async () => {
  const { store, first, second } = pair();
  await first.put("a", Buffer.from("1"), never);
  await second.put("b", Buffer.from("2"), never);
  first.reachable = false;
  assert.equal(await textOf(store, "b"), "2");
  assert.deepEqual(await keysOf(store), ["b"]);
  await assert.rejects(store.head("a", never), unknown);
  await assert.rejects(
    store.get("nothing", never),
    /is in no storage that answers; storage "default" does not/,
  );
});

test("a store that falls silent in the middle is left out from then on", async () => {
  const { store, first, second } = pair();
  await second.put("b", Buffer.from("2"), never);
  assert.equal(await store.head("x", never), null);
  first.reachable = false;
  assert.equal(await textOf(store, "b"), "2");
  await store.put("c", Buffer.from("3"), never);
  assert.deepEqual(await keysOf(second), ["b", "c"]);
});

test("a silent store is given up after the time set", async () => {
  class Silent extends MemoryStore {
    override async *list(prefix: string, signal: AbortSignal): AsyncGenerator<ObjectInfo> {
      await systemClock.sleep(60_000, signal);
      yield* super.list(prefix, signal);
    }
  }
  const second = new MemoryStore();
  const store = new FailoverStore(members(new Silent(), second), options);
  const begun = performance.now();
  await store.put("a", Buffer.from("1"), never);
  assert.ok(performance.now() - begun < 2000);
  assert.deepEqual([...second.objects.keys()], ["a"]);
});

test("with every store down the error names each and why", async () => {
  const { store, first, second } = pair();
  first.reachable = second.reachable = false;
  await assert.rejects(store.put("a", Buffer.from("1"), never), /no storage answers; .*"default".*"second"/);
});

test("a delete that a store did not take is an error", async () => {
  const { store, first, second } = pair();
  await first.put("a", Buffer.from("1"), never);
  await second.put("a", Buffer.from("1"), never);
  first.reachable = false;
  await assert.rejects(store.delete(["a"], never), unknown);
  first.reachable = true;
  await store.delete(["a"], never);
  assert.deepEqual(await keysOf(first), []);
});

function pair(): { store: FailoverStore; first: FaultyStore; second: FaultyStore } {
  const tools = { random: makeRandom(1), clock: systemClock };
  const [first, second] = [
    new FaultyStore(new MemoryStore(), {}, tools),
    new FaultyStore(new MemoryStore(), {}, tools),
  ];
  return { store: new FailoverStore(members(first, second), options), first, second };
}

const members = (first: ObjectStore, second: ObjectStore) => [
  { name: "default", store: first },
  { name: "second", store: second },
];

const unknown = (error: unknown): boolean => error instanceof StoreError && error.kind === "unknown";

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("", never)) keys.push(key);
  return keys;
}

async function textOf(store: ObjectStore, key: string): Promise<string> {
  return String(Buffer.from(await readWhole((await store.get(key, never))!)));
}
