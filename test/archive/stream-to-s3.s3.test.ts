// Streaming into a real S3 server and back; and what restore_command says when the store refuses. Needs Postgres programs too.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import { readSourceLog } from "../../src/archive/archive-source.ts";
import { PathReader } from "../../src/archive/path-reader.ts";
import { RestoreCommand } from "../../src/archive/restore-command.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { openS3Store } from "../../src/storage/s3-store.ts";
import { LATEST } from "../../src/recovery/target.ts";
import { addBytes, ZERO_LSN } from "../../src/wal/lsn.ts";
import { Archiving, Hooks, sourceOf } from "../support/archive-bench.ts";
import { fetch, PLAIN, push } from "../support/backup-source.ts";
import { RestoreBench } from "../support/restore-bench.ts";
import { sharedS3Server } from "../support/s3-server.ts";
import { scratchPostgres } from "../support/scratch-postgres.ts";

const s3 = sharedS3Server();
const SEGMENT = "000000010000000000000001";

test("write, stream, kill -9, lose the machine, restore: the rows are there and the log is sound", async () => {
  const signal = AbortSignal.timeout(240_000);
  await using things = new AsyncDisposableStack();
  const store = await (await s3()).makeStore();
  const server = things.use(await scratchPostgres({ segmentMb: 1, start: false }));
  const hooks = things.use(await Hooks.open(server.root, server.user));
  await server.configure([...hooks.conf, "fsync = off"]);
  await server.start();
  const archiving = things.use(await Archiving.begin(server, store, hooks, { signal, flushMs: 200 }));
  await server.psql("create table rows(id int primary key, filler text)");
  await push(server, store, PLAIN);
  for (let round = 0; round < 5; round += 1) {
    await server.psql(
      `insert into rows select ${round} * 1000 + g, repeat(md5(g::text), 20) from generate_series(1, 1000) g`,
    );
  }
  await archiving.settle(server);
  await server.psql("insert into rows values (0, 'not settled')");
  await server.kill();
  await archiving.streamer.stop();
  const bench = things.use(await RestoreBench.open());
  const source = await sourceOf(server, store);
  const planned = await bench.plan(source, LATEST, signal);
  await fetch(store, planned.plan.backup.name, bench.dataDirectory, PLAIN);
  const { change } = await bench.perform(planned, store, signal);
  assert.equal(change.timeline, 2);
  assert.equal(await bench.psql("select count(*) from rows where id > 0"), "5000");
  const view = await readSourceLog(source, signal);
  const { path, end } = view!.tip!;
  const reader = new PathReader(source, view, path);
  assert.ok((await reader.recordEnd(end, ZERO_LSN, signal)).at <= addBytes(end, 1 << 20));
});

/** Answers one call on a source; the exit status. */
async function exitOn(source: ArchiveSource): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-exit-"));
  try {
    const command = new RestoreCommand({
      ...{
        source,
        target: "latest",
        situation: "restore",
        dataDirectory: folder,
        spool: join(folder, "spool"),
      },
      signal: new AbortController().signal,
      patience: { firstMs: 10, mostMs: 50, tries: 2, totalMs: 1_000 },
    });
    const { exit } = await command.answer(
      { name: SEGMENT, path: join(folder, "x") },
      new AbortController().signal,
    );
    return exit;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const sourceOn = (store: ArchiveSource["store"]): ArchiveSource => ({
  ...{ store, cipher: noCipher, likely: "lz4", clock: systemClock, log: silentLog },
  ...{ segmentBytes: 1 << 20, systemId: null, magic: null },
});

test("an empty prefix proves absence (1); a missing bucket, a wrong secret and no server leave a doubt (255)", async () => {
  const server = await s3();
  const tools = { clock: systemClock, log: silentLog };
  assert.equal(await exitOn(sourceOn(await server.makeStore())), 1);
  const nowhere = server.settings("no-such-bucket-here");
  assert.equal(await exitOn(sourceOn(await openS3Store(nowhere, tools))), 255);
  const wrong = server.settings(await server.makeBucket(), {
    credentials: {
      accessKeyId: new Secret(server.accessKey),
      secretAccessKey: new Secret("wrong"),
      sessionToken: null,
    },
  });
  assert.equal(await exitOn(sourceOn(await openS3Store(wrong, tools))), 255);
  const away = server.settings("x", { endpoint: "http://127.0.0.1:9", maxRetries: 1 });
  assert.equal(await exitOn(sourceOn(await openS3Store(away, tools))), 255);
});
