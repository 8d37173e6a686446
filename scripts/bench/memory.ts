// The supervisor's resident memory through a node's day: before and after its first base backup, under pgbench, behind it, after another base
// backup, and at a restart after a crash with WAL in the log that is not published.
//   node scripts/bench/memory.ts [--seconds 60] [--scale 20] [--clients 8]
// Needs the image (./scripts/test builds it) and Docker. NODE_OPTIONS is handed on to the node, to compare settings.

import { setTimeout as sleep } from "node:timers/promises";
import { Bench } from "../../test/support/image.ts";

const option = (name: string, fallback: number): number => {
  const at = process.argv.indexOf(`--${name}`);
  return at === -1 ? fallback : Number(process.argv[at + 1]);
};
const seconds = option("seconds", 60);
const scale = option("scale", 20);
const clients = option("clients", 8);
/** A second look, after what is freed late has gone back to the machine. */
const CALM_MS = 15_000;

interface Sample {
  readonly atMs: number;
  readonly mb: number;
  /** Of it what the machine cannot take back: all but the pages of programs and libraries. */
  readonly ownMb: number;
}

let peak = 0;

await using bench = await Bench.open();
const { NODE_OPTIONS } = process.env;
const env = { ...bench.s3Env(), ...(NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS }) };
const node = await bench.run({ env, name: "node" });
await node.ready(120_000);
await during("start and first base backup", () => node.said("base backup done", 300_000));
await during("idle behind it", () => sleep(CALM_MS));
await during(`pgbench -i -s ${scale}`, () => pgbench(`-i -q -s ${scale}`));
await during("idle behind it", () => sleep(CALM_MS));
await during(`pgbench for ${seconds} s`, () => pgbench(`-N -M prepared -c ${clients} -j 2 -T ${seconds}`));
await during("idle behind it", () => sleep(CALM_MS));
await during("a base backup by hand", () => mustShell("wal-g backup-push $PGDATA"));
await during("idle behind it", () => sleep(CALM_MS));
await node.kill();
await node.start();
await during("restart", () => node.ready(300_000));
await during("idle behind it", () => sleep(CALM_MS));

/** Samples while `work` goes on; the slope is that of its second half. */
async function during(what: string, work: () => Promise<unknown>): Promise<void> {
  const samples: Sample[] = [];
  const began = performance.now();
  const over = new AbortController();
  const watch = (async () => {
    while (!over.signal.aborted) {
      const { mb, ownMb, most } = await resident();
      if (mb > 0) samples.push({ atMs: performance.now() - began, mb, ownMb });
      peak = Math.max(peak, most);
      await sleep(500);
    }
  })();
  try {
    await work();
  } finally {
    over.abort();
    await watch;
  }
  const most = Math.max(...samples.map(({ mb }) => mb));
  const mostOwn = Math.max(...samples.map(({ ownMb }) => ownMb));
  const last = samples.at(-1)?.mb ?? Number.NaN;
  const half = samples.slice(Math.floor(samples.length / 2));
  console.log(
    `${what}: most ${most.toFixed(0)} MB (its own ${mostOwn.toFixed(0)} MB), at its end ${last.toFixed(0)} MB, ${slope(half).toFixed(1)} MB a minute; most ever ${peak.toFixed(0)} MB`,
  );
}

/** VmRSS of the supervisor, RssAnon of it, and VmHWM, its highest ever, in MB; 0 while there is none. */
async function resident(): Promise<{ readonly mb: number; readonly ownMb: number; readonly most: number }> {
  const ran = await node.shell("cat /proc/$(cut -d' ' -f1 /proc/1/task/1/children)/status");
  const mbOf = (name: string): number =>
    Number(new RegExp(`${name}:\\s*(\\d+) kB`).exec(ran.stdout)?.[1] ?? 0) / 1024;
  return { mb: mbOf("VmRSS"), ownMb: mbOf("RssAnon"), most: mbOf("VmHWM") };
}

/** Least squares, in MB a minute. */
function slope(samples: readonly Sample[]): number {
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const x = mean(samples.map(({ atMs }) => atMs));
  const y = mean(samples.map(({ mb }) => mb));
  const over = mean(samples.map(({ atMs, mb }) => (atMs - x) * (mb - y)));
  const under = mean(samples.map(({ atMs }) => (atMs - x) ** 2));
  return (over / under) * 60_000;
}

async function pgbench(args: string): Promise<void> {
  await mustShell(`pgbench -h /run/postgresql -p 5433 -U postgres ${args} postgres 2>&1`);
}

async function mustShell(script: string): Promise<void> {
  const ran = await node.shell(script);
  if (ran.status !== 0) throw new Error(`${script}: ${ran.stdout} ${ran.stderr}`);
}
