// The stream against real servers: the same bytes as pg_wal, whatever happens to the connection.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "../../src/base/clock.ts";
import { Secret } from "../../src/base/secret.ts";
import { connectReplication, type ReplicationConnection } from "../../src/postgres/replication-connection.ts";
import type { ReplicationOptions, StreamEnd, StreamEvent } from "../../src/postgres/replication-types.ts";
import type { ServerAddress } from "../../src/postgres/server-address.ts";
import { ServerError, SQLSTATE } from "../../src/postgres/server-error.ts";
import { ensureSlot, findSlot } from "../../src/postgres/slots.ts";
import { type SqlConnection, connectSql } from "../../src/postgres/sql.ts";
import { formatLsn, type Lsn, lsnOf, parseLsn } from "../../src/wal/lsn.ts";
import { segmentAt, segmentFloor, segmentName } from "../../src/wal/segment-name.ts";
import { type ScratchPostgres, scratchPostgres } from "../support/scratch-postgres.ts";
import { silentHost } from "../support/silent-host.ts";

const MIB = 1 << 20;
const SLOT = "trial";

const addressOf = (pg: ScratchPostgres): ServerAddress => ({
  host: pg.host,
  port: pg.port,
  user: "postgres",
  applicationName: "trial",
});
const connect = (
  pg: ScratchPostgres,
  options: Partial<ReplicationOptions> = {},
): Promise<ReplicationConnection> => connectReplication(addressOf(pg), { clock: systemClock, ...options });
const sqlOf = (pg: ScratchPostgres): Promise<SqlConnection> => connectSql(addressOf(pg));

/** Keeps what it is given and checks that nothing is missing or twice. */
class Keeper {
  readonly chunks: Buffer[] = [];
  readonly start: Lsn;
  at: Lsn;

  constructor(start: Lsn) {
    this.start = start;
    this.at = start;
  }

  take(event: Extract<StreamEvent, { kind: "wal" }>): void {
    assert.equal(formatLsn(event.lsn), formatLsn(this.at), "WAL comes without a gap");
    this.chunks.push(event.bytes as Buffer);
    this.at = lsnOf(event.lsn + BigInt(event.bytes.byteLength));
  }

  sha(): string {
    const hash = createHash("sha256");
    for (const chunk of this.chunks) hash.update(chunk);
    return hash.digest("hex");
  }
}

/** Takes events until the stream ends, confirming each message. */
async function drain(
  stream: AsyncIterable<StreamEvent>,
  keeper: Keeper,
  connection: ReplicationConnection,
  onEvent: (event: StreamEvent) => Promise<void> | void = () => undefined,
): Promise<StreamEnd> {
  for await (const event of stream) {
    if (event.kind === "wal") keeper.take(event);
    if (event.kind === "messageEnd") {
      assert.equal(event.end, keeper.at);
      connection.sendStatus({ write: event.end, flush: event.end, apply: event.end });
    }
    await onEvent(event);
    if (event.kind === "copyDone") return event.end;
  }
  throw new Error("the stream ended without saying why");
}

/** The SHA-256 of pg_wal's bytes from one position to another. */
async function shaOfWal(
  pg: ScratchPostgres,
  timeline: number,
  from: Lsn,
  to: Lsn,
  segmentBytes: number,
): Promise<string> {
  const hash = createHash("sha256");
  for (let at = from; at < to;) {
    const name = segmentName(segmentAt(timeline, at, segmentBytes), segmentBytes);
    const bytes = await readFile(join(pg.dataDirectory, "pg_wal", name));
    const start = segmentFloor(at, segmentBytes);
    const end = lsnOf(start + BigInt(segmentBytes)) < to ? lsnOf(start + BigInt(segmentBytes)) : to;
    hash.update(bytes.subarray(Number(at - start), Number(end - start)));
    at = end;
  }
  return hash.digest("hex");
}

