// The streamer against a real server: who holds the slot, what a lost slot costs, what a crash and a restart mean.

import assert from "node:assert/strict";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { joinLog } from "../../src/archive/join-log.ts";
import { systemClock, waitUntil } from "../../src/base/clock.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { connectReplication } from "../../src/postgres/replication-connection.ts";
import { readControlFile } from "../../src/postgres/data-directory.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import type { Junction } from "../../src/tail/junction.ts";
import { LogOwner } from "../../src/tail/owner.ts";
import { DEFAULT_RHYTHM } from "../../src/tail/owner-options.ts";
import { NO_PROMOTION } from "../../src/tail/slot.ts";
import { type Claim, takeOver } from "../../src/tail/take-over.ts";
import { formatLsn, type Lsn } from "../../src/wal/lsn.ts";
import { Archiving, Hooks, LZ4, testLog } from "../support/archive-bench.ts";
import { scratchFolder, type ScratchPostgres, scratchPostgres } from "../support/scratch-postgres.ts";

interface Bench extends AsyncDisposable {
  readonly things: AsyncDisposableStack;
  readonly server: ScratchPostgres;
  readonly hooks: Hooks;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
}

async function bench(conf: readonly string[] = []): Promise<Bench> {
  const things = new AsyncDisposableStack();
  const folder = things.use(await scratchFolder());
  const server = things.use(await scratchPostgres({ segmentMb: 1, start: false }));
  const hooks = things.use(await Hooks.open(server.root, server.user));
  await server.configure([...hooks.conf, "fsync = off", ...conf]);
  await server.start();
  const store = await openFolderStore(join(folder.path, "store"), { create: true });
  const signal = AbortSignal.timeout(120_000);
  return { things, server, hooks, store, signal, [Symbol.asyncDispose]: () => things.disposeAsync() };
}

const writeSome = (server: ScratchPostgres, megabytes: number): Promise<string> =>
  server.psql(
    `select pg_logical_emit_message(false, 'x', repeat('y', 500000)) from generate_series(1, ${megabytes * 2})`,
  );

test("a stale walsender that holds the slot is ended, and streaming begins", async () => {
  await using here = await bench();
  const { things, server, hooks, store, signal } = here;
  const address = { host: server.host, port: server.port, user: "postgres", applicationName: "stale" };
  const stale = things.use(await connectReplication(address, { clock: systemClock }));
  await stale.createSlot("holdfast");
  const { timeline, flushed } = await stale.identifySystem();
  const start = (flushed - (flushed % BigInt(1 << 20))) as Lsn;
  const events = stale.start({ slot: "holdfast", timeline, start }, signal);
  await events.next();
  const archiving = things.use(await Archiving.begin(server, store, hooks, { signal }));
  await writeSome(server, 2);
  await archiving.settle(server);
  assert.equal(archiving.streamer.status().phase, "streaming");
  await events.return().catch(() => undefined);
});

test("a connection that breaks is opened again in the same epoch; another start of Postgres ends the streamer", async () => {
  await using here = await bench();
  const { things, server, hooks, store, signal } = here;
  const archiving = things.use(await Archiving.begin(server, store, hooks, { signal, flushMs: 50 }));
  await archiving.settle(server);
  const { epoch } = archiving.streamer.status();
  await server.psql("select pg_terminate_backend(pid) from pg_stat_replication");
  await writeSome(server, 2);
  await archiving.settle(server);
  assert.equal(archiving.streamer.status().epoch, epoch);
  const isWell = async (): Promise<boolean> => archiving.streamer.status().connection === null;
  assert.ok(await waitUntil(isWell, 10_000, { clock: systemClock, pollMs: 20 }));
  await server.stop("immediate");
  await server.start();
  assert.equal((await archiving.ended()).kind, "server-restarted");
});

