// How fast WAL gets into the store: a backlog streamed through the tail log, what it costs, and how long archive_command takes for a segment
// that the log already holds. `node scripts/bench/stream.ts [MB of WAL] [folder of the store]`; prints one JSON object.

import { execFile } from "node:child_process";
import { mkdtemp, rm, stat, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../src/base/clock.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { Archiving, Hooks } from "../../test/support/archive-bench.ts";
import { type ScratchPostgres, scratchPostgres } from "../../test/support/scratch-postgres.ts";

const MIB = 1024 * 1024;
const megabytes = Number(process.argv[2] ?? 1024);
const place = process.argv[3] ?? (await mkdtemp(join(tmpdir(), "holdfast-bench-")));

/** Writes about `wanted` MB of WAL, half of it text that compresses, half of it numbers and hashes. */
async function writeWal(server: ScratchPostgres, wanted: number): Promise<number> {
  const began = await position(server);
  await server.psql("create table if not exists wal(id bigint, filler text, document jsonb)");
  for (;;) {
    await server.psql(`insert into wal select g, repeat(md5(g::text), 8),
      jsonb_build_object('id', gen_random_uuid(), 'at', clock_timestamp(), 'sum', random()) from generate_series(1, 50000) g`);
    await server.psql("truncate wal");
    if ((await position(server)) - began >= wanted * MIB) break;
  }
  await server.psql("select pg_switch_wal()");
  return (await position(server)) - began;
}

const position = async (server: ScratchPostgres): Promise<number> =>
  Number(await server.psql("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"));

async function main(): Promise<void> {
  const signal = AbortSignal.timeout(30 * 60_000);
  await using things = new AsyncDisposableStack();
  const server = things.use(await scratchPostgres({ start: false }));
  const hooks = things.use(await Hooks.open(server.root, server.user));
  await server.configure([
    ...hooks.conf,
    "archive_command = 'false'",
    "max_wal_size = 8GB",
    "checkpoint_timeout = 1h",
  ]);
  await server.start();
  const store = await openFolderStore(place, { create: true });
  const first = await Archiving.begin(server, store, hooks, { signal });
  await first.settle(server);
  await first.streamer.stop();

  const bytes = await writeWal(server, megabytes);
  const cpu = process.cpuUsage();
  const began = performance.now();
  let mostRss = 0;
  const restRss = process.memoryUsage.rss();
  const watch = setInterval(() => (mostRss = Math.max(mostRss, process.memoryUsage.rss())), 50);
  const archiving = things.use(
    await Archiving.begin(server, store, hooks, { signal, beginning: "continue" }),
  );
  await archiving.settle(server, 30 * 60_000);
  const streamed = performance.now() - began;
  await archiving.owner.whenAllPublished(signal);
  const published = performance.now() - began;
  const used = process.cpuUsage(cpu);
  clearInterval(watch);

  // archive_command for what the log holds: the client's whole life, and the supervisor's part of it.
  await server.configure([`archive_command = '${hooks.command("archive")} %f %p'`]);
  server.reload();
  // Without the open one, which is nobody's to archive yet.
  const complete = await server.psql(`select name from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'
    and name < pg_walfile_name(pg_current_wal_lsn()) order by name limit 30`);
  const segments = complete.split("\n");
  const client: number[] = [];
  const asked = hooks.calls.length;
  for (const name of segments) {
    const at = performance.now();
    await promisify(execFile)("sh", [
      "-c",
      `${hooks.command("archive")} ${name} ${join(server.dataDirectory, "pg_wal", name)}`,
    ]);
    client.push(performance.now() - at);
  }
  const inside = hooks.calls
    .slice(asked)
    .filter(({ verb }) => verb === "archive")
    .map(({ ms }) => ms);
  const gib = bytes / 1024 ** 3;
  console.log(
    JSON.stringify(
      {
        walMB: Math.round(bytes / MIB),
        streamedMBs: round(bytes / MIB / (streamed / 1000)),
        publishedMBs: round(bytes / MIB / (published / 1000)),
        cpuSecondsPerGiB: round((used.user + used.system) / 1e6 / gib),
        restRssMB: Math.round(restRss / MIB),
        mostRssMB: Math.round(mostRss / MIB),
        archive: { clientMs: spread(client), supervisorMs: spread(inside) },
        store: {
          path: place,
          freeMB: Math.round(((await statfs(place)).bavail * (await statfs(place)).bsize) / MIB),
        },
        load: (await import("node:os")).loadavg(),
        at: new Date(systemClock.now()).toISOString(),
      },
      null,
      2,
    ),
  );
}

const round = (value: number): number => Math.round(value * 100) / 100;

function spread(values: readonly number[]): {
  readonly p50: number;
  readonly p90: number;
  readonly most: number;
} {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0);
  return { p50: at(0.5), p90: at(0.9), most: at(1) };
}

const isOurs = process.argv[3] === undefined;
try {
  await main();
} finally {
  if (isOurs && (await stat(place)).isDirectory()) await rm(place, { recursive: true, force: true });
}
