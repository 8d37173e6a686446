// Connections with limits, and every query against a real server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import * as queries from "../../src/postgres/queries.ts";
import type { ServerAddress } from "../../src/postgres/server-address.ts";
import { ServerError, SQLSTATE } from "../../src/postgres/server-error.ts";
import {
  connectSql,
  quoteIdentifier,
  quoteLiteral,
  ReconnectingSql,
  withSql,
} from "../../src/postgres/sql.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { type ScratchPostgres, scratchPostgres } from "../support/scratch-postgres.ts";

const addressOf = (pg: ScratchPostgres): ServerAddress => ({
  host: pg.host,
  port: pg.port,
  user: "postgres",
  applicationName: "trial",
});

test("values are the server's own text, errors carry its state and never the values", async () => {
  await using pg = await scratchPostgres();
  await using sql = await connectSql(addressOf(pg));
  assert.deepEqual(
    await sql.query(
      "select 1 as i, true as b, null as n, 9007199254740993::bigint as big, '{1,2}'::int[] as a",
    ),
    [{ i: "1", b: "t", n: null, big: "9007199254740993", a: "{1,2}" }],
  );
  assert.deepEqual(
    await sql.query("select $1::bigint + 1 as big, $2::bool as b, $3::text as t", [2n ** 60n, true, null]),
    [{ big: String(2n ** 60n + 1n), b: "t", t: null }],
  );
  assert.deepEqual(
    await sql.query(
      "select current_setting('synchronous_commit') as c, current_setting('application_name') as a",
    ),
    [{ c: "local", a: "trial" }],
  );
  await assert.rejects(
    sql.query("select 'hush-hush' from nowhere where x = 'it''s secret'"),
    (error: unknown) => {
      assert.ok(error instanceof ServerError);
      assert.equal(error.sqlState, "42P01");
      assert.equal(error.message, `could not run "select '…' from nowhere where x = '…'"`);
      return true;
    },
  );
  assert.equal(sql.usable, true, "an error of SQL leaves the connection usable");
});

test("names and texts are quoted whatever they hold", async () => {
  await using pg = await scratchPostgres();
  for (const conforming of ["on", "off"]) {
    await using sql = await connectSql(addressOf(pg));
    await sql.query(`set standard_conforming_strings = ${conforming}`);
    await sql.query("set escape_string_warning = off");
    for (const text of [`a"; drop table x; --`, "it's", "back\\slash", "\\'", "ünï\ncode", ""]) {
      const [row] = await sql.query(`select ${quoteLiteral(text)} as t`);
      assert.equal(row?.["t"], text, conforming);
      if (text === "") continue;
      const [named] = await sql.query(`select 1 as ${quoteIdentifier(text)}`);
      assert.deepEqual(named, { [text]: "1" });
    }
  }
  assert.throws(() => quoteLiteral("\0"), RangeError);
  assert.throws(() => quoteIdentifier("\0"), RangeError);
});

test("a query that takes too long is given up, and ends in the server too", async () => {
  await using pg = await scratchPostgres();
  const sql = await connectSql(addressOf(pg), { queryTimeoutMs: 300 });
  await assert.rejects(sql.query("select pg_sleep(60)"), (error: unknown) => {
    assert.ok(error instanceof ServerError);
    assert.equal(error.sqlState, null);
    assert.match(String(error.cause), /no answer within 300 ms/);
    return true;
  });
  assert.equal(sql.usable, false);
  await assert.rejects(sql.query("select 1"), /could not run "select 1"/);
  await sql.close();
});

test("an abort is thrown with its reason", async () => {
  await using pg = await scratchPostgres();
  await using sql = await connectSql(addressOf(pg));
  const abort = new AbortController();
  setTimeout(() => abort.abort(new Error("the term is over")), 100);
  await assert.rejects(sql.query("select pg_sleep(60)", [], { signal: abort.signal }), /the term is over/);
  await assert.rejects(sql.query("select 1", [], { signal: abort.signal }));
});

test("a reconnecting connection opens again after a kill, and one query at most fails", async () => {
  await using pg = await scratchPostgres();
  await using sql = new ReconnectingSql(addressOf(pg));
  const first = await sql.query("select pg_backend_pid() as pid");
  await pg.psql(`select pg_terminate_backend(${first[0]!["pid"]})`);
  await delay(200);
  const second = await sql.query("select pg_backend_pid() as pid");
  assert.notEqual(first[0]!["pid"], second[0]!["pid"]);
  await pg.restart();
  const third = await sql.query("select 1 as one").catch(() => sql.query("select 1 as one"));
  assert.deepEqual(third, [{ one: "1" }]);
  await pg.stop();
  await assert.rejects(sql.query("select 1"), ServerError);
  await pg.start();
  assert.deepEqual(await sql.query("select 2 as two"), [{ two: "2" }]);
});

test("commits of the supervisor do not wait for a standby that is away", async () => {
  await using pg = await scratchPostgres({ conf: ["synchronous_standby_names = 'nobody'"] });
  await withSql(addressOf(pg), async (sql) => {
    await sql.query("create table public.t (i int)", [], { timeoutMs: 5_000 });
    await sql.query("insert into public.t values (1)", [], { timeoutMs: 5_000 });
  });
});