const LOAD = `create table if not exists t (i int, filler text);
  insert into t select i, repeat(md5(i::text), 1 + i % 40) from generate_series(1, 20000) i;
  select pg_switch_wal();
  insert into t select i, md5(i::text) from generate_series(1, 3000) i`;

for (const segmentMb of [1, 16]) {
  test(`what is streamed equals pg_wal, to the last byte of the shutdown checkpoint (${segmentMb} MB segments)`, async () => {
    await using pg = await scratchPostgres({
      segmentMb,
      conf: ["wal_keep_size = 2GB", "wal_level = logical"],
    });
    await using connection = await connect(pg);
    assert.equal(await connection.show("wal_segment_size"), `${segmentMb}MB`);
    await connection.createSlot(SLOT);
    const { flushed, timeline, systemId } = await connection.identifySystem();
    assert.equal(systemId.toString(), await pg.psql("select system_identifier from pg_control_system()"));
    const start = segmentFloor(flushed, segmentMb * MIB);
    const keeper = new Keeper(start);
    const stream = connection.start({ slot: SLOT, timeline, start }, AbortSignal.timeout(60_000));
    const stopped = (async () => {
      await pg.psql(LOAD);
      await pg.stop();
    })();
    const end = await drain(stream, keeper, connection);
    await stopped;
    assert.deepEqual(end, { kind: "shutdown" });
    assert.ok(keeper.at - start > 10 * MIB, `${keeper.at - start} bytes`);
    assert.equal(keeper.sha(), await shaOfWal(pg, timeline, start, keeper.at, segmentMb * MIB));
    // After a clean stop the checkpoint's record is the last one: the stream reached behind it.
    const control = await pg.run("pg_controldata", [pg.dataDirectory]);
    const checkpoint = parseLsn(/Latest checkpoint location:\s+(\S+)/.exec(control.stdout)![1]!);
    assert.match(control.stdout, /cluster state:\s+shut down\n/);
    assert.ok(keeper.at > checkpoint, `${formatLsn(keeper.at)} lies behind ${formatLsn(checkpoint)}`);
  });
}

test("a start in the middle of a record, of a page and of a segment brings the same bytes", async () => {
  await using pg = await scratchPostgres({ segmentMb: 1, conf: ["wal_keep_size = 100MB"] });
  await pg.psql(LOAD);
  const end = parseLsn(await pg.psql("select pg_current_wal_flush_lsn()"));
  const base = segmentFloor(lsnOf(end - BigInt(3 * MIB)), MIB);
  for (const offset of [0, 1, 24, 8191, 8192, 8193, MIB - 1, MIB]) {
    const start = lsnOf(base + BigInt(offset));
    await using connection = await connect(pg);
    const keeper = new Keeper(start);
    const stream = connection.start({ slot: null, timeline: 1, start }, AbortSignal.timeout(30_000));
    for await (const event of stream) {
      if (event.kind === "wal") keeper.take(event);
      if (keeper.at >= end) break;
    }
    assert.equal(keeper.sha(), await shaOfWal(pg, 1, start, keeper.at, MIB), `start + ${offset}`);
  }
});

test("left in the middle, the connection is closed and the slot is free at once", async () => {
  await using pg = await scratchPostgres();
  await using sql = await sqlOf(pg);
  await ensureSlot(sql, SLOT);
  const connection = await connect(pg);
  const { flushed } = await connection.identifySystem();
  await pg.psql(LOAD);
  for await (const event of connection.start(
    { slot: SLOT, timeline: 1, start: flushed },
    AbortSignal.timeout(30_000),
  )) {
    if (event.kind === "wal") break;
  }
  await assert.rejects(connection.identifySystem(), /is closed/);
  await waitFor(async () => (await findSlot(sql, SLOT))?.active === false);
});

test("an abort ends the stream with its reason, also while nothing comes", async () => {
  await using pg = await scratchPostgres();
  await using connection = await connect(pg);
  const { flushed } = await connection.identifySystem();
  const abort = new AbortController();
  const stream = connection.start({ slot: null, timeline: 1, start: flushed }, abort.signal);
  setTimeout(() => abort.abort(new Error("no longer primary")), 300);
  await assert.rejects(drain(stream, new Keeper(flushed), connection), /no longer primary/);
});

