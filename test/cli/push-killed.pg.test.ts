// A push that is killed leaves no backup; the next one is right, and `delete garbage` names and removes what was left.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { PLAIN, archived, backupSource, dump, fetch, fill, own } from "../support/backup-source.ts";
import { postgresMajor, scratchFolder } from "../support/scratch-postgres.ts";
import { recoverTo } from "../support/walg-restore.ts";

const LATEST = { what: "latest", value: null, timeline: "latest" } as const;
const PARTS = "tar_partitions";

for (const way of ["local", "remote"] as const) {
  test(`Postgres ${await postgresMajor()}: a ${way} push that is killed`, async () => {
    const { server, archive } = await backupSource();
    await using source = server;
    await fill(source, false);
    await using work = await scratchFolder("push-killed");
    const root = join(work.path, "store");
    await mkdir(root);
    await own(root);
    const env = {
      PATH: process.env["PATH"] ?? "",
      HOME: work.path,
      WALG_FILE_PREFIX: root,
      WALG_PG_WAL_SIZE: "1",
      WALG_TAR_SIZE_THRESHOLD: String(2 << 20),
      PGHOST: source.host,
      PGPORT: String(source.port),
    };
    const args = ["bin/wal-g.js", "backup-push", ...(way === "local" ? [source.dataDirectory] : [])];
    const run = (more: readonly string[], extra: Record<string, string> = {}) =>
      spawn(process.execPath, more, { ...source.user, env: { ...env, ...extra } });
    const good = async (more: readonly string[]): Promise<string> => {
      const child = run(more);
      let said = "";
      child.stdout.on("data", (data) => void (said += String(data)));
      child.stderr.on("data", (data) => void (said += String(data)));
      const [exit] = (await once(child, "close")) as [number | null];
      assert.equal(exit, 0, `${more.join(" ")}: ${said}`);
      return said;
    };
    const objects = async (): Promise<string[]> =>
      (await readdir(root, { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
    const parts = async (): Promise<string[]> =>
      (await objects()).filter((key) => /part_\d+\.tar\.lz4$/.test(key) && key.includes(PARTS));

    // Slowed down, so that the kill lands in the middle.
    const victim = run(args, { WALG_DISK_RATE_LIMIT: String(3 << 20) });
    const ended = once(victim, "exit");
    while ((await parts()).length < 2 && victim.exitCode === null) await delay(5);
    assert.equal(victim.exitCode, null, "it still ran");
    victim.kill("SIGKILL");
    await ended;
    const left = await objects();
    assert.ok(left.length >= 2, left.join(" "));
    assert.ok(!left.some((key) => key.endsWith("_backup_stop_sentinel.json")), left.join(" "));
    assert.match(await good(["bin/wal-g.js", "backup-list"]), /No backups found/);

    const said = await good(args);
    const name = /Wrote backup with name (base_[0-9A-F]{24})/.exec(said)?.[1] ?? "";
    assert.match(await good(["bin/wal-g.js", "backup-list"]), new RegExp(name));
    const truth = await dump(source);
    await archived(source);

    const leftovers = left.filter((key) => !key.includes(name) && /part_\d+\.tar\.lz4$/.test(key));
    assert.ok(leftovers.length >= 2, `another name: ${left.join(" ")}`);
    const dry = await good(["bin/wal-g.js", "delete", "garbage"]);
    for (const key of leftovers)
      assert.ok(dry.includes(key.slice("basebackups_005/".length)), `${key}: ${dry}`);
    assert.ok(!dry.includes(name), dry);
    await good(["bin/wal-g.js", "delete", "garbage", "--confirm"]);
    const kept = await objects();
    for (const key of leftovers) assert.ok(!kept.includes(key), key);

    const store = await openFolderStore(root);
    const directory = join(work.path, "restored");
    await fetch(store, name, directory, PLAIN);
    await using restored = await recoverTo(LATEST, directory, archive);
    assert.equal(await dump(restored), truth);
    await restored.stop();
  });
}
