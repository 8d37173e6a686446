// The session around a base backup: what comes out restores, and what is left early is forgotten.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { startBackup } from "../../src/postgres/backup-session.ts";
import { ServerError } from "../../src/postgres/server-error.ts";
import { formatLsn } from "../../src/wal/lsn.ts";
import { type ScratchPostgres, scratchPostgres } from "../support/scratch-postgres.ts";

const addressOf = (pg: ScratchPostgres): Parameters<typeof startBackup>[0] => ({
  host: pg.host,
  port: pg.port,
  user: "postgres",
  applicationName: "trial",
});
const soon = (): AbortSignal => AbortSignal.timeout(120_000);

test("a copy made inside the session, with its label, recovers and has the rows", async () => {
  await using pg = await scratchPostgres({ conf: ["wal_keep_size = 200MB"] });
  await pg.psql("create table t as select generate_series(1, 1000) i");
  await using session = await startBackup(addressOf(pg), "trial label", { signal: soon() });
  assert.equal(session.fromStandby, false);
  await pg.psql("insert into t select generate_series(1001, 2000)");
  await using copy = await scratchPostgres({ start: false });
  await rm(copy.dataDirectory, { recursive: true });
  await cp(pg.dataDirectory, copy.dataDirectory, {
    recursive: true,
    filter: (path) => !/postmaster\.(pid|opts)$/.test(path),
  });
  await session.ping();
  const stop = await session.stop({ timeoutMs: 30_000, signal: soon() });
  assert.match(
    stop.label,
    new RegExp(`^START WAL LOCATION: ${formatLsn(session.start)} .*\\nCHECKPOINT LOCATION: `),
  );
  assert.match(stop.label, /\nLABEL: trial label\nSTART TIMELINE: 1\n$/);
  assert.ok(stop.stop > session.start);
  assert.equal(stop.tablespaceMap, "");
  await cp(join(pg.dataDirectory, "pg_wal"), join(copy.dataDirectory, "pg_wal"), {
    recursive: true,
    force: true,
  });
  await writeFile(join(copy.dataDirectory, "backup_label"), stop.label);
  if (pg.user.uid !== undefined)
    execFileSync("chown", ["-R", `${pg.user.uid}:${pg.user.gid}`, copy.dataDirectory]);
  await copy.start();
  assert.equal(await copy.psql("select count(*) from t"), "2000");
  assert.match(copy.log, /redo starts at/);
});

test("left early, Postgres forgets the backup; stopped twice is an error", async () => {
  await using pg = await scratchPostgres();
  {
    await using session = await startBackup(addressOf(pg), "left early", { signal: soon() });
    await session.ping();
  }
  await using session = await startBackup(addressOf(pg), "second", { signal: soon() });
  await session.stop();
  await assert.rejects(session.stop(), ServerError);
});

test("an abort while the checkpoint is spread ends the session", async () => {
  await using pg = await scratchPostgres({
    conf: ["checkpoint_timeout = 1h", "checkpoint_completion_target = 0.99"],
  });
  await pg.psql("create table t as select generate_series(1, 200000) i");
  const abort = new AbortController();
  setTimeout(() => abort.abort(new Error("never mind")), 300);
  await assert.rejects(
    startBackup(addressOf(pg), "slow", { fast: false, signal: abort.signal }),
    /never mind/,
  );
});

test("a session whose server went away says so", async () => {
  await using pg = await scratchPostgres();
  await using session = await startBackup(addressOf(pg), "cut", { signal: soon() });
  await pg.stop("immediate");
  await assert.rejects(session.ping(), ServerError);
  await assert.rejects(session.stop(), ServerError);
});