test("a slot that was lost costs nothing while pg_wal has the segments", async () => {
  await using here = await bench(["max_slot_wal_keep_size = 2MB"]);
  const { things, server, hooks, store, signal } = here;
  const first = await Archiving.begin(server, store, hooks, { signal });
  await first.settle(server);
  await first.streamer.stop();
  hooks.answers.archive = async () => ({ exit: 1, sentence: "nobody owns the log" });
  await writeSome(server, 12);
  await server.psql("checkpoint");
  await writeSome(server, 2);
  await server.psql("checkpoint");
  assert.equal(await server.psql("select wal_status from pg_replication_slots"), "lost");
  const gaps: string[] = [];
  const again = things.use(
    await Archiving.begin(server, store, hooks, {
      ...{ signal, beginning: "continue" },
      onGap: (from, to) => void gaps.push(`${formatLsn(from)}-${formatLsn(to)}`),
    }),
  );
  await writeSome(server, 1);
  await again.settle(server);
  assert.deepEqual(gaps, []);
  assert.notEqual(await server.psql("select wal_status from pg_replication_slots"), "lost");
});

test("WAL that is nowhere any more is named as a gap, and streaming goes on behind it", async () => {
  await using here = await bench([
    "max_slot_wal_keep_size = 2MB",
    "archive_mode = off",
    "wal_recycle = off",
    "max_wal_size = 2MB",
    "min_wal_size = 2MB",
  ]);
  const { things, server, hooks, store, signal } = here;
  const first = await Archiving.begin(server, store, hooks, { signal });
  await first.settle(server);
  await first.streamer.stop();
  for (let round = 0; round < 6; round += 1) {
    await writeSome(server, 4);
    await server.psql("checkpoint");
  }
  const gaps: { from: Lsn; to: Lsn }[] = [];
  const again = things.use(
    await Archiving.begin(server, store, hooks, {
      ...{ signal, beginning: "continue" },
      onGap: (from, to) => void gaps.push({ from, to }),
    }),
  );
  await writeSome(server, 1);
  await again.settle(server);
  // So little WAL is kept that the server may throw away more before the stream has begun.
  assert.ok(gaps.length > 0);
  for (const { from, to } of gaps) {
    assert.ok(to > from);
    assert.equal(to % BigInt(1 << 20), 0n);
  }
});

/** Takes the log over for a stopped server and decides the junction. */
async function junctionOf({
  server,
  store,
  signal,
}: Bench): Promise<{ readonly claim: Claim; readonly junction: Junction }> {
  const { systemId, segmentBytes } = await readControlFile(server.dataDirectory);
  const tools = { clock: systemClock, log: testLog, signal, random: Math.random };
  const identity = { systemId, segmentBytes };
  const claim = await takeOver(store, {
    ...tools,
    ...{ identity, purpose: "start", node: "test", fencing: "conditional", cipher: noCipher },
  });
  await using owner = new LogOwner({ ...tools, ...DEFAULT_RHYTHM, claim, store, codec: LZ4 });
  const ids = { promotion: NO_PROMOTION, parentPromotion: NO_PROMOTION };
  const { junction } = await joinLog({ owner, dataDirectory: server.dataDirectory, members: [], ...ids });
  return { claim, junction };
}

test("a crashed volume continues, from inside a record too; one that was rolled back is a suspect", async () => {
  await using here = await bench(["wal_buffers = 256kB", "wal_writer_delay = 10ms"]);
  const { things, server, hooks, store, signal } = here;
  let archiving = await Archiving.begin(server, store, hooks, { signal, flushMs: 20 });
  const copy = join(server.root, "copy");
  for (const round of [1, 2, 3]) {
    void writeSome(server, 40).catch(() => undefined);
    await delay(400);
    await server.kill();
    await archiving.streamer.stop();
    const { claim, junction } = await junctionOf(here);
    assert.equal(junction.kind, "continue", `round ${round}: ${junction.because}`);
    if (round === 2) await cp(server.dataDirectory, copy, { recursive: true, preserveTimestamps: true });
    await server.start();
    archiving = await Archiving.begin(server, store, hooks, {
      signal,
      flushMs: 20,
      claim,
      beginning: "continue",
    });
    await writeSome(server, 3);
    await archiving.settle(server);
  }
  await server.stop();
  await archiving.streamer.stop();
  await rm(server.dataDirectory, { recursive: true });
  await cp(copy, server.dataDirectory, { recursive: true, preserveTimestamps: true });
  const { junction } = await junctionOf(here);
  assert.equal(junction.kind, "suspect");
  assert.match(junction.because, /pg_wal/);
  assert.ok(things !== undefined);
});
