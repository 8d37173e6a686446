// Failover storages: reads look in all, writes go to the first that answers, nothing is called absent while one is silent.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { openBucket } from "../support/walg-buckets.ts";
import { callWalg, type CallResult } from "../support/call-walg.ts";

describe("failover storages", () => {
  let root: string;
  let config: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "walg-failover-"));
    await mkdir(join(root, "a"));
    await mkdir(join(root, "b"));
    config = join(root, "walg.yaml");
    await writeFile(
      config,
      `WALG_FILE_PREFIX: ${root}/a\nWALG_PG_WAL_SIZE: "1"   # MiB\nWALG_FAILOVER_STORAGES:\n  second:\n    WALG_FILE_PREFIX: ${root}/b\n`,
    );
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const call = (...args: string[]): Promise<CallResult> =>
    callWalg([...args, "--config", config], { WALG_DOWNLOAD_CONCURRENCY: "1" });

  test("lists name the storage, and --target-storage takes one", async () => {
    for (const [folder, name] of [
      ["a", "base_000000010000000000000002"],
      ["b", "base_000000010000000000000005"],
    ] as const) {
      await mkdir(join(root, folder, "basebackups_005"));
      await writeFile(join(root, folder, "basebackups_005", `${name}_backup_stop_sentinel.json`), "{}");
    }
    const all = await call("backup-list");
    assert.equal(all.exit, 0, all.stderr);
    assert.match(all.stderr, /List backups from storages: \[default second\]/);
    assert.match(
      all.stdout,
      /base_000000010000000000000002 .* default\nbase_000000010000000000000005 .* second\n/,
    );
    const one = await call("backup-list", "--target-storage", "second");
    assert.doesNotMatch(one.stdout, /000000010000000000000002/);
    const none = await call("backup-list", "--target-storage", "third");
    assert.equal(none.exit, 1);
    assert.match(none.stderr, /there is no storage "third"/);
  });

  test("a push goes to the first that answers; a fetch looks in all", async () => {
    const bucket = await openBucket("pg17-none");
    await bucket.prepare();
    const key = (await bucket.objectsAt(bucket.store)).find((one) => /^wal_005\/[0-9A-F]{24}$/.test(one))!;
    const name = key.slice("wal_005/".length);
    const wal = join(root, "pg_wal");
    await mkdir(wal);
    await writeFile(join(wal, name), await readFile(join(bucket.store, key)));
    await bucket.remove();
    assert.equal((await call("wal-push", join(wal, name))).exit, 0);
    assert.deepEqual(await readdir(join(root, "b")), []);
    // The segment moves to the other storage: still found.
    const moved = await call("st", "transfer", "pg-wals", "--source", "default", "--target", "second");
    assert.equal(moved.exit, 0, moved.stderr);
    assert.deepEqual(await readdir(join(root, "a")), []);
    assert.equal((await call("wal-fetch", name, join(root, "fetched"))).exit, 0);
    assert.equal((await call("wal-fetch", "0000000100000000000000FF", join(root, "other"))).exit, 74);
    // With one storage silent, what the others lack is not proven absent.
    await rm(join(root, "a"), { recursive: true });
    assert.equal((await call("wal-fetch", "0000000100000000000000FF", join(root, "other"))).exit, 255);
  });

  test("copy takes backups and the WAL they need, and refuses to mix", async () => {
    const bucket = await openBucket("pg17-retention");
    await bucket.prepare();
    const [from, to] = [join(root, "from.json"), join(root, "to.json")];
    const settings = { WALG_PG_WAL_SIZE: "1", WALG_COMPRESSION_METHOD: "brotli" };
    await writeFile(from, JSON.stringify({ ...settings, WALG_FILE_PREFIX: bucket.store }));
    await writeFile(to, JSON.stringify({ ...settings, WALG_FILE_PREFIX: join(root, "a") }));
    const name = "base_00000001000000000000000F_D_00000001000000000000000D";
    const copied = await callWalg(["copy", "-f", from, "-t", to, "-b", name], {});
    assert.equal(copied.exit, 0, copied.stderr);
    const listed = await callWalg(["backup-list", "--config", to], {});
    assert.deepEqual(listed.stdout.match(/^base_\S+/gm), ["base_00000001000000000000000D", name]);
    const wal = await readdir(join(root, "a/wal_005"));
    assert.deepEqual(
      wal.filter((one) => /^[0-9A-F]{24}\.br$/.test(one)),
      ["00000001000000000000000D.br", "00000001000000000000000E.br".replace("E.br", "F.br")],
    );
    // Once more: nothing to do. With other bytes there: refused before anything is written.
    assert.equal((await callWalg(["copy", "-f", from, "-t", to, "-b", name, "-w"], {})).exit, 0);
    await writeFile(join(root, "a/wal_005/000000020000000000000018.br"), "foreign");
    const again = await callWalg(["copy", "-f", from, "-t", to, "-b", name, "-w"], {});
    assert.equal(again.exit, 1);
    assert.match(again.stderr, /exist at the destination with another size/);
    await bucket.remove();
  });
});
