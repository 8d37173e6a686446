// wal_005: what its names mean, and how many requests a file costs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { listWal, parseWalObject, WalCatalog } from "../../src/archive/wal-catalog.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import type { ReadMethod } from "../../src/codec/compression.ts";
import { seal, walObjectName } from "../../src/codec/seal.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { MemoryStore } from "../support/memory-store.ts";

const BYTES = 1 << 20;
const NAME = "000000010000000000000007";
const signal = AbortSignal.timeout(30_000);

const names = [
  { key: `${NAME}.lz4`, name: NAME, kind: "segment", method: "lz4" },
  { key: `${NAME}.zst`, name: NAME, kind: "segment", method: "zstd" },
  { key: NAME, name: NAME, kind: "segment", method: "none" },
  { key: `${NAME}.`, name: NAME, kind: "segment", method: "none" },
  { key: `${NAME}.partial.br`, name: `${NAME}.partial`, kind: "partial", method: "brotli" },
  { key: `${NAME}.partial`, name: `${NAME}.partial`, kind: "partial", method: "none" },
  { key: `${NAME}.00000028.backup.lzma`, name: `${NAME}.00000028.backup`, kind: "backup", method: "lzma" },
  { key: "00000002.history.gz", name: "00000002.history", kind: "history", method: "gzip" },
  { key: "00000002.history", name: "00000002.history", kind: "history", method: "none" },
] as const;

for (const { key, name, kind, method } of names) {
  test(`"${key}" is a ${kind} in ${method}`, () => {
    const object = parseWalObject({ key: `wal_005/${key}`, bytes: 1, modifiedMs: 0, etag: "" }, BYTES);
    assert.equal(object?.name, name);
    assert.equal(object.meaning.kind, kind);
    assert.equal(object.method, method);
  });
}

for (const key of [
  `${NAME}.json`,
  `${NAME}_delta.lz4`,
  "x",
  `${NAME}.lz4.tmp`,
  "0000000100000000000000.lz4",
]) {
  test(`"${key}" is foreign`, () => {
    assert.equal(parseWalObject({ key: `wal_005/${key}`, bytes: 1, modifiedMs: 0, etag: "" }, BYTES), null);
  });
}

/** A store that counts what it is asked. */
function counting(store: ObjectStore): { store: Pick<ObjectStore, "get" | "list">; requests: string[] } {
  const requests: string[] = [];
  return {
    requests,
    store: {
      get: (key, ...rest) => {
        requests.push(`GET ${key}`);
        return store.get(key, ...rest);
      },
      list: (prefix, ...rest) => {
        requests.push(`LIST ${prefix}`);
        return store.list(prefix, ...rest);
      },
    },
  };
}

async function put(store: ObjectStore, name: string, bytes: Uint8Array, method: ReadMethod): Promise<void> {
  assert.ok(method !== "gzip" && method !== "lzo");
  const sealed = await seal(bytes, { compression: { method }, cipher: noCipher });
  await store.put(`wal_005/${walObjectName(name, method)}`, sealed, signal);
}

const content = new Uint8Array(BYTES).fill(7);

test("a segment in the usual codec costs one request, a missing one two, another codec three and then one", async () => {
  const memory = new MemoryStore();
  await put(memory, NAME, content, "lz4");
  await put(memory, "000000010000000000000008", content, "zstd");
  await put(memory, "000000010000000000000009", content, "none");
  const { store, requests } = counting(memory);
  const catalog = new WalCatalog({ store, cipher: noCipher, segmentBytes: BYTES });
  const cost = async (name: string): Promise<number> => {
    requests.length = 0;
    await catalog.read(name, signal);
    return requests.length;
  };
  assert.equal(await cost(NAME), 1);
  assert.equal(await cost("00000001000000000000000A"), 2);
  assert.equal(await cost("000000010000000000000008"), 3);
  assert.equal(await cost("000000010000000000000008"), 1);
  assert.equal(await cost("000000010000000000000009"), 3);
  assert.equal(await cost("000000010000000000000009"), 1);
  assert.equal(await catalog.read("00000001000000000000000A", signal), null);
});

test("a copy that cannot be read gives way to another codec's, and is an error when it is the last", async () => {
  const store = new MemoryStore();
  await put(store, NAME, content, "zstd");
  const catalog = new WalCatalog({ store, cipher: noCipher, segmentBytes: BYTES });
  await store.put(`wal_005/${NAME}.lz4`, new Uint8Array(0), signal);
  assert.ok(Buffer.from(content).equals((await catalog.read(NAME, signal))!.bytes));
  const refuse = (): never => {
    throw new RangeError("not this one");
  };
  await assert.rejects(catalog.read(NAME, signal, refuse), /not this one/);
  await store.delete([`wal_005/${NAME}.zst`], signal);
  await assert.rejects(catalog.read(NAME, signal), {
    name: "WalFileDamagedError",
    message: /^"wal_005\/0000.*" in the archive is damaged: /,
  });
});

test("a listing leaves foreign names out and can begin behind a name", async () => {
  const store = new MemoryStore();
  for (const key of [`${NAME}.lz4`, `${NAME}.json`, "000000010000000000000008.lz4", "notes.txt"]) {
    await store.put(`wal_005/${key}`, content, signal);
  }
  const names = async (after?: string): Promise<string[]> => {
    const found: string[] = [];
    const options = after === undefined ? {} : { after };
    for await (const { name } of listWal(store, BYTES, signal, options)) found.push(name);
    return found;
  };
  assert.deepEqual(await names(), [NAME, "000000010000000000000008"]);
  assert.deepEqual(await names(`${NAME}.lz4`), ["000000010000000000000008"]);
});
