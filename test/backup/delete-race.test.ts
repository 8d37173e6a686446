// A delta that is finished while its base is being deleted: whatever the order of their steps, no delta stands without its base.

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBackupMetadata, metadataOfSentinel } from "../../src/backup/backup-metadata.ts";
import { manifestKey, metadataKey, sentinelKey } from "../../src/backup/backup-name.ts";
import { listBackups, readSentinel } from "../../src/backup/catalog.ts";
import { executeDeletion } from "../../src/backup/delete.ts";
import { type FinishTools, SentinelUnknownError, pushDescription } from "../../src/backup/push-finish.ts";
import { type DeltaOrigin, type Sentinel, formatSentinel } from "../../src/backup/sentinel.ts";
import { silentLog } from "../../src/base/log.ts";
import { cipherOf } from "../../src/codec/encryption.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { sentinelWith } from "../support/sentinels.ts";

const FULL = "base_000000010000000000000002";
const FIRST = "base_000000010000000000000004_D_000000010000000000000002";
const SECOND = "base_000000010000000000000006_D_000000010000000000000004";
const START = { [FULL]: "0/2000028", [FIRST]: "0/4000028", [SECOND]: "0/6000028" } as const;
const never = (): AbortSignal => new AbortController().signal;

function sentinelOf(name: keyof typeof START, from: keyof typeof START | null): Sentinel {
  const delta: DeltaOrigin | null =
    from === null ? null : { lsn: parseLsn(START[from]), from, fullName: FULL, count: from === FULL ? 1 : 2 };
  const at = parseLsn(START[name]);
  return sentinelWith({ startLsn: at, finishLsn: at, delta, hasNoFilesMetadata: true });
}

/** A store with a full backup and a delta on it. */
async function bucket(): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const sentinel of [sentinelOf(FULL, null), sentinelOf(FIRST, FULL)]) {
    const name = sentinel.delta === null ? FULL : FIRST;
    const put = (key: string, text: string): Promise<void> => store.put(key, Buffer.from(text), never());
    await put(metadataKey(name), formatBackupMetadata(metadataOfSentinel(sentinel)));
    await put(sentinelKey(name), formatSentinel(sentinel));
  }
  return store;
}

const PLAN = {
  sentinels: [sentinelKey(FIRST), sentinelKey(FULL)],
  objects: [metadataKey(FIRST), metadataKey(FULL)],
  marks: [],
  wal: [],
};
const remove = (store: MemoryStore): Promise<number> =>
  executeDeletion(PLAN, store, { log: silentLog, signal: never() });

async function complete(store: MemoryStore): Promise<void> {
  const tools: FinishTools = {
    store,
    codec: { compression: { method: "none" }, cipher: await cipherOf({ kind: "none" }) },
    signal: never(),
  };
  const sentinel = sentinelOf(SECOND, FIRST);
  await pushDescription({ name: SECOND, sentinel, files: null, parts: [], source: null }, tools);
}

const namesIn = async (store: MemoryStore): Promise<string[]> =>
  (await listBackups(store, never())).map(({ name }) => name).toSorted((a, b) => (a < b ? -1 : 1));

test("a base that is gone when the delta ends is named, and there is no delta", async () => {
  for (const gone of [FIRST, FULL]) {
    const store = await bucket();
    await store.delete([sentinelKey(gone)], never());
    await assert.rejects(complete(store), (error: Error & { code: string }) => {
      assert.equal(error.code, "BACKUP_BASE_GONE");
      assert.ok(error.message.includes(`"${gone}"`), error.message);
      assert.ok(error.message.includes(`"${SECOND}"`), error.message);
      return true;
    });
    assert.ok(!(await namesIn(store)).includes(SECOND));
  }
});

test("a base that goes while the sentinel is written takes the delta with it", async () => {
  const store = await bucket();
  const put = store.put.bind(store);
  store.put = async (key, body, signal) => {
    if (key === sentinelKey(SECOND)) await remove(store);
    await put(key, body, signal);
  };
  await assert.rejects(complete(store), { code: "BACKUP_BASE_GONE" });
  assert.deepEqual(await namesIn(store), []);
});

test("a store that does not answer the last look leaves the backup standing, and says so", async () => {
  const store = await bucket();
  const put = store.put.bind(store);
  store.put = async (key, body, signal) => {
    await put(key, body, signal);
    if (key === sentinelKey(SECOND)) store.get = () => Promise.reject(new Error("no answer"));
  };
  await assert.rejects(complete(store), SentinelUnknownError);
  assert.deepEqual(await namesIn(store), [FULL, FIRST, SECOND]);
});

test("a delta that appears while its base is deleted gets it back, and nothing else is removed", async () => {
  const store = await bucket();
  const drop = store.delete.bind(store);
  let isPushed = false;
  store.delete = async (keys, signal) => {
    // The delta's last look happens before the first sentinel goes, its sentinel is visible only after the last.
    if (keys.includes(sentinelKey(FULL)) && !isPushed) {
      isPushed = true;
      await store.put(sentinelKey(SECOND), Buffer.from(formatSentinel(sentinelOf(SECOND, FIRST))), never());
    }
    await drop(keys, signal);
  };
  await assert.rejects(remove(store), (error: Error & { code: string; hint: string }) => {
    assert.equal(error.code, "DELETE_RACE");
    assert.ok(error.message.includes(SECOND) && error.message.includes(FIRST), error.message);
    assert.match(error.hint, /put back/);
    return true;
  });
  assert.deepEqual(await namesIn(store), [FULL, FIRST, SECOND]);
  assert.equal((await readSentinel(store, FIRST, never())).delta?.from, FULL);
  for (const name of [FULL, FIRST]) assert.ok(store.objects.has(metadataKey(name)), name);
});

test("every interleaving of a delta's last steps with a deletion leaves whole chains only", async () => {
  for (let pushAt = 0; pushAt <= 12; pushAt += 1) {
    const store = await bucket();
    let calls = 0;
    const completing: Promise<unknown>[] = [];
    const [drop, get] = [store.delete.bind(store), store.get.bind(store)];
    const step = (): void => {
      if (calls === pushAt) completing.push(complete(store).catch((error: unknown) => error));
      calls += 1;
    };
    store.delete = async (keys, signal) => {
      step();
      await Promise.resolve();
      await drop(keys, signal);
    };
    store.get = async (key, signal, range) => {
      step();
      await Promise.resolve();
      return get(key, signal, range);
    };
    await remove(store).catch((error: { code?: string }) => assert.equal(error.code, "DELETE_RACE"));
    await Promise.all(completing);
    const left = await namesIn(store);
    if (left.includes(SECOND)) {
      assert.deepEqual(left, [FULL, FIRST, SECOND], `pushed at call ${pushAt}`);
      for (const name of left) assert.ok(name === SECOND || store.objects.has(metadataKey(name)), name);
      assert.ok(store.objects.has(manifestKey(SECOND)));
    }
  }
});
