// Behaviour 37: a volume that fills. Writes stop before it is full, in every database and in open sessions; Postgres never panics; it clears
// itself. Two rounds of the transaction without end by default, ten with --long.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { connection } from "../support/cluster-ledger.ts";
import { Bench, type ImageNode, until } from "../support/image.ts";
import { Ledger } from "../support/ledger.ts";

const VOLUME_BYTES = 1_200_000_000;
const ROUNDS = process.env["HOLDFAST_LONG"] === undefined ? 2 : 10;
const READ_ONLY = "25006";
const ENDLESS = "insert into filler select repeat(md5(i::text), 200) from generate_series(1, 10000000) i";
const CHUNK = "insert into filler select repeat(md5(i::text), 200) from generate_series(1, 1000) i";

test("filled by data: warned of, read-only at the limit, for everybody; a superuser makes room, and it clears itself", async (t) => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: bench.s3Env(), volume: await bench.smallVolume(VOLUME_BYTES) });
  await node.ready();
  await node.sql("create role app login password 'app-password_1'");
  await node.sql("create database other owner app");
  await node.sql("create table filler (x text); alter table filler alter x set storage external");
  await node.sql("grant all on filler to app; grant create on schema public to app");
  await using sessions = await Sessions.open(node);
  const { app, other, superuser } = sessions;
  await other.query("create table elsewhere (i int)");
  const started = await node.sql("select pg_postmaster_start_time()");

  const refusal = await fill(app, 400);
  assert.equal(refusal.code, READ_ONLY, refusal.message);
  await assert.rejects(other.query("insert into elsewhere values (1)"), { code: READ_ONLY });
  await assert.rejects(superuser.query("insert into filler values ('x')"), { code: READ_ONLY });
  const fresh = await sessions.connect("app", "other");
  await assert.rejects(fresh.query("create table nothing ()"), { code: READ_ONLY });
  assert.ok(Number((await app.query("select count(*) as n from filler")).rows[0].n) > 0);
  const log = await node.log();
  assert.match(log, /the volume is filling up.*usedPercent=8\d.*holds=".*of data/);
  assert.match(log, /no writes are taken until there is room.*holds=".*of data/);
  assert.match((await node.shell("holdfast status")).stdout, /NO WRITES are taken/);

  // Who overrides the setting writes until half of the limit is left, and is ended then; a superuser is not.
  await app.query("set default_transaction_read_only = off");
  const ended = await fill(app, 400);
  assert.ok(ended.code !== READ_ONLY, ended.message);
  await superuser.query("begin read write; truncate filler; commit");
  await until(
    async () => (await failure(other, "insert into elsewhere values (1)")) === null,
    60_000,
    "writes are taken again",
  );
  assert.match(await node.log(), /the volume has room again: writes are taken/);
  assert.equal(await node.sql("select pg_postmaster_start_time()"), started);
  t.diagnostic(
    (await node.log())
      .split("\n")
      .filter((line) => line.includes("the volume"))
      .join("\n"),
  );
});

test(`by a transaction without end, ${ROUNDS} times: it is ended before the volume is full, without a panic or a restart`, async (t) => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: bench.s3Env(), volume: await bench.smallVolume(VOLUME_BYTES) });
  await node.ready();
  await node.sql("create table filler (x text); alter table filler alter x set storage external");
  const started = await node.sql("select pg_postmaster_start_time()");
  for (let round = 1; round <= ROUNDS; round += 1) {
    await using sessions = await Sessions.open(node);
    const begun = performance.now();
    const error = await failure(sessions.superuser, ENDLESS);
    t.diagnostic(`round ${round}: ${error?.code} after ${Math.round(performance.now() - begun)} ms`);
    // Ended by the guard, or by the last room: never by a panic.
    assert.match(error?.code ?? "", /^(57P01|53100)$/, error?.message);
    await makeRoom(sessions, 60_000);
    assert.deepEqual(panics(await node.log()), [], `round ${round}`);
  }
  assert.equal(await node.sql("select pg_postmaster_start_time()"), started);
});

