import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import type { Method } from "../../src/codec/compression.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import { PublishConflictError } from "../../src/tail/errors.ts";
import { type PublishTools, fetchPublished, findPublished, publishObject } from "../../src/tail/publish.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { overriding } from "../support/log-bench.ts";

const NAME = "000000010000000000000010";
const bytes = Buffer.from("WAL ".repeat(5_000));
const tools = (store: PublishTools["store"], signal: AbortSignal, method: Method = "lz4"): PublishTools => ({
  store,
  codec: { compression: { method }, cipher: noCipher },
  fencing: "conditional",
  clock: systemClock,
  log: silentLog,
  signal,
  random: () => 0,
});

for (const [method, key] of [
  ["lz4", `${NAME}.lz4`],
  ["zstd", `${NAME}.zst`],
  ["brotli", `${NAME}.br`],
  ["none", NAME],
] as const) {
  test(`a segment under ${method} is WAL-G's ${key.slice(24) || "bare name"} and read back`, async (t) => {
    const store = new MemoryStore();
    assert.equal(await publishObject(NAME, bytes, true, tools(store, t.signal, method)), "created");
    assert.deepEqual([...store.objects.keys()], [`wal_005/${key}`]);
    const preferred = "lz4";
    assert.deepEqual(
      Buffer.from((await fetchPublished(store, NAME, { cipher: noCipher, preferred }, t.signal))!),
      bytes,
    );
  });
}

test("the same bytes under another codec are the same (P1)", async (t) => {
  const store = new MemoryStore();
  await publishObject(NAME, bytes, true, tools(store, t.signal, "zstd"));
  assert.equal(await publishObject(NAME, bytes, true, tools(store, t.signal, "lz4")), "same");
  assert.equal(store.objects.size, 1);
});

test("the same bytes at another level of compression are the same", async (t) => {
  const store = new MemoryStore();
  const best = tools(store, t.signal, "zstd");
  await publishObject(NAME, bytes, false, {
    ...best,
    codec: { ...best.codec, compression: { method: "zstd", zstdLevel: "best" } },
  });
  assert.equal(await publishObject(NAME, bytes, false, tools(store, t.signal, "zstd")), "same");
});

test("other bytes are never overwritten: an alarm", async (t) => {
  const store = new MemoryStore();
  await publishObject(NAME, bytes, true, tools(store, t.signal));
  for (const listFirst of [true, false]) {
    await assert.rejects(
      publishObject(NAME, Buffer.from("other"), listFirst, tools(store, t.signal)),
      (error) => error instanceof PublishConflictError && error.message.includes(`wal_005/${NAME}.lz4`),
    );
  }
  assert.deepEqual(Buffer.from((await fetchPublished(store, NAME, { cipher: noCipher }, t.signal))!), bytes);
});

test("an unknown outcome is repeated with the same bytes", async (t) => {
  const memory = new MemoryStore();
  const sent: Uint8Array[] = [];
  const store = overriding(memory, {
    create: async (key, body, signal) => {
      sent.push(body);
      if (sent.length === 1) {
        await memory.create(key, body, signal);
        throw new StoreError("unknown", "no answer");
      }
      return memory.create(key, body, signal);
    },
  });
  assert.equal(await publishObject(NAME, bytes, false, tools(store, t.signal)), "same");
  assert.equal(sent.length, 2);
  assert.deepEqual(sent[0], sent[1]);
});

test("names that only begin alike are not the object", async (t) => {
  const store = new MemoryStore();
  for (const name of [`${NAME}.partial.lz4`, `${NAME}.00000028.backup.lz4`, `${NAME}0`, `${NAME}.`]) {
    await store.put(`wal_005/${name}`, bytes, t.signal);
  }
  assert.equal(await findPublished(store, NAME, t.signal), null);
  assert.equal(await fetchPublished(store, NAME, { cipher: noCipher }, t.signal), null);
  assert.equal((await findPublished(store, `${NAME}.partial`, t.signal))?.method, "lz4");
});