test("every question about a primary is answered", async () => {
  await using pg = await scratchPostgres({
    segmentMb: 1,
    conf: ["archive_mode = on", "archive_command = 'exit 1'"],
  });
  await using sql = await connectSql(addressOf(pg));
  assert.equal(await queries.isInRecovery(sql), false);
  const facts = await queries.serverFacts(sql);
  assert.equal(facts.segmentBytes, 1 << 20);
  assert.equal(facts.systemId.toString(), await pg.psql("select system_identifier from pg_control_system()"));
  assert.match(String(facts.versionNumber), /^1\d00\d\d$/);
  assert.ok(Math.abs(facts.startedAtMs - Date.now()) < 60_000);
  const positions = await queries.walPositions(sql);
  assert.equal(positions.inRecovery, false);
  assert.ok(
    positions.flushed !== null && positions.inserted !== null && positions.flushed <= positions.inserted,
  );
  assert.deepEqual(
    [positions.received, positions.replayed, positions.replayedAtMs, positions.replayPaused],
    [null, null, null, false],
  );
  assert.equal(await queries.currentTimeline(sql), 1);
  await sql.query("create table public.t as select generate_series(1, 1000)");
  const switched = await queries.switchWal(sql);
  assert.ok(switched > positions.flushed);
  await queries.checkpoint(sql);
  for (let tries = 0; (await queries.archiverStats(sql)).failedCount === 0 && tries < 50; tries += 1)
    await delay(100);
  const stats = await queries.archiverStats(sql);
  assert.ok(stats.failedCount > 0 && stats.lastFailedWal !== null && stats.lastFailedAtMs !== null);
  assert.deepEqual([stats.archivedCount, stats.lastArchivedWal, stats.lastArchivedAtMs], [0, null, null]);
  assert.equal(await queries.walReceiver(sql), null);
  assert.deepEqual(await queries.replicas(sql), []);
  const sizes = await queries.databaseSizes(sql);
  assert.deepEqual(
    sizes.map(({ name }) => name),
    ["postgres", "template0", "template1"],
  );
  assert.ok(sizes.every(({ bytes }) => bytes > 1_000_000n));
  assert.equal(await queries.showSetting(sql, "port"), String(pg.port));
  assert.deepEqual(await queries.settingProblems(sql), []);
  await pg.configure(["work_mem = 'much'", "max_connections = 50"]);
  await queries.reloadConfiguration(sql);
  await delay(300);
  const problems = await queries.settingProblems(sql);
  assert.equal(problems.length, 1, "max_connections only waits for a restart");
  assert.match(problems[0]!, /^work_mem: setting could not be applied \(.*postgresql\.conf:\d+\)$/);
});

test("a restart that is owed is known", async () => {
  await using pg = await scratchPostgres();
  await using sql = await connectSql(addressOf(pg));
  await pg.configure(["max_connections = 50"]);
  await queries.reloadConfiguration(sql);
  for (let tries = 0; (await queries.settingsPendingRestart(sql)).length === 0 && tries < 50; tries += 1)
    await delay(100);
  assert.deepEqual(await queries.settingsPendingRestart(sql), ["max_connections"]);
});

test("databases and extensions are made once", async () => {
  await using pg = await scratchPostgres();
  await using sql = await connectSql(addressOf(pg));
  for (let round = 0; round < 2; round += 1) {
    await queries.ensureDatabase(sql, `o"dd`, "postgres");
    await withSql({ ...addressOf(pg), database: `o"dd` }, (inside) =>
      queries.ensureExtension(inside, "pg_trgm"),
    );
  }
  assert.equal(
    await pg.psql("select extname from pg_extension where extname = 'pg_trgm'", { database: `o"dd` }),
    "pg_trgm",
  );
});

test("a standby is asked for its position, promoted, and asked again", async () => {
  await using primary = await scratchPostgres({ conf: ["wal_keep_size = 100MB"] });
  await using standby = await scratchPostgres({ start: false });
  await primary.run("pg_basebackup", ["-D", `${standby.root}/copy`, "-R", "-X", "stream", "-c", "fast"]);
  await standby.run("pg_controldata", [`${standby.root}/copy`]);
  await using running = await scratchPostgres({ dataDirectory: `${standby.root}/copy` });
  await using sql = await connectSql(addressOf(running));
  await using onPrimary = await connectSql(addressOf(primary));
  assert.equal(await queries.isInRecovery(sql), true);
  await primary.psql("create table t as select 1");
  const flushed = parseLsn(await primary.psql("select pg_current_wal_flush_lsn()"));
  const reached = async (): Promise<boolean> => ((await queries.walPositions(sql)).replayed ?? 0n) >= flushed;
  for (let tries = 0; !(await reached()) && tries < 100; tries += 1) await delay(50);
  const positions = await queries.walPositions(sql);
  assert.equal(positions.inRecovery, true);
  assert.ok(positions.replayed !== null && positions.replayed >= flushed && positions.received !== null);
  assert.ok(positions.replayedAtMs !== null && Math.abs(positions.replayedAtMs - Date.now()) < 60_000);
  assert.deepEqual([positions.flushed, positions.inserted], [null, null]);
  const receiver = await queries.walReceiver(sql);
  assert.deepEqual(
    [receiver?.status, receiver?.timeline, receiver?.senderPort],
    ["streaming", 1, primary.port],
  );
  const [replica] = await queries.replicas(onPrimary);
  assert.deepEqual([replica?.state, replica?.syncState], ["streaming", "async"]);
  await assert.rejects(queries.switchWal(sql), { sqlState: "55000" });
  await assert.rejects(sql.query("create table public.x (i int)"), {
    sqlState: SQLSTATE.readOnlyTransaction,
  });
  assert.equal(await queries.promote(sql), true);
  for (let tries = 0; (await queries.isInRecovery(sql)) && tries < 100; tries += 1) await delay(50);
  assert.equal(await queries.isInRecovery(sql), false);
  assert.equal(await queries.currentTimeline(sql), 2);
});