test("by somebody else, to the last byte: back by itself once there is room, with every row", async (t) => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: bench.s3Env(), volume: await bench.smallVolume(VOLUME_BYTES) });
  await node.ready();
  await node.sql("create table filler (x text); alter table filler alter x set storage external");
  await Ledger.create(await node.address());
  const ledger = new Ledger({ host: await node.address(), clients: 2 });
  ledger.start();
  await using sessions = await Sessions.open(node);
  const writing = failure(sessions.superuser, ENDLESS);
  await sleep(500);
  await node.shell("cat /dev/zero > /data/filler 2>/dev/null || true");
  t.diagnostic(`the transaction ended with ${(await writing)?.code}`);
  await sleep(3_000);
  if (!(await node.running())) await node.start();
  await node.shell("rm -f /data/filler");
  await makeRoom(sessions, 120_000);
  await ledger.stop();
  t.diagnostic(`panics: ${panics(await node.log()).length}`);
  assert.deepEqual(await ledger.lost(await node.address()), []);
});

test("filled by WAL that waits for the archive: the cause is named, and it clears itself when the store is back", async () => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: bench.s3Env(), volume: await bench.smallVolume(VOLUME_BYTES) });
  await node.ready();
  await node.sql("create table filler (x text); alter table filler alter x set storage external");
  await using sessions = await Sessions.open(node);
  const { superuser } = sessions;
  const started = await node.sql("select pg_postmaster_start_time()");
  await bench.s3.cut();
  let error: Failure | null = null;
  for (let turn = 0; turn < 400 && error === null; turn += 1)
    error = (await failure(superuser, CHUNK)) ?? (await failure(superuser, "truncate filler"));
  assert.equal(error?.code, READ_ONLY, error?.message);
  await node.said("wait for the archive", 60_000);
  await sleep(3_000);
  assert.equal(await node.sql("select pg_postmaster_start_time()"), started);
  await bench.s3.heal();
  await until(
    async () => (await failure(superuser, "truncate filler")) === null,
    180_000,
    "writes are taken again",
  );
  assert.deepEqual(panics(await node.log()), []);
});

const panics = (log: string): readonly string[] => log.split("\n").filter((line) => line.includes("PANIC"));

interface Failure {
  readonly code?: string;
  readonly message: string;
}

class Sessions implements AsyncDisposable {
  readonly #node: ImageNode;
  readonly #clients: Client[] = [];
  app!: Client;
  other!: Client;
  superuser!: Client;

  private constructor(node: ImageNode) {
    this.#node = node;
  }

  static async open(node: ImageNode): Promise<Sessions> {
    const sessions = new Sessions(node);
    sessions.superuser = await sessions.connect("postgres", "postgres");
    const { rows } = await sessions.superuser.query("select 1 from pg_roles where rolname = 'app'");
    if (rows.length === 0) return sessions;
    sessions.app = await sessions.connect("app", "postgres");
    sessions.other = await sessions.connect("app", "other");
    return sessions;
  }

  async connect(user: string, database: string): Promise<Client> {
    const settings = connection(await this.#node.address(), 5432);
    const password = user === "app" ? "app-password_1" : settings.password;
    const client = new Client({ ...settings, user, database, password, query_timeout: 120_000 });
    client.on("error", () => undefined);
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  /** In a session of its own. */
  async fresh(statement: string): Promise<Failure | null> {
    try {
      return await failure(await this.connect("postgres", "postgres"), statement);
    } catch (error) {
      return error as Failure;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.end().catch(() => undefined);
  }
}

/** Why the statement failed; null: it did not. */
async function failure(client: Client, statement: string): Promise<Failure | null> {
  return await client.query(statement).then(
    () => null,
    (error: unknown) => error as Failure,
  );
}

/** As a superuser; then everybody may write again. */
async function makeRoom(sessions: Sessions, limitMs: number): Promise<void> {
  const isTaken = async (statement: string): Promise<boolean> => (await sessions.fresh(statement)) === null;
  await until(() => isTaken("begin read write; truncate filler; commit"), limitMs, "room is made");
  await until(() => isTaken("insert into filler values ('x')"), 60_000, "writes are taken again");
}

/** Chunks of 7 MB until one is refused. */
async function fill(client: Client, most: number): Promise<Failure> {
  for (let chunk = 0; chunk < most; chunk += 1) {
    const error = await failure(client, CHUNK);
    if (error !== null) return error;
  }
  throw new Error(`${most} chunks were taken`);
}
