// Restores of a part, to other places, and onto a disk that fills up; and what becomes of unlogged relations.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readlink, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { UNFINISHED_FETCH_NAME } from "../../src/backup/fetch.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { PLAIN, archived, backupSource, dump, fetch, fill, own, push } from "../support/backup-source.ts";
import {
  type ScratchPostgres,
  postgresMajor,
  scratchFolder,
  scratchPostgres,
} from "../support/scratch-postgres.ts";
import { fillDisk, smallDisk } from "../support/small-disk.ts";
import { recoverTo } from "../support/walg-restore.ts";

const LATEST = { what: "latest", value: null, timeline: "latest" } as const;

test(`Postgres ${await postgresMajor()}: partial restores, other places, full disks`, async (t) => {
  const { server, archive } = await backupSource();
  await using source = server;
  await fill(source, true);
  await source.psql(
    `create schema side;
     create table side.kept (id int primary key, body text);
     insert into side.kept select g, repeat(md5(g::text), 4) from generate_series(1, 100) g;
     insert into side.kept select 1000, string_agg(md5(g::text), '') from generate_series(1, 9000) g;
     create table side.parted (id int primary key) partition by range (id);
     create table side.parted_low partition of side.parted for values from (0) to (100);
     create table side.parted_high partition of side.parted for values from (100) to (1000);
     insert into side.parted select g from generate_series(1, 999) g;`,
    { database: "second" },
  );
  // A catalog gets a file number that looks like a user's table.
  await source.psql("vacuum full pg_statistic", { database: "second" });
  await using work = await scratchFolder("partial-fetch");
  const store: ObjectStore = await openFolderStore(join(work.path, "store"), { create: true });
  const full = await push(source, store, PLAIN, { maxSteps: 1, thresholdBytes: 2 << 20 });
  await source.psql("update wide set body = 'new' where id % 9 = 0");
  const delta = await push(source, store, PLAIN, { maxSteps: 1, thresholdBytes: 2 << 20 });
  const truth = await dump(source);
  await archived(source);
  const restored = async (name: string, directory: string): Promise<ScratchPostgres> => {
    await fetch(store, name, directory, PLAIN);
    return recoverTo(LATEST, directory, archive);
  };

  await t.test("unlogged relations are there, and empty", async () => {
    const directory = join(work.path, "unlogged");
    await using again = await restored(delta.name, directory);
    assert.equal(await again.psql("select count(*) from scratch"), "0");
    await again.psql("insert into scratch values (1)");
    assert.equal(await again.psql("select count(*) from scratch"), "1");
    assert.ok(Number(await source.psql("select count(*) from scratch")) > 0);
    await again.stop();
    await rm(directory, { recursive: true });
  });

  await t.test(
    "--restore-spec puts tablespaces elsewhere: links there, files once, the old places untouched",
    async () => {
      const directory = join(work.path, "by-spec");
      const tablespaces = full.sentinel.spec!.tablespaces.map((one, index) => ({
        ...one,
        location: join(work.path, `other place ${index}`),
      }));
      const before = await Promise.all(
        full.sentinel.spec!.tablespaces.map(({ location }) => readdir(location)),
      );
      for (const { location } of tablespaces) {
        await mkdir(location);
        await own(location);
      }
      const spec = { basePrefix: directory, tablespaces };
      await fetch(store, delta.name, directory, PLAIN, { tablespaces: { kind: "spec", spec } });
      for (const { name, location } of tablespaces) {
        assert.equal(await readlink(join(directory, "pg_tblspc", name)), location);
        assert.equal((await readdir(location)).length, 1);
      }
      await using again = await recoverTo(LATEST, directory, archive);
      assert.equal(await dump(again), truth);
      assert.equal(
        await again.psql(
          "select string_agg(pg_tablespace_location(oid), ',' order by oid) from pg_tablespace where oid >= 16384",
        ),
        tablespaces.map(({ location }) => location).join(","),
      );
      await again.stop();
      assert.deepEqual(
        await Promise.all(full.sentinel.spec!.tablespaces.map(({ location }) => readdir(location))),
        before,
      );
      await rm(directory, { recursive: true });
    },
  );

  await t.test("--restore-only keeps what is named, and the server starts", async () => {
    const directory = join(work.path, "only");
    const only = ["second/side.kept", "second/side.parted"];
    await fetch(store, delta.name, directory, PLAIN, { only });
    const settings = [`restore_command = 'cp "${archive}/%f" "%p"'`, "recovery_target = 'immediate'"];
    await using again = await scratchPostgres({
      dataDirectory: directory,
      start: false,
      conf: [...settings, "recovery_target_action = 'promote'", "archive_mode = off"],
    });
    await (await open(join(directory, "recovery.signal"), "w")).close();
    await own(join(directory, "recovery.signal"));
    await again.start();
    const asked = `select count(*), max(length(body)) from side.kept;
      set enable_seqscan = off; select id from side.kept where id = 1000;
      select count(*) from side.parted; select id from side.parted where id = 500;
      select count(*) from pg_statistic where false;`;
    const inSecond = { database: "second" };
    assert.equal(await again.psql(asked, inSecond), await source.psql(asked, inSecond));
    while ((await again.psql("select pg_is_in_recovery()")) === "t") await delay(20);
    await again.psql("insert into side.kept values (-1, 'new')", inSecond);
    await again.psql("analyze side.kept", inSecond);
    await assert.rejects(again.psql("select count(*) from there", inSecond), /could not open file/);
    await again.stop();
    await rm(directory, { recursive: true });
    await rm(`${directory}-tablespaces`, { recursive: true });
  });

  await t.test(
    "--restore-only of what the backup does not know is an error before a byte is written",
    async () => {
      const directory = join(work.path, "unknown");
      await assert.rejects(fetch(store, delta.name, directory, PLAIN, { only: ["absent"] }), /absent/);
      assert.ok(!existsSync(directory));
    },
  );

  await t.test(
    "--mask takes the names that match; what comes out has no control file and cannot start",
    async () => {
      const directory = join(work.path, "masked");
      await fetch(store, delta.name, directory, PLAIN, { mask: "global/12*" });
      const names = await readdir(join(directory, "global"));
      assert.ok(names.length > 0 && names.every((name) => name.startsWith("12")), names.join(" "));
      assert.ok(!existsSync(join(directory, "base/1")));
      await using again = await scratchPostgres({ dataDirectory: directory, start: false });
      await assert.rejects(again.start());
      await rm(directory, { recursive: true });
    },
  );

  await t.test("a disk that is too small is told before a byte is written", async () => {
    await using disk = await smallDisk();
    await using _filler = await fillDisk(1 << 20);
    const directory = join(disk.path, "too-small");
    await assert.rejects(fetch(store, delta.name, directory, PLAIN), (error: Error & { code: string }) => {
      assert.equal(error.code, "BACKUP_NO_SPACE");
      assert.match(error.message, /needs \d+ bytes, and ".*" has \d+ free/);
      return true;
    });
    assert.ok(!existsSync(directory));
  });

  await t.test("a disk that fills up in the middle: a clear error, and nothing that starts", async () => {
    await using disk = await smallDisk();
    const directory = join(disk.path, "filling");
    {
      await using fillers = new AsyncDisposableStack();
      let isFull = false;
      const greedy = {
        name: store.name,
        list: store.list.bind(store),
        get: async (...[key, ...rest]: Parameters<ObjectStore["get"]>) => {
          if (key.includes("part_") && !isFull) {
            isFull = true;
            fillers.use(await fillDisk(256 << 10));
          }
          return store.get(key, ...rest);
        },
      };
      await assert.rejects(
        fetch(greedy, delta.name, directory, PLAIN),
        (error: Error & { code: string; hint: string }) => {
          assert.equal(error.code, "BACKUP_NO_SPACE");
          assert.match(error.message, /the disk under ".*filling" is full/);
          assert.match(error.hint, /make room/);
          return true;
        },
      );
    }
    assert.ok(existsSync(join(directory, UNFINISHED_FETCH_NAME)), "it is marked as unfinished");
    assert.ok(!existsSync(join(directory, "global/pg_control")), "it has no control file");
    await assert.rejects(source.run("postgres", ["-D", directory]), /pg_control|postgresql.conf|PG_VERSION/);
    // With room again the same command ends well.
    await fetch(store, delta.name, directory, PLAIN);
    await using again = await recoverTo(LATEST, directory, archive);
    assert.equal(await dump(again), truth);
    await again.stop();
  });
});
