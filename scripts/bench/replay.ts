// How well restore_command feeds a replay: segments a second, and the share of the replay's time that Postgres waits for it. The hook is the
// image's own shell client, and every call is timed from outside, its start included, because Postgres waits for all of it.
//   node scripts/bench/replay.ts [MB of WAL] [--s3]
// Needs Postgres's programs and netcat (run it inside the image), and with --s3 the S3 server of scripts/rgw-install.sh.

import { chmod, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { PathReader } from "../../src/archive/path-reader.ts";
import { readSourceLog } from "../../src/archive/archive-source.ts";
import { RestoreCommand } from "../../src/archive/restore-command.ts";
import { writeDurably } from "../../src/base/durable-file.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { parseLsn, ZERO_LSN } from "../../src/wal/lsn.ts";
import { Archiving, baseCopy, copyForRestore, Hooks, sourceOf } from "../../test/support/archive-bench.ts";
import { S3Server } from "../../test/support/s3-server.ts";
import { type ScratchPostgres, scratchFolder, scratchPostgres } from "../../test/support/scratch-postgres.ts";
import { median } from "./measure.ts";

const megabytes = Number(process.argv[2] ?? 1024);
const HOOK = resolve(import.meta.dirname, "../../image/usr/local/bin/holdfast-hook");
const signal = AbortSignal.timeout(60 * 60_000);

await using things = new AsyncDisposableStack();
const folder = things.use(await scratchFolder("holdfast-bench"));
const store = await openStore(folder.path);
const server = things.use(await scratchPostgres({ start: false }));
const hooks = things.use(await Hooks.open(server.root, server.user));
await server.configure([
  ...hooks.conf,
  "max_wal_size = 16GB",
  "checkpoint_timeout = 1h",
  "shared_buffers = 256MB",
]);
await server.start();
const archiving = things.use(await Archiving.begin(server, store, hooks, { signal }));
const port = ["-h", server.host, "-p", String(server.port), "-U", "postgres"];
await server.run("pgbench", ["-i", "-q", "-s", "10", ...port, "postgres"]);
const base = join(server.root, "base");
await baseCopy(server, base);
const began = await position(server);
while ((await position(server)) - began < megabytes << 20)
  await server.run("pgbench", ["-n", "-N", "-c", "4", "-T", "10", ...port, "postgres"]);
await server.psql("select pg_switch_wal()");
await archiving.settle(server, 30 * 60_000);
await archiving.owner.whenAllPublished(signal);
await server.stop();
await archiving.streamer.stop();
console.log(JSON.stringify({ store: process.argv.includes("--s3") ? "s3" : "folder", ...(await replay()) }));

/** A copy of the base replays everything; the time of every call of restore_command is taken. */
async function replay(): Promise<Record<string, number>> {
  const source = await sourceOf(server, store);
  const view = await readSourceLog(source, signal);
  const { path, end } = view!.tip!;
  const recordEnd = (await new PathReader(source, view, path).recordEnd(end, ZERO_LSN, signal)).at;
  await using copy = await scratchPostgres({ start: false });
  await using answers = await Hooks.open(copy.root, copy.user);
  const times = join(copy.root, "times");
  const timed = join(copy.root, "timed-hook");
  const socket = answers.command("restore").split(" ").at(-2)!;
  await writeFile(
    timed,
    `#!/bin/bash\nbegan=$EPOCHREALTIME\nHOLDFAST_SOCKET=${socket} sh ${HOOK} "$@"\nstatus=$?\necho "$2 $status $began $EPOCHREALTIME" >> ${times}\nexit $status\n`,
  );
  await chmod(timed, 0o755);
  await copyForRestore(base, copy.dataDirectory, server, [
    ...answers.conf,
    `restore_command = '${timed} restore %f %p'`,
    "archive_command = ''",
    "shared_buffers = 256MB",
    `recovery_target_timeline = '${path.at(-1)!.timeline}'`,
  ]);
  await writeDurably(join(copy.dataDirectory, "standby.signal"), "");
  const command = new RestoreCommand({
    ...{ source, target: path, situation: "restore", signal },
    dataDirectory: copy.dataDirectory,
    spool: join(copy.root, "spool"),
  });
  answers.answers.restore = (request, requestSignal) => command.answer(request, requestSignal);
  await copy.start();
  while (parseLsn(await copy.psql("select pg_last_wal_replay_lsn()")) < recordEnd)
    await delay(50, undefined, { signal });
  await command.close();
  await copy.stop();
  return summary(await readFile(times, "utf8"), command.status().fromSpool);
}

/** From the first segment that was served to the last. */
function summary(text: string, fromSpool: number): Record<string, number> {
  const calls = text
    .trim()
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([name, status]) => /^[0-9A-F]{24}$/.test(name!) && status === "0")
    .map(([, , from, to]) => ({ from: Number(from), to: Number(to) }));
  const seconds = calls.at(-1)!.to - calls[0]!.from;
  const waits = calls.map(({ from, to }) => to - from);
  const waited = waits.reduce((sum, wait) => sum + wait, 0);
  const sorted = waits.toSorted((a, b) => a - b);
  return {
    segments: calls.length,
    fromSpool,
    seconds: round(seconds),
    segmentsPerSecond: round(calls.length / seconds),
    waitedPercent: round((waited / seconds) * 100),
    hookMsP50: round(median(waits) * 1000),
    hookMsP99: round((sorted[Math.floor(sorted.length * 0.99)] ?? 0) * 1000),
  };
}

async function openStore(path: string): Promise<ObjectStore> {
  if (!process.argv.includes("--s3")) return openFolderStore(join(path, "store"), { create: true });
  return things.use(await S3Server.start()).makeStore();
}

async function position(of: ScratchPostgres): Promise<number> {
  return Number(await of.psql("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"));
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
