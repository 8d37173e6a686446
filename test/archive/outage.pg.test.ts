// The store goes away under load: commits go on, the outage is seen, memory is bounded, and the backlog drains by itself.

import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { segmentRuns } from "../../src/archive/gaps.ts";
import { listWal } from "../../src/archive/wal-catalog.ts";
import { systemClock } from "../../src/base/clock.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { Archiving, Hooks } from "../support/archive-bench.ts";
import { FaultyStore, NO_FAULTS } from "../support/faulty-store.ts";
import { makeRandom } from "../support/random.ts";
import { scratchFolder, scratchPostgres } from "../support/scratch-postgres.ts";

test("an outage under load: nothing waits, everything is there afterwards", async () => {
  const signal = AbortSignal.timeout(180_000);
  await using things = new AsyncDisposableStack();
  const folder = things.use(await scratchFolder());
  const server = things.use(await scratchPostgres({ segmentMb: 1, start: false }));
  const hooks = things.use(await Hooks.open(server.root, server.user));
  await server.configure([...hooks.conf, "fsync = off", "wal_sender_timeout = 3s"]);
  await server.start();
  const inner = await openFolderStore(join(folder.path, "store"), { create: true });
  const store = new FaultyStore(inner, NO_FAULTS, { random: makeRandom(1), clock: systemClock });
  const archiving = things.use(await Archiving.begin(server, store, hooks, { signal, flushMs: 200 }));
  await server.psql("create table rows(id int, filler text)");
  await archiving.settle(server);

  store.reachable = false;
  const began = Date.now();
  for (let round = 0; round < 20; round += 1) {
    await server.psql(
      `insert into rows select ${round}, repeat(md5(g::text), 50) from generate_series(1, 1000) g`,
    );
  }
  const tookMs = Date.now() - began;
  await delay(5_000); // longer than wal_sender_timeout: the heartbeat keeps the connection
  const during = archiving.streamer.status();
  assert.equal(during.phase, "streaming");
  assert.ok(during.store !== null, "the trouble is seen");
  assert.ok(during.store.sinceMs >= began - 1_000 && during.store.lastError !== "");
  assert.ok(during.lagBytes > 20 * (1 << 20), `behind by ${during.lagBytes} bytes`);
  assert.ok(during.lagSeconds >= 4, `behind by ${during.lagSeconds} s`);
  assert.equal(during.slotWalStatus, "reserved");
  // The archiver is honest: archive_command waits for some seconds and then says no.
  while ((await server.psql("select failed_count > 0 from pg_stat_archiver")) !== "t") {
    signal.throwIfAborted();
    await delay(200);
  }
  const kept = Number(await server.psql("select count(*) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'"));
  assert.ok(kept >= 20, `${kept} segments are kept in pg_wal`);

  store.reachable = true;
  const back = Date.now();
  await archiving.settle(server, 60_000);
  await server.psql("select pg_switch_wal()");
  const last = await server.psql("select pg_walfile_name(pg_current_wal_lsn() - 1)");
  for (;;) {
    signal.throwIfAborted();
    if (
      (await server.psql("select coalesce(last_archived_wal, '') from pg_stat_archiver")).slice(0, 24) >= last
    )
      break;
    await delay(50);
  }
  // A snapshot of running transactions may be written at any moment.
  for (; archiving.streamer.status().lagBytes > 0; await delay(20)) signal.throwIfAborted();
  assert.equal(archiving.streamer.status().store, null);
  const found = [];
  for await (const { meaning } of listWal(inner, 1 << 20, signal))
    if (meaning.kind === "segment") found.push(meaning.segment);
  assert.equal(segmentRuns(found).length, 1, "no segment is missing");
  const end = parseLsn(await server.psql("select pg_current_wal_lsn()"));
  assert.ok(archiving.owner.durable! >= end - BigInt(1 << 20));
  console.log(
    `20 inserts of 1.6 MB took ${tookMs} ms without the store; the backlog drained in ${Date.now() - back} ms`,
  );
});

test("a fast stop waits for the last WAL, and not at all when the store is away", async () => {
  const signal = AbortSignal.timeout(120_000);
  await using things = new AsyncDisposableStack();
  const folder = things.use(await scratchFolder());
  const server = things.use(await scratchPostgres({ segmentMb: 1, start: false }));
  const hooks = things.use(await Hooks.open(server.root, server.user));
  await server.configure([...hooks.conf, "fsync = off"]);
  await server.start();
  const inner = await openFolderStore(join(folder.path, "store"), { create: true });
  const store = new FaultyStore(inner, NO_FAULTS, { random: makeRandom(2), clock: systemClock });
  const archiving = things.use(await Archiving.begin(server, store, hooks, { signal }));
  await server.psql("create table rows(id int)");
  await archiving.settle(server);
  await server.psql("insert into rows values (0)");
  const began = Date.now();
  const [outcome] = await Promise.all([archiving.streamer.drain(20_000), server.stop("fast")]);
  assert.deepEqual(outcome, { settled: true, complete: true });
  console.log(`a stop with the store took ${Date.now() - began} ms`);

  await server.start();
  const again = things.use(await Archiving.begin(server, store, hooks, { signal, beginning: "continue" }));
  await again.settle(server);
  store.reachable = false;
  await server.psql("insert into rows values (1)");
  const later = Date.now();
  const [away] = await Promise.all([again.streamer.drain(1_500), server.stop("fast", 20_000)]);
  const tookMs = Date.now() - later;
  assert.deepEqual(away, { settled: false, complete: false });
  assert.ok(tookMs < 10_000, `the stop took ${tookMs} ms`);
  assert.ok(hooks.calls.filter(({ verb }) => verb === "archive").every(({ ms }) => ms < 9_000));
});