test("endCopy ends the stream in order, and the connection can be used again", async () => {
  await using pg = await scratchPostgres();
  await using connection = await connect(pg);
  const { flushed } = await connection.identifySystem();
  for (let round = 0; round < 3; round += 1) {
    const stream = connection.start({ slot: null, timeline: 1, start: flushed }, AbortSignal.timeout(20_000));
    setTimeout(() => connection.endCopy(), 100);
    assert.deepEqual(await drain(stream, new Keeper(flushed), connection), { kind: "asked" });
    assert.equal((await connection.identifySystem()).timeline, 1);
  }
});

test("a slow consumer pauses the server, not the connection: three times the server's patience, then every byte", async () => {
  await using pg = await scratchPostgres({ conf: ["wal_sender_timeout = 2s", "wal_keep_size = 1GB"] });
  await using connection = await connect(pg, {
    statusIntervalMs: 500,
    silenceMs: 2_000,
    bufferBytes: 1 << 20,
  });
  const { flushed } = await connection.identifySystem();
  const keeper = new Keeper(flushed);
  const stream = connection.start({ slot: null, timeline: 1, start: flushed }, AbortSignal.timeout(60_000));
  await pg.psql(LOAD);
  await pg.psql(LOAD);
  const target = parseLsn(await pg.psql("select pg_current_wal_flush_lsn()"));
  assert.ok(target - flushed > 30 * MIB);
  const before = process.memoryUsage().rss;
  let slept = false;
  for await (const event of stream) {
    if (event.kind === "wal") keeper.take(event);
    if (!slept && keeper.at > flushed) {
      slept = true;
      await delay(6_000);
      assert.ok(process.memoryUsage().rss - before < 64 * MIB, "what is not taken stays in the server");
    }
    if (keeper.at >= target) break;
  }
  assert.equal(keeper.sha(), await shaOfWal(pg, 1, flushed, keeper.at, 16 * MIB));
});

test("pieces that are kept do not change while more arrives", async () => {
  await using pg = await scratchPostgres({ conf: ["wal_keep_size = 1GB"] });
  await using connection = await connect(pg);
  const { flushed } = await connection.identifySystem();
  await pg.psql(LOAD);
  const target = parseLsn(await pg.psql("select pg_current_wal_flush_lsn()"));
  const kept: { bytes: Uint8Array; hash: string }[] = [];
  for await (const event of connection.start(
    { slot: null, timeline: 1, start: flushed },
    AbortSignal.timeout(30_000),
  )) {
    if (event.kind !== "wal") continue;
    kept.push({ bytes: event.bytes, hash: createHash("sha256").update(event.bytes).digest("hex") });
    if (lsnOf(event.lsn + BigInt(event.bytes.byteLength)) >= target) break;
  }
  assert.ok(kept.length > 100);
  for (const { bytes, hash } of kept) assert.equal(createHash("sha256").update(bytes).digest("hex"), hash);
});

test("an idle stream lives past the server's patience, and positions reach the slot", async () => {
  await using pg = await scratchPostgres({ conf: ["wal_sender_timeout = 1s"] });
  await using sql = await sqlOf(pg);
  await ensureSlot(sql, SLOT);
  await using connection = await connect(pg, { statusIntervalMs: 300 });
  const { flushed } = await connection.identifySystem();
  const stream = connection.start({ slot: SLOT, timeline: 1, start: flushed }, AbortSignal.timeout(30_000));
  const drained = drain(stream, new Keeper(flushed), connection);
  await delay(3_000);
  await pg.psql("create table late as select 1");
  await waitFor(async () => {
    const slot = await findSlot(sql, SLOT);
    return slot?.active === true && slot.restart !== null && slot.restart > flushed;
  });
  connection.endCopy();
  assert.deepEqual(await drained, { kind: "asked" });
});

