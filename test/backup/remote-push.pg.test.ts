// A backup over the replication protocol: WAL-G's structure, the same rows back, and honest ends when something fails.

import assert from "node:assert/strict";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { listBackups } from "../../src/backup/catalog.ts";
import { messageOf } from "../../src/base/errors.ts";
import type { Progress } from "../../src/base/progress.ts";
import { type Log, silentLog } from "../../src/base/log.ts";
import { cipherOf, readCipherKey } from "../../src/codec/encryption.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import {
  PLAIN,
  type Sealing,
  addressOf,
  archived,
  backupSource,
  churn,
  dump,
  fill,
  never,
  push,
  pushRemotely,
} from "../support/backup-source.ts";
import { assertRestores } from "../support/assert-restores.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { postgresMajor, scratchFolder } from "../support/scratch-postgres.ts";
import { fixtureCipher } from "../support/walg-fixtures.ts";
import { checkBackup } from "../support/walg-structure-checker.ts";

const major = await postgresMajor();

const isWhole = process.env["HOLDFAST_LONG"] !== undefined;
const SEALINGS = [
  ["lz4", null],
  ["zstd", "pg17-libsodium-hex"],
  ["brotli", "pg17-openpgp-ecc"],
  ["lzma", null],
  ["none", null],
] as const;

test(`Postgres ${major}: a remote backup and a delta on it restore to the same rows`, async (t) => {
  const { server, archive } = await backupSource();
  await using source = server;
  await fill(source, true);
  for (const [method, cipher] of SEALINGS.slice(0, isWhole ? SEALINGS.length : 2)) {
    await t.test(`${method}, ${cipher ?? "plain"}`, async () => {
      await using work = await scratchFolder("remote-push");
      const store = await openFolderStore(join(work.path, "store"), { create: true });
      const sealing: Sealing = {
        compression: { method },
        cipherKey: cipher === null ? { kind: "none" } : await readCipherKey(fixtureCipher(cipher)),
      };
      const expected = { method, cipher: await cipherOf(sealing.cipherKey), segmentBytes: 1 << 20 };
      const seen: Progress[] = [];
      const full = await pushRemotely(
        source,
        store,
        sealing,
        { thresholdBytes: 3 << 20, userData: { from: "afar" } },
        { onProgress: (progress) => seen.push(progress) },
      );
      assert.ok(full.parts.length > 4, `${full.parts.length} parts`);
      const end = seen.at(-1);
      assert.ok(end !== undefined && end.remainingMs === 0 && end.doneBytes > 10 << 20, JSON.stringify(end));
      assert.deepEqual(full.sentinel.spec?.tablespaces.length, 2);
      const checkedFull = await checkBackup(join(work.path, "store"), full.name, expected, null);
      const names = [...checkedFull.members.keys()];
      assert.ok(
        names.some((name) => name.startsWith("/pg_tblspc/")),
        "tablespaces are in it",
      );
      await source.psql("drop table if exists fresh_1");
      await churn(source, 1);
      const delta = await push(source, store, sealing, { maxSteps: 1, thresholdBytes: 3 << 20 });
      const checked = await checkBackup(join(work.path, "store"), delta.name, expected, checkedFull);
      const entries = Object.values(checked.files ?? {});
      assert.ok(
        entries.some(({ IsIncremented }) => IsIncremented),
        "a delta on it holds increments",
      );
      const truth = await dump(source);
      await archived(source);
      for (const { name } of [full, delta]) await assertRestores(store, name, { sealing, archive, truth });
    });
  }
});

