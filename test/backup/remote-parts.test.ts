// Parts that are filled from a stream: cut by size, all stored, and an upload that fails ends the work.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { PushedPart } from "../../src/backup/push-parts.ts";
import { RemoteParts } from "../../src/backup/remote-parts.ts";
import { readTar } from "../../src/backup/tar-part.ts";
import { collect, streamOf } from "../../src/base/bytes.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Method, decompress } from "../../src/codec/compression.ts";
import { cipherOf } from "../../src/codec/encryption.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import { MemoryStore } from "../support/memory-store.ts";

const BACKUP = "base_000000010000000000000002";
const never = (): AbortSignal => new AbortController().signal;
const member = (name: string, bytes: number) =>
  ({
    name,
    kind: "file",
    mode: 0o600,
    uid: 1,
    gid: 2,
    userName: "",
    groupName: "",
    bytes,
    mtimeSeconds: 1_700_000_000,
  }) as const;

for (const method of ["lz4", "zstd", "brotli", "lzma", "none"] satisfies Method[]) {
  test(`${method}: what went in comes out, in parts no larger than asked`, async () => {
    const store = new MemoryStore();
    const pushed: PushedPart[] = [];
    const tools = {
      store,
      compression: { method },
      cipherKey: { kind: "none" },
      log: silentLog,
      signal: never(),
    } as const;
    const sizes = [0, 1, 511, 512, 513, 700_000, 5_000_000, 300_000, 2, 900_000];
    {
      await using parts = new RemoteParts(BACKUP, { partBytes: 1_000_000, uploadQueue: 1 }, tools, (one) =>
        pushed.push(one),
      );
      for (const [index, bytes] of sizes.entries()) {
        await parts.begin(member(`/base/5/${index}`, bytes));
        for (let at = 0; at < bytes; at += 65_536)
          await parts.write(Buffer.alloc(Math.min(65_536, bytes - at), index + 1));
      }
      await parts.finish();
    }
    const seen = new Map<string, number>();
    for (const { part, members } of pushed) {
      const stored = store.objects.get(`basebackups_005/${BACKUP}/tar_partitions/${part.name}`)!.bytes;
      assert.equal(stored.byteLength, part.bytes);
      assert.equal(createHash("sha256").update(stored).digest("hex"), part.sha256);
      const sum = members.reduce((total, { bytes }) => total + bytes, 0);
      assert.ok(members.length === 1 || sum <= 1_000_000, `${part.name} has ${sum} bytes`);
      const cipher = await cipherOf({ kind: "none" });
      for await (const entry of readTar(decompress(method, cipher.decrypt(streamOf(stored))))) {
        const data = Buffer.from(await collect(entry.body));
        const index = Number(entry.name.slice("/base/5/".length));
        assert.ok(
          data.every((byte) => byte === index + 1),
          entry.name,
        );
        seen.set(entry.name, data.length);
      }
      assert.deepEqual(
        members.map(({ name, bytes }) => [name, bytes]),
        members.map(({ name }) => [name, seen.get(name)]),
      );
    }
    const found = sizes.map((_, index) => seen.get(`/base/5/${index}`));
    assert.deepEqual(found, sizes);
    assert.ok(pushed.length >= 4, `${pushed.length} parts`);
  });
}

test("an upload that fails is told to who fills the parts, and nothing hangs", async () => {
  const refused = new StoreError("refused", "no more");
  const store = new MemoryStore();
  const failing = {
    async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
      if (key.includes("part_002")) throw refused;
      await store.put(key, body, signal);
    },
  };
  const tools = {
    store: failing,
    compression: { method: "lz4" },
    cipherKey: { kind: "none" },
    log: silentLog,
    signal: never(),
  } as const;
  await using parts = new RemoteParts(
    BACKUP,
    { partBytes: 1_000_000, uploadQueue: 1 },
    tools,
    () => undefined,
  );
  const filling = async (): Promise<void> => {
    for (let index = 0; index < 10; index += 1) {
      await parts.begin(member(`/base/5/${index}`, 8 << 20));
      for (let at = 0; at < 8 << 20; at += 65_536) await parts.write(Buffer.alloc(65_536, at & 0xff));
    }
    await parts.finish();
  };
  await assert.rejects(filling(), refused);
});

test("an abort ends the filling while the store takes nothing", async () => {
  const stuck = {
    async put(_key: string, _body: unknown, signal: AbortSignal): Promise<void> {
      await new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      });
    },
  };
  const stop = new AbortController();
  const tools = {
    store: stuck,
    compression: { method: "none" },
    cipherKey: { kind: "none" },
    log: silentLog,
    signal: stop.signal,
  } as const;
  await using parts = new RemoteParts(BACKUP, { partBytes: 1e9, uploadQueue: 1 }, tools, () => undefined);
  await parts.begin(member("/base/5/1", 64 << 20));
  const filling = (async () => {
    for (;;) await parts.write(Buffer.alloc(65_536));
  })();
  setImmediate(() => stop.abort(new Error("enough")));
  await assert.rejects(filling, /enough/);
});