test("what the server refuses is thrown by the first step, with its state, and the connection lives on", async () => {
  await using pg = await scratchPostgres({
    segmentMb: 1,
    conf: ["max_wal_size = 2MB", "min_wal_size = 2MB"],
  });
  await using connection = await connect(pg);
  const { flushed } = await connection.identifySystem();
  const first = async (slot: string | null, timeline: number, start: Lsn): Promise<ServerError> => {
    try {
      for await (const event of connection.start({ slot, timeline, start }, AbortSignal.timeout(10_000))) {
        throw new Error(`unexpected ${event.kind}`);
      }
    } catch (error) {
      assert.ok(error instanceof ServerError, String(error));
      return error;
    }
    throw new Error("not refused");
  };
  const noSlot = await first("nobody", 1, flushed);
  assert.equal(noSlot.sqlState, SQLSTATE.undefinedObject);
  assert.match(noSlot.message, /replication slot "nobody" does not exist/);
  const ahead = await first(null, 1, lsnOf(flushed + BigInt(MIB)));
  assert.match(ahead.message, /ahead of the WAL flush position/);
  const stranger = await first(null, 7, flushed);
  assert.match(stranger.message, /requested timeline 7 is not in this server's history/);
  await pg.psql(LOAD);
  await pg.psql("checkpoint; select pg_switch_wal(); checkpoint");
  const gone = await first(null, 1, segmentFloor(flushed, MIB));
  assert.equal(gone.sqlState, SQLSTATE.undefinedFile);
  assert.match(gone.message, /has already been removed/);
  assert.equal((await connection.identifySystem()).timeline, 1);
  await assert.rejects(connection.createSlot("bad-name"), (error: unknown) => {
    assert.ok(error instanceof ServerError);
    assert.match(error.message, /could not run CREATE_REPLICATION_SLOT "bad-name" PHYSICAL RESERVE_WAL/);
    return true;
  });
  await connection.createSlot(SLOT);
  await assert.rejects(connection.createSlot(SLOT), { sqlState: SQLSTATE.duplicateObject });
  assert.equal((await connection.readSlot(SLOT))?.timeline, 1);
  assert.equal(await connection.readSlot("nobody"), null);
  await connection.dropSlot(SLOT);
  await assert.rejects(connection.dropSlot(SLOT), { sqlState: SQLSTATE.undefinedObject });
});

test("a slot that another connection holds is refused by its state", async () => {
  await using pg = await scratchPostgres();
  await using holder = await connect(pg);
  await using other = await connect(pg);
  await holder.createSlot(SLOT);
  const { flushed } = await holder.identifySystem();
  const held = holder.start({ slot: SLOT, timeline: 1, start: flushed }, AbortSignal.timeout(20_000));
  const drained = drain(held, new Keeper(flushed), holder);
  await delay(200);
  await assert.rejects(
    drain(
      other.start({ slot: SLOT, timeline: 1, start: flushed }, AbortSignal.timeout(20_000)),
      new Keeper(flushed),
      other,
    ),
    { sqlState: SQLSTATE.objectInUse },
  );
  holder.endCopy();
  await drained;
});

test("killed under load, the server's end is an error, and what came before it equals pg_wal after recovery", async () => {
  await using pg = await scratchPostgres({ conf: ["wal_keep_size = 1GB", "synchronous_commit = off"] });
  await using connection = await connect(pg);
  const { flushed } = await connection.identifySystem();
  const keeper = new Keeper(flushed);
  const stream = connection.start({ slot: null, timeline: 1, start: flushed }, AbortSignal.timeout(60_000));
  const load = pg.psql(`${LOAD}; ${LOAD}; ${LOAD}; ${LOAD}`).catch(() => "cut short");
  const killing: Promise<void>[] = [];
  await assert.rejects(
    drain(stream, keeper, connection, () => {
      if (keeper.at - flushed > 4 * MIB && killing.length === 0) killing.push(pg.kill());
    }),
    (error: unknown) => error instanceof ServerError && error.sqlState === null,
  );
  await Promise.all(killing);
  await load;
  assert.equal(keeper.sha(), await shaOfWal(pg, 1, flushed, keeper.at, 16 * MIB), "before recovery");
  await pg.start();
  assert.equal(keeper.sha(), await shaOfWal(pg, 1, flushed, keeper.at, 16 * MIB), "after recovery (W7)");
});

test("the immediate stop of a frozen consumer's server is noticed", async () => {
  await using pg = await scratchPostgres();
  await using connection = await connect(pg, { statusIntervalMs: 200, silenceMs: 1_000 });
  const { flushed } = await connection.identifySystem();
  const stream = connection.start({ slot: null, timeline: 1, start: flushed }, AbortSignal.timeout(30_000));
  const drained = assert.rejects(
    drain(stream, new Keeper(flushed), connection),
    /nothing was heard from the walsender/,
  );
  await delay(300);
  const walsender = Number(await pg.psql("select pid from pg_stat_replication"));
  process.kill(walsender, "SIGSTOP");
  await drained;
  process.kill(walsender, "SIGCONT");
});

test("a promotion ends the stream with the next timeline, and its history and bytes follow on the same connection", async () => {
  await using primary = await scratchPostgres({ segmentMb: 1, conf: ["wal_keep_size = 200MB"] });
  await primary.psql(LOAD);
  await using standby = await copyAsStandby(primary);
  await using connection = await connect(standby);
  const identity = await connection.identifySystem();
  assert.equal(identity.timeline, 1);
  const keeper = new Keeper(segmentFloor(identity.flushed, MIB));
  const stream = connection.start(
    { slot: null, timeline: 1, start: keeper.start },
    AbortSignal.timeout(60_000),
  );
  await primary.psql("create table before_fork as select generate_series(1, 5000) i");
  setTimeout(() => void standby.psql("select pg_promote()"), 1_000);
  const end = await drain(stream, keeper, connection);
  assert.equal(end.kind, "timeline");
  assert.ok(end.kind === "timeline");
  assert.equal(end.timeline, 2);
  assert.equal(end.start, keeper.at, "the parent was streamed up to the fork");
  const history = await connection.timelineHistory(2);
  assert.equal(history.name, "00000002.history");
  assert.equal(
    history.content,
    await readFile(join(standby.dataDirectory, "pg_wal", "00000002.history"), "utf8"),
  );
  const child = new Keeper(segmentFloor(end.start, MIB));
  const second = connection.start(
    { slot: null, timeline: 2, start: child.start },
    AbortSignal.timeout(60_000),
  );
  setTimeout(() => void standby.psql(LOAD).then(() => standby.stop()), 0);
  assert.deepEqual(await drain(second, child, connection), { kind: "shutdown" });
  assert.equal(child.sha(), await shaOfWal(standby, 2, child.start, child.at, MIB));
});

test("TLS and SCRAM carry the same bytes; a wrong password and a missing line are told apart", async () => {
  await using pg = await scratchPostgres({
    tcp: true,
    start: false,
    conf: ["ssl = on", "wal_keep_size = 1GB", "password_encryption = 'scram-sha-256'"],
    hba: [
      "hostssl replication streamer 127.0.0.1/32 scram-sha-256",
      "hostnossl all all all reject",
      "host replication all 127.0.0.1/32 reject",
    ],
  });
  const { execFileSync } = await import("node:child_process");
  execFileSync(
    "openssl",
    [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch -days 2 -subj /CN=pg -addext subjectAltName=DNS:localhost,IP:127.0.0.1".split(
        " ",
      ),
      "-keyout",
      join(pg.dataDirectory, "server.key"),
      "-out",
      join(pg.dataDirectory, "server.crt"),
    ],
    { ...pg.user, stdio: "ignore" },
  );
  await pg.start();
  await pg.psql("create role streamer login replication password 'päss wörd_1'");
  const ca = await readFile(join(pg.dataDirectory, "server.crt"), "utf8");
  const secure: ServerAddress = {
    host: "127.0.0.1",
    port: pg.port,
    user: "streamer",
    password: new Secret("päss wörd_1"),
    tls: { kind: "verify", ca },
    applicationName: "trial",
  };
  await using connection = await connectReplication(secure, { clock: systemClock });
  const { flushed } = await connection.identifySystem();
  const keeper = new Keeper(flushed);
  const stream = connection.start({ slot: null, timeline: 1, start: flushed }, AbortSignal.timeout(60_000));
  const stopping = pg
    .psql(LOAD)
    .then(() => pg.psql("select client_addr, ssl from pg_stat_ssl join pg_stat_replication using (pid)"))
    .then(async (shown) => {
      await pg.stop();
      return shown;
    });
  assert.deepEqual(await drain(stream, keeper, connection), { kind: "shutdown" });
  assert.equal(await stopping, "127.0.0.1|t");
  assert.equal(keeper.sha(), await shaOfWal(pg, 1, flushed, keeper.at, 16 * MIB));
  await pg.start();
  const refused = async (change: Partial<ServerAddress>): Promise<ServerError> => {
    try {
      await using opened = await connectReplication({ ...secure, ...change }, { clock: systemClock });
      throw new Error(`let in: ${(await opened.identifySystem()).timeline}`);
    } catch (error) {
      assert.ok(error instanceof ServerError, String(error));
      assert.doesNotMatch(JSON.stringify(error), /wörd|wrong one/, "no password in an error");
      return error;
    }
  };
  assert.equal((await refused({ password: new Secret("wrong one") })).sqlState, SQLSTATE.invalidPassword);
  assert.equal((await refused({ tls: { kind: "off" } })).sqlState, SQLSTATE.noHbaEntry);
  assert.equal((await refused({ user: "postgres" })).sqlState, SQLSTATE.noHbaEntry);
  const { stdout: other } = await execOpenssl();
  assert.match(
    String((await refused({ tls: { kind: "verify", ca: other } })).cause),
    /self.signed|certificate/,
  );
});

