// L2: a log from which someone deleted is told from one that ends there (W1 says how far anybody can be ahead of a free position).

import assert from "node:assert/strict";
import { test } from "node:test";
import { noCipher } from "../../src/codec/encryption.ts";
import { LogDamagedError } from "../../src/tail/errors.ts";
import { BASE_PREFIX, baseKey, slotKey } from "../../src/tail/keys.ts";
import { readLog } from "../../src/tail/read.ts";
import { type BuiltLog, buildLog } from "../support/fuzz/built-log.ts";
import { MemoryStore } from "../support/memory-store.ts";

const signal = new AbortController().signal;
/** The second fence of the built log; behind it lie 16 positions that nobody reads. */
const FENCE = slotKey(19);

async function storeOf({ objects }: BuiltLog, isTaken: (key: string) => boolean): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const [key, bytes] of objects) if (isTaken(key)) await store.put(key, bytes, signal);
  return store;
}

const read = (store: MemoryStore, { identity }: BuiltLog): ReturnType<typeof readLog> =>
  readLog(store, { cipher: noCipher, signal, identity });

test("a fence that is gone is no end of the log", async () => {
  const built = await buildLog();
  const store = await storeOf(built, (key) => key !== FENCE);
  await assert.rejects(
    read(store, built),
    (error) =>
      error instanceof LogDamagedError &&
      error.message.includes(`object "${FENCE}" is missing and "${slotKey(35)}" is there`),
  );
});

test("a base that is gone is no beginning of an older log", async () => {
  const built = await buildLog();
  const store = await storeOf(built, (key) => !key.startsWith(BASE_PREFIX) && key !== slotKey(17));
  await assert.rejects(read(store, built), /someone deleted from the log/);
});

test("a slot within reach of a writer that was cut off is where the log ends", async () => {
  const built = await buildLog();
  const store = await storeOf(built, (key) => key !== slotKey(36));
  const view = await read(store, built);
  assert.equal(view?.firstFree, 36);
});

test("what a listing missed and then is there is read, and no damage", async () => {
  const built = await buildLog();
  class LateStore extends MemoryStore {
    listings = 0;
    override async *list(...args: Parameters<MemoryStore["list"]>): ReturnType<MemoryStore["list"]> {
      const isFirst = args[0] === "tail_v1/log/" && (this.listings += 1) === 1;
      for await (const info of super.list(...args)) if (!isFirst || info.key !== FENCE) yield info;
    }
  }
  const store = new LateStore();
  for (const [key, bytes] of built.objects) await store.put(key, bytes, signal);
  const view = await read(store, built);
  assert.equal(view?.firstFree, 38);
  assert.equal(view?.tip?.timeline, 2);
  assert.equal(store.listings, 2);
});

test("a base that came meanwhile explains what is gone", async () => {
  const built = await buildLog();
  const base = built.objects.get(baseKey(18))!;
  class BasedStore extends MemoryStore {
    bases = 0;
    // Both listings of the bases of the first reading miss it.
    override async *list(...args: Parameters<MemoryStore["list"]>): ReturnType<MemoryStore["list"]> {
      const isHidden = args[0] === BASE_PREFIX && (this.bases += 1) <= 2;
      if (!isHidden) yield* super.list(...args);
    }
  }
  const store = new BasedStore();
  for (const [key, bytes] of built.objects) if (key !== slotKey(17)) await store.put(key, bytes, signal);
  await store.put(baseKey(18), base, signal);
  const view = await read(store, built);
  assert.equal(view?.firstFree, 38);
});
