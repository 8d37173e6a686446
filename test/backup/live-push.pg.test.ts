// Backups of a server that does not hold still, and of a standby: what comes out is what was committed.

import assert from "node:assert/strict";
import { appendFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { listBackups } from "../../src/backup/catalog.ts";
import {
  PLAIN,
  archived,
  backupSource,
  dump,
  fill,
  never,
  push,
  pushRemotely,
} from "../support/backup-source.ts";
import { assertRestores } from "../support/assert-restores.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { below, makeRandom } from "../support/random.ts";
import {
  type ScratchPostgres,
  postgresMajor,
  scratchFolder,
  scratchPostgres,
} from "../support/scratch-postgres.ts";

const major = await postgresMajor();
const SEED = Number(process.env["HOLDFAST_SEED"] ?? Date.now() % 1_000_000);

/** One thing that an application does to its tables, by seed. */
function nextChange(random: () => number, round: number): string {
  const table = `moving_${below(random, 6)}`;
  const rows = 200 + below(random, 3000);
  const making = `create table if not exists ${table} (id int, body text)`;
  const filling = `insert into ${table} select g, repeat(md5((g + ${round})::text), 8) from generate_series(1, ${rows}) g`;
  const changes = [
    `${making}; ${filling}`,
    `drop table if exists ${table}`,
    `drop table if exists ${table}; ${making}; ${filling}`,
    `${making}; truncate ${table}`,
    `${making}; truncate ${table}; ${filling}`,
    `${making}; delete from ${table} where id % 3 = ${below(random, 3)}`,
    `${making}; update ${table} set body = body || '!' where id % 7 = ${below(random, 7)}`,
    `${making}; create index if not exists ${table}_body on ${table} (id)`,
    "checkpoint",
    `create database side_${round} strategy file_copy`,
    `vacuum (truncate) ${table}`,
  ];
  return changes[below(random, changes.length)]!;
}

for (const way of ["local", "remote"] as const) {
  test(`Postgres ${major}: relations that come, go, shrink and grow during a ${way} backup (seed ${SEED}, HOLDFAST_SEED)`, async () => {
    const random = makeRandom(SEED);
    const { server, archive } = await backupSource();
    await using source = server;
    await fill(source, false);
    const store = new MemoryStore();
    const over = new AbortController();
    let rounds = 0;
    const application = (async () => {
      while (!over.signal.aborted) {
        rounds += 1;
        for (const sql of nextChange(random, rounds).split("; "))
          await source.psql(sql).catch((error: unknown) => {
            // A table that does not exist yet cannot be vacuumed; everything else must work.
            if (!String(error).includes("does not exist")) throw error;
          });
      }
    })();
    const names: string[] = [];
    // Slow enough for the application to get between the look at a file and its reading.
    const settings = { diskBytesPerSecond: 6 << 20, thresholdBytes: 4 << 20, maxSteps: 2 };
    for (let turn = 0; turn < 2; turn += 1) {
      const pushed =
        way === "local"
          ? await push(source, store, PLAIN, settings)
          : await pushRemotely(source, store, PLAIN, settings);
      assert.equal(pushed.corrupt.size, 0, "no page is taken for damaged");
      names.push(pushed.name);
    }
    over.abort();
    await application;
    assert.ok(rounds > 10, `only ${rounds} changes`);
    const truth = await dump(source);
    await archived(source);
    for (const name of [names[0]!, names.at(-1)!])
      await assertRestores(store, name, { sealing: PLAIN, archive, truth });
  });
}

/** A standby that replays from the primary's archive and stream. */
async function standbyOf(primary: ScratchPostgres, folder: string): Promise<ScratchPostgres> {
  const directory = join(folder, "standby");
  await primary.run("pg_basebackup", [
    `--pgdata=${directory}`,
    `--host=${primary.host}`,
    `--port=${primary.port}`,
    "--username=postgres",
    "--checkpoint=fast",
    "--write-recovery-conf",
    "--no-sync",
  ]);
  await appendFile(join(directory, "postgresql.conf"), "archive_mode = on\nhot_standby = on\n");
  return scratchPostgres({ dataDirectory: directory });
}

test(`Postgres ${major}: backups from a standby, local and remote`, async () => {
  const { server, archive } = await backupSource();
  await using source = server;
  await fill(source, false);
  await using work = await scratchFolder("standby-push");
  await using standby = await standbyOf(source, work.path);
  const store = new MemoryStore();
  const names: string[] = [];
  for (const way of ["remote", "local", "delta"] as const) {
    await source.psql(`insert into untouched select -g, '${way}' from generate_series(1, 1000) g`);
    // A standby's backup begins at its last restart point, which needs a checkpoint of the primary's.
    await source.psql("checkpoint");
    const end = await source.psql("select pg_current_wal_lsn()");
    while ((await standby.psql(`select pg_last_wal_replay_lsn() >= '${end}'`)) !== "t") await delay(20);
    await standby.psql("checkpoint");
    const busy = (async () => {
      for (let round = 0; round < 3; round += 1)
        await source.psql(`update wide set body = body || '${way}' where id % 11 = ${round}`);
    })();
    const pushed =
      way === "remote"
        ? await pushRemotely(standby, store, PLAIN)
        : await push(standby, store, PLAIN, { maxSteps: way === "delta" ? 1 : 0 });
    await busy;
    assert.equal(pushed.sentinel.delta !== null, way === "delta", `${way}: ${pushed.name}`);
    names.push(pushed.name);
  }
  assert.deepEqual(
    (await listBackups(store, never())).map(({ name }) => name).sort(),
    names.toSorted((a, b) => (a < b ? -1 : 1)),
  );
  const truth = await dump(source);
  await archived(source);
  for (const name of names) await assertRestores(store, name, { sealing: PLAIN, archive, truth });
  await standby.stop();
  await rm(join(work.path, "standby"), { recursive: true });
});
