// A relation of more than 1 GiB lies in several files: whole, grown, changed in its second file, and cut back into its first.

import assert from "node:assert/strict";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { type Sealing, archived, backupSource, fetch, push, pushRemotely } from "../support/backup-source.ts";
import { postgresMajor, scratchFolder } from "../support/scratch-postgres.ts";
import { recoverTo } from "../support/walg-restore.ts";

const LATEST = { what: "latest", value: null, timeline: "latest" } as const;
const SEALING: Sealing = {
  compression: { method: "zstd", zstdLevel: "fastest" },
  cipherKey: { kind: "none" },
};
/** One row on each page, so that the relation is large and its WAL is not. */
const PAGES = 140_000;
const SUM =
  "select count(*), sum(id::bigint), md5(string_agg(md5(body), '' order by id)) from big where id % 7 = 0 or id > 130000";

test(`Postgres ${await postgresMajor()}: a relation over 1 GiB`, async () => {
  const { server, archive } = await backupSource({ conf: ["max_wal_size = 1GB", "wal_compression = on"] });
  await using source = server;
  await source.psql("create table big (id int, body text) with (fillfactor = 10, autovacuum_enabled = off)");
  await source.psql("alter table big alter body set storage plain");
  await source.psql(`insert into big select g, repeat('x', 900) || g from generate_series(1, ${PAGES}) g`);
  await source.psql("select count(*) from big"); // sets the hint bits, which changes every page once
  const path = join(source.dataDirectory, await source.psql("select pg_relation_filepath('big')"));
  const second = (): Promise<number> => stat(`${path}.1`).then(({ size }) => size);
  assert.ok((await second()) > 50 << 20, "there is a second file");

  await using work = await scratchFolder("large-relation");
  const store = await openFolderStore(join(work.path, "store"), { create: true });
  const full = await push(source, store, SEALING, { maxSteps: 2 });
  await source.psql("update big set body = 'changed ' || body where id > 139000 and id % 3 = 0");
  const delta = await push(source, store, SEALING, { maxSteps: 2 });
  const growth = delta.sentinel.uncompressedBytes / full.sentinel.uncompressedBytes;
  assert.ok(growth < 0.2, `the delta has ${Math.round(growth * 100)} % of the full backup's bytes`);
  const truths = new Map([[delta.name, await source.psql(SUM)]]);
  await archived(source);

  const restore = async (name: string, expected: string): Promise<void> => {
    const directory = join(work.path, "restored");
    await fetch(store, name, directory, SEALING);
    await using restored = await recoverTo(LATEST, directory, archive);
    assert.equal(await restored.psql(SUM), expected, name);
    await restored.psql("select count(*) from big where body is null"); // every page is read, and its checksum checked
    await restored.stop();
    await rm(directory, { recursive: true });
  };
  await restore(delta.name, truths.get(delta.name)!);

  // Cut back into the first file: the second is emptied, not removed.
  await source.psql("delete from big where id > 100000");
  await source.psql("vacuum (truncate, index_cleanup off) big");
  assert.equal(await second(), 0);
  const cut = await push(source, store, SEALING, { maxSteps: 2 });
  assert.notEqual(cut.sentinel.delta, null);
  // Grown again over the limit, as a remote backup sees it.
  await source.psql(
    `insert into big select g, repeat('y', 900) || g from generate_series(130001, ${PAGES + 30_000}) g`,
  );
  const truth = await source.psql(SUM);
  assert.ok((await second()) > 0, "it reaches into its second file again");
  const regrown = await pushRemotely(source, store, SEALING);
  await archived(source);
  await restore(cut.name, truth);
  await restore(regrown.name, truth);
});
