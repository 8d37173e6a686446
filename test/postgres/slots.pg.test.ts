// Physical slots: made once, kept, lost and made anew, freed from a frozen holder.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "../../src/base/clock.ts";
import { connectReplication } from "../../src/postgres/replication-connection.ts";
import type { ServerAddress } from "../../src/postgres/server-address.ts";
import { ServerError } from "../../src/postgres/server-error.ts";
import {
  advanceSlot,
  dropSlot,
  ensureSlot,
  findSlot,
  freeSlot,
  listSlots,
} from "../../src/postgres/slots.ts";
import { connectSql } from "../../src/postgres/sql.ts";
import { lsnOf, parseLsn } from "../../src/wal/lsn.ts";
import { type ScratchPostgres, scratchPostgres } from "../support/scratch-postgres.ts";

const addressOf = (pg: ScratchPostgres): ServerAddress => ({
  host: pg.host,
  port: pg.port,
  user: "postgres",
  applicationName: "trial",
});

test("a slot is made once, advances, never goes back, and is dropped", async () => {
  await using pg = await scratchPostgres({ segmentMb: 1 });
  await using sql = await connectSql(addressOf(pg));
  assert.equal(await ensureSlot(sql, "ours"), "fresh");
  assert.equal(await ensureSlot(sql, "ours"), "kept");
  const before = await findSlot(sql, "ours");
  assert.ok(before?.restart !== null && before?.restart !== undefined);
  assert.deepEqual([before.kind, before.active, before.walStatus], ["physical", false, "reserved"]);
  await pg.psql("create table t as select generate_series(1, 1000)");
  const now = parseLsn(await pg.psql("select pg_current_wal_flush_lsn()"));
  assert.equal(await advanceSlot(sql, "ours", now), now);
  assert.equal((await findSlot(sql, "ours"))?.restart, now);
  await assert.rejects(advanceSlot(sql, "ours", before.restart), ServerError);
  assert.equal(
    (await advanceSlot(sql, "ours", lsnOf(now + 0x1000_0000n))) >= now,
    true,
    "clamped, not refused",
  );
  assert.equal(await dropSlot(sql, "ours"), true);
  assert.equal(await dropSlot(sql, "ours"), false);
  assert.deepEqual(await listSlots(sql), []);
  assert.equal(await findSlot(sql, "ours"), null);
});

test("a slot that lost its WAL is replaced, and one that is logical is not touched", async () => {
  await using pg = await scratchPostgres({
    segmentMb: 1,
    conf: ["max_slot_wal_keep_size = 1MB", "max_wal_size = 2MB", "min_wal_size = 2MB", "wal_level = logical"],
  });
  await using sql = await connectSql(addressOf(pg));
  await ensureSlot(sql, "ours");
  for (let round = 0; round < 8; round += 1) {
    await pg.psql("create table t as select generate_series(1, 3000); drop table t; select pg_switch_wal()");
  }
  await pg.psql("checkpoint");
  const lost = await findSlot(sql, "ours");
  assert.deepEqual([lost?.walStatus, lost?.restart], ["lost", null]);
  assert.equal(await ensureSlot(sql, "ours"), "fresh");
  assert.equal((await findSlot(sql, "ours"))?.walStatus, "reserved");
  await pg.psql("select pg_create_logical_replication_slot('theirs', 'test_decoding')");
  await assert.rejects(ensureSlot(sql, "theirs"), { message: 'slot "theirs" is a logical one' });
  assert.deepEqual(
    (await listSlots(sql)).map(({ name, kind }) => [name, kind]),
    [
      ["ours", "physical"],
      ["theirs", "logical"],
    ],
  );
});

test("a frozen holder is ended, and the slot is free at once", async () => {
  await using pg = await scratchPostgres();
  await using sql = await connectSql(addressOf(pg));
  await ensureSlot(sql, "ours");
  const holder = await connectReplication(addressOf(pg), { clock: systemClock });
  const { flushed } = await holder.identifySystem();
  const stream = holder.start({ slot: "ours", timeline: 1, start: flushed }, AbortSignal.timeout(20_000));
  const ended = assert.rejects(stream.next(), ServerError);
  for (let tries = 0; (await findSlot(sql, "ours"))?.active !== true && tries < 100; tries += 1)
    await delay(20);
  await assert.rejects(dropSlot(sql, "ours"), { sqlState: "55006" });
  assert.equal(await freeSlot(sql, "ours"), true);
  await ended;
  for (let tries = 0; (await findSlot(sql, "ours"))?.active !== false && tries < 100; tries += 1)
    await delay(20);
  assert.equal(await freeSlot(sql, "ours"), false);
  assert.equal(await dropSlot(sql, "ours"), true);
  await holder.close();
});
