import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { type ObjectStore, StoreError } from "../../src/storage/object-store.ts";
import { PROBE_PREFIX, type ProbeOutcome, probeStore } from "../../src/storage/probe.ts";
import { FaultyStore } from "../support/faulty-store.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { makeRandom } from "../support/random.ts";

const never = new AbortController().signal;
const probe = (store: ObjectStore): Promise<ProbeOutcome> =>
  probeStore(store, { token: "0123456789abcdef", nowMs: Date.now(), signal: never });

/** Stores that are wrong in the ways real servers are. */
class Overwriting extends MemoryStore {
  override async create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    await this.put(key, body, signal);
    return "created";
  }
}

class Lying extends MemoryStore {
  override async create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    const there = this.objects.has(key);
    await this.put(key, body, signal);
    return there ? "exists" : "created";
  }
}

class IgnoringTags extends MemoryStore {
  override async replace(key: string, body: Uint8Array, _: string, signal: AbortSignal): Promise<"replaced"> {
    await this.put(key, body, signal);
    return "replaced";
  }
}

class LookingFirst extends MemoryStore {
  override async create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    if ((await this.head(key, signal)) !== null) return "exists";
    await systemClock.sleep(1);
    await this.put(key, body, signal);
    return "created";
  }
}

class Unimplemented extends MemoryStore {
  override async create(): Promise<never> {
    throw new StoreError("refused", "501 NotImplemented", { status: 501 });
  }
}

const unfit: readonly (readonly [string, MemoryStore, RegExp])[] = [
  ["overwrites", new Overwriting(), /made an object a second time/],
  ["says that it exists and overwrites", new Lying(), /overwrites it all the same/],
  ["ignores If-Match", new IgnoringTags(), /though the tag was wrong/],
  ["looks first and writes then", new LookingFirst(), /of 8 writers at once 8 made the same object/],
  ["knows no conditional writes", new Unimplemented(), /501/],
];

for (const [what, store, because] of unfit) {
  test(`a store that ${what} is found out`, async () => {
    const outcome = await probe(store);
    assert.equal(outcome.kind, "unconditional");
    assert.match("because" in outcome ? outcome.because : "", because);
  });
}

test("a sound store passes, and nothing stays behind", async () => {
  const store = new MemoryStore();
  await store.put("wal_005/x", Buffer.from("x"), never);
  assert.deepEqual(await probe(store), { kind: "conditional" });
  assert.deepEqual([...store.objects.keys()], ["wal_005/x"]);
});

test("what a killed probe left an hour ago is removed, a younger one's is not", async () => {
  const store = new MemoryStore("memory://test", () => Date.now() - 7_200_000);
  await store.put(`${PROBE_PREFIX}old-one`, Buffer.from("x"), never);
  const young = new MemoryStore();
  await young.put(`${PROBE_PREFIX}young-one`, Buffer.from("x"), never);
  for (const [key, object] of young.objects) store.objects.set(key, object);
  await probe(store);
  assert.deepEqual([...store.objects.keys()], [`${PROBE_PREFIX}young-one`]);
});

test("no answer is `away`, a clear no is `refused`", async () => {
  const away = new FaultyStore(new MemoryStore(), {}, { random: makeRandom(1), clock: systemClock });
  away.reachable = false;
  assert.equal((await probe(away)).kind, "away");
  class Forbidden extends MemoryStore {
    override async create(): Promise<never> {
      throw new StoreError("refused", "403 AccessDenied", { status: 403 });
    }
  }
  assert.equal((await probe(new Forbidden())).kind, "refused");
});