test(`Postgres ${major}: what the server does not send whole, or the store does not take, leaves nothing behind`, async (t) => {
  const { server } = await backupSource();
  await using source = server;
  await fill(source, false);
  const running = async (): Promise<string> =>
    source.psql("select count(*) from pg_stat_progress_basebackup");
  const idle = async (): Promise<void> => {
    while ((await running()) !== "0") await delay(50);
  };

  await t.test("a store that refuses a part", async () => {
    const store = new MemoryStore();
    const put = store.put.bind(store);
    store.put = async (key, body, signal) => {
      if (key.includes("part_003")) throw new StoreError("refused", "no more room in the bucket");
      await put(key, body, signal);
    };
    await assert.rejects(
      pushRemotely(source, store, PLAIN, { thresholdBytes: 1 << 20 }),
      /no more room in the bucket/,
    );
    assert.deepEqual([...store.objects.keys()], []);
    await idle();
  });

  await t.test("an abort in the middle", async () => {
    const store = new MemoryStore();
    const stop = new AbortController();
    const put = store.put.bind(store);
    store.put = async (key, body, signal) => {
      if (key.includes("part_003")) stop.abort(new Error("stopped by the test"));
      await put(key, body, signal);
    };
    await assert.rejects(
      pushRemotely(source, store, PLAIN, { thresholdBytes: 1 << 20 }, { signal: stop.signal }),
      /stopped by the test/,
    );
    assert.deepEqual([...store.objects.keys()], []);
    await idle();
  });

  await t.test("a walsender that is ended", async () => {
    const store = new MemoryStore();
    const put = store.put.bind(store);
    store.put = async (key, body, signal) => {
      if (key.includes("part_002"))
        await source.psql("select pg_terminate_backend(pid) from pg_stat_progress_basebackup");
      await put(key, body, signal);
    };
    await assert.rejects(pushRemotely(source, store, PLAIN, { thresholdBytes: 1 << 20 }));
    assert.deepEqual(await listBackups(store, never()), []);
  });

  await t.test("a role that may replicate and read settings is enough", async () => {
    await source.psql("create role keeper login replication; grant pg_read_all_settings to keeper");
    const store = new MemoryStore();
    const as = { ...addressOf(source), user: "keeper" };
    const { name, sentinel } = await pushRemotely(source, store, PLAIN, {}, { server: as });
    assert.deepEqual(
      (await listBackups(store, never())).map((entry) => entry.name),
      [name],
    );
    assert.equal(sentinel.dataDirectory, source.dataDirectory);
  });

  await t.test("a role that may not is refused in the server's words", async () => {
    await source.psql("create role stranger login");
    const as = { ...addressOf(source), user: "stranger" };
    await assert.rejects(
      pushRemotely(source, new MemoryStore(), PLAIN, {}, { server: as }),
      (error: Error) => {
        assert.match(messageOf(error), /permission denied|must be superuser or replication role/); // as of 16, before
        return true;
      },
    );
  });

  await t.test("the next push is right", async () => {
    const store = new MemoryStore();
    const { name } = await pushRemotely(source, store, PLAIN);
    assert.deepEqual(
      (await listBackups(store, never())).map((entry) => entry.name),
      [name],
    );
  });
});

test(`Postgres ${major}: pages with a wrong checksum are named, and kept as they are`, async () => {
  const { server } = await backupSource({ conf: ["lc_messages = 'C'"] });
  await using source = server;
  await fill(source, true);
  const paths = (
    await source.psql("select pg_relation_filepath('wide'), pg_relation_filepath('doomed')")
  ).split("|");
  await source.stop();
  for (const [index, path] of paths.entries()) {
    await using file = await open(join(source.dataDirectory, path), "r+");
    for (let page = 0; page <= index; page += 1)
      await file.write(Buffer.from("damage"), 0, 6, page * 8192 + 4000);
  }
  await source.start();
  const errors: unknown[] = [];
  const log: Log = { ...silentLog, error: (_message, fields) => void errors.push(fields?.["file"]) };
  const store = new MemoryStore();
  const { corrupt, name } = await pushRemotely(source, store, PLAIN, {}, { log });
  const names = paths.map((path) => `/${path}`).sort();
  assert.deepEqual([...corrupt.keys()].sort(), names);
  assert.deepEqual(new Set(errors), new Set(names));
  const files = Buffer.from(
    store.objects.get(`basebackups_005/${name}/files_metadata.json`)!.bytes,
  ).toString();
  assert.match(files, /"CorruptBlocksCount":[1-9]/);
  const silent = await pushRemotely(source, new MemoryStore(), PLAIN, { verifiesPages: false });
  assert.equal(silent.corrupt.size, 0);
});