test("a server that is not there is an error within the limit", async () => {
  await using pg = await scratchPostgres({ start: false });
  await assert.rejects(connect(pg), /could not connect for replication to postgres@/);
  await using silent = await silentHost();
  await assert.rejects(
    connectReplication(
      { ...addressOf(pg), host: silent.host, port: silent.port, connectTimeoutMs: 500 },
      { clock: systemClock },
    ),
    (error: unknown) => error instanceof ServerError && error.sqlState === null,
  );
});

async function execOpenssl(): Promise<{ stdout: string }> {
  const { execFile } = await import("node:child_process");
  const { promisify } = await import("node:util");
  return promisify(execFile)("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch -days 2 -subj /CN=other -keyout /dev/null".split(
      " ",
    ),
  ]);
}

/** A standby of `primary` that streams from it, made from a copy taken while it was stopped. */
async function copyAsStandby(primary: ScratchPostgres): Promise<ScratchPostgres> {
  const standby = await scratchPostgres({ start: false, segmentMb: 1 });
  await primary.stop();
  await cp(primary.dataDirectory, standby.dataDirectory, { recursive: true, force: true });
  await primary.start();
  const { execFileSync } = await import("node:child_process");
  if (standby.user.uid !== undefined) {
    execFileSync("chown", ["-R", `${standby.user.uid}:${standby.user.gid}`, standby.dataDirectory]);
  }
  execFileSync("touch", [join(standby.dataDirectory, "standby.signal")], { ...standby.user });
  await standby.configure([
    `primary_conninfo = 'host=${primary.host} port=${primary.port} user=postgres'`,
    "hot_standby = on",
  ]);
  await standby.start();
  return standby;
}

async function waitFor(check: () => Promise<boolean>, limitMs = 15_000): Promise<void> {
  for (const deadline = Date.now() + limitMs; ;) {
    if (await check()) return;
    if (Date.now() > deadline) throw new Error("it did not come true in time");
    await delay(50);
  }
}
