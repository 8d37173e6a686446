// Write, stream, lose everything, fetch, replay: the rows are there.

import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { localPath } from "../../src/archive/local-wal.ts";
import { RestoreCommand } from "../../src/archive/restore-command.ts";
import { readSourceLog } from "../../src/archive/archive-source.ts";
import { PathReader } from "../../src/archive/path-reader.ts";
import { writeDurably } from "../../src/base/durable-file.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { formatLsn, parseLsn, ZERO_LSN } from "../../src/wal/lsn.ts";
import { Archiving, baseCopy, copyForRestore, Hooks, sourceOf } from "../support/archive-bench.ts";
import { scratchFolder, type ScratchPostgres, scratchPostgres } from "../support/scratch-postgres.ts";

/** A server that archives into a folder, with a base copy taken while it does. */
async function primary(things: AsyncDisposableStack, signal: AbortSignal, conf: readonly string[] = []) {
  const folder = things.use(await scratchFolder());
  const server = things.use(await scratchPostgres({ segmentMb: 1, start: false }));
  const hooks = things.use(await Hooks.open(server.root, server.user));
  await server.configure([...hooks.conf, "wal_sender_timeout = 5s", ...conf]);
  await server.start();
  const store = await openFolderStore(join(folder.path, "store"), { create: true });
  const archiving = things.use(await Archiving.begin(server, store, hooks, { signal }));
  const base = join(server.root, "base");
  await baseCopy(server, base);
  return { server, hooks, store, archiving, base };
}

/** Starts a standby on a copy of `base` that gets everything from the archive, and waits for the log's end. */
async function restored(
  things: AsyncDisposableStack,
  base: string,
  origin: ScratchPostgres,
  store: ObjectStore,
  signal: AbortSignal,
) {
  const source = await sourceOf(origin, store);
  const view = await readSourceLog(source, signal);
  const { path, end } = view!.tip!;
  const recordEnd = (await new PathReader(source, view, path).recordEnd(end, ZERO_LSN, signal)).at;
  const server = things.use(await scratchPostgres({ start: false, segmentMb: 1 }));
  const hooks = things.use(await Hooks.open(server.root, server.user));
  await copyForRestore(base, server.dataDirectory, origin, [
    ...hooks.conf,
    "archive_command = ''",
    `recovery_target_timeline = '${path.at(-1)!.timeline}'`,
  ]);
  await writeDurably(join(server.dataDirectory, "standby.signal"), "");
  const command = new RestoreCommand({
    source,
    target: path,
    situation: "restore",
    dataDirectory: server.dataDirectory,
    spool: join(server.root, "spool"),
    signal,
  });
  hooks.answers.restore = (request, requestSignal) => command.answer(request, requestSignal);
  await server.start();
  for (;;) {
    const at = parseLsn(await server.psql("select pg_last_wal_replay_lsn()"));
    if (at === recordEnd) break;
    assert.ok(
      at < recordEnd,
      `replayed to ${formatLsn(at)}, the log's records end at ${formatLsn(recordEnd)}`,
    );
    await delay(50, undefined, { signal });
  }
  return { server, hooks, command, recordEnd, view };
}

test("what was acknowledged and older than the interval survives kill -9 and the loss of the directory", async () => {
  const signal = AbortSignal.timeout(120_000);
  await using things = new AsyncDisposableStack();
  const { server, store, archiving, base } = await primary(things, signal);
  await server.psql("create table rows(id int primary key, filler text)");
  const committed: { id: number; atMs: number }[] = [];
  const began = Date.now();
  for (let id = 1; Date.now() - began < 4_000; id += 1) {
    await server.psql(`insert into rows values (${id}, repeat('x', ${(id * 7919) % 20_000}))`);
    committed.push({ id, atMs: Date.now() });
  }
  const killedMs = Date.now();
  await server.kill();
  await archiving.streamer.stop();
  const again = await restored(things, base, server, store, signal);
  const kept = new Set((await again.server.psql("select id from rows")).split("\n").map(Number));
  const lost = committed.filter(({ id }) => !kept.has(id));
  const oldest = Math.max(0, ...lost.map(({ atMs }) => killedMs - atMs));
  assert.ok(oldest <= 1_200, `the oldest lost commit was acknowledged ${oldest} ms before the kill`);
  assert.ok(kept.size > 0);
  assert.equal(kept.size + lost.length, committed.length);
  await again.command.close();
  await again.server.stop();
  assert.equal((await localPath(again.server.dataDirectory)).length, 1);
});
