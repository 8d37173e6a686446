// Does the archiver keep up: WAL as fast as a node writes it, into a local S3 server, until its volume is `--megabytes`.
//   node scripts/bench/archive.ts [--megabytes 2048] [--clients 4]
// Needs the image (./scripts/test builds it) and Docker. Prints segments a second, how long the backlog takes to drain after the load, the
// supervisor's memory, and the time of archive_command as Postgres sees it, the shell client's start included.

import { setTimeout as sleep } from "node:timers/promises";
import { Bench } from "../../test/support/image.ts";

const option = (name: string, fallback: number): number => {
  const at = process.argv.indexOf(`--${name}`);
  return at === -1 ? fallback : Number(process.argv[at + 1]);
};
const megabytes = option("megabytes", 2048);
const clients = option("clients", 4);

/** Rows of 2 kB, half of it random; the table is emptied now and then so that only WAL grows. */
const WRITE = `
insert into load select g, decode(string_agg(md5(random()::text || i::text), ''), 'hex') || convert_to(repeat('holdfast ', 110), 'UTF8')
  from generate_series(1, 200) g, generate_series(1, 64) i group by g`;

await using bench = await Bench.open();
const node = await bench.run({ env: bench.s3Env(), name: "node" });
await node.ready(120_000);
await node.said("base backup done", 300_000);
await node.sql("create table load (id int, body bytea); alter table load alter body set storage external");
await node.sql("select pg_stat_reset_shared('archiver')");

const from = await position();
const began = performance.now();
let mostKb = 0;
let mostBacklog = 0;
const over = new AbortController();
const writers = Array.from({ length: clients }, () => write());
while ((await position()) - from < megabytes << 20) {
  await look();
  await sleep(500);
}
over.abort();
await Promise.all(writers);
const loadSeconds = (performance.now() - began) / 1000;
const written = (await position()) - from;
await node.sql("select pg_switch_wal()");
const ended = performance.now();
while ((await look()) > 0) await sleep(100);
const drainSeconds = (performance.now() - ended) / 1000;
const archived = Number(await node.sql("select archived_count from pg_stat_archiver"));
const failed = Number(await node.sql("select failed_count from pg_stat_archiver"));
console.log(
  JSON.stringify({
    writtenMB: Math.round(written / 2 ** 20),
    loadSeconds: round(loadSeconds),
    writtenSegmentsPerSecond: round(written / 2 ** 24 / loadSeconds),
    archivedSegmentsPerSecond: round(archived / (loadSeconds + drainSeconds)),
    failedCalls: failed,
    mostBacklogSegments: mostBacklog,
    drainSeconds: round(drainSeconds),
    supervisorMostMB: Math.round(mostKb / 1024),
    archiveCommandMs: await clientTimes(),
  }),
);

async function write(): Promise<void> {
  while (!over.signal.aborted) {
    await node.sql(`do $$ begin for n in 1..20 loop ${WRITE}; end loop; end $$`);
    await node.sql("truncate load");
  }
}

/** Notes the supervisor's memory; resolves to the number of segments that are waiting. */
async function look(): Promise<number> {
  const ran = await node.shell(
    "grep VmRSS /proc/$(cut -d' ' -f1 /proc/1/task/1/children)/status; ls $PGDATA/pg_wal/archive_status | grep -c ready",
  );
  mostKb = Math.max(mostKb, Number(/(\d+) kB/.exec(ran.stdout)?.[1] ?? 0));
  const backlog = Number(ran.stdout.trim().split("\n").at(-1));
  mostBacklog = Math.max(mostBacklog, backlog);
  return backlog;
}

/** The hook's whole life for segments that the log holds, one after another, on a node that is otherwise quiet. */
async function clientTimes(): Promise<Record<string, number>> {
  const ran =
    await node.shell(`cd $PGDATA; for name in $(ls pg_wal | grep -E '^[0-9A-F]{24}$' | head -n 100); do
    [ -e pg_wal/archive_status/$name.done ] || continue
    began=$EPOCHREALTIME; holdfast-hook archive $name pg_wal/$name > /dev/null && echo $began $EPOCHREALTIME; done`);
  const times = ran.stdout
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number))
    .map(([a = 0, b = 0]) => (b - a) * 1000)
    .toSorted((a, b) => a - b);
  const at = (part: number): number => round(times[Math.floor(part * (times.length - 1))] ?? Number.NaN);
  return { calls: times.length, p50: at(0.5), p99: at(0.99) };
}

async function position(): Promise<number> {
  return Number(await node.sql("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"));
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
