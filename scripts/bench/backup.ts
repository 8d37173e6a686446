// Base backup and restore side by side with pgBackRest and pg_basebackup: the same data, the same folder, the same codec, alternating rounds.
//   node scripts/bench/backup.ts [--megabytes 2048] [--rounds 3] [--codecs lz4,zst]
// Needs the image (./scripts/test builds it) and Docker. Everything happens in one container, which is removed at the end; what the image
// lacks comes from Debian. The store is a folder for all, because pg_basebackup has no other and pgBackRest takes S3 only over TLS.
// Processor seconds are those of the whole container, so Postgres's share of a backup counts for each. Two processes or threads each.

import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { TOOLS, type Tool, type Where } from "./backup-tools.ts";
import { type BenchServer, changeOnePercent, startBenchServer } from "./backup-data.ts";
import { type Measured, measure, median } from "./measure.ts";

const option = (name: string, fallback: string): string => {
  const at = process.argv.indexOf(`--${name}`);
  return at === -1 ? fallback : (process.argv[at + 1] ?? fallback);
};
const megabytes = Number(option("megabytes", "2048"));
const rounds = Number(option("rounds", "3"));
const codecs = option("codecs", "lz4,zst").split(",");
const ROOT = "/bench";
const OPERATIONS = ["full push", "delta push", "full fetch", "chain fetch"] as const;

/** Runs this file again in a container of the image. Ctrl-C removes the container too. */
async function outside(): Promise<void> {
  const repository = resolve(import.meta.dirname, "..", "..");
  const docker = existsSync("/usr/bin/docker") ? "/usr/bin/docker" : "docker";
  const name = `hf-bench-${randomBytes(4).toString("hex")}`;
  const script = [
    "set -e",
    "apt-get update > /dev/null",
    "apt-get install -y --no-install-recommends pgbackrest lz4 zstd > /dev/null",
    'exec node /bench-scripts/backup.ts --inside "$@"',
  ].join("; ");
  const child = spawn(
    docker,
    [
      ...["run", "--rm", "--name", name, "--network", "host", "--shm-size", "512m", "--entrypoint", "bash"],
      ...["-v", `${join(repository, "scripts", "bench")}:/bench-scripts:ro`, "-v", ROOT],
      ...[process.env["HOLDFAST_IMAGE"] ?? "holdfast:17", "-c", script, "bash", ...process.argv.slice(2)],
    ],
    { stdio: "inherit" },
  );
  const remove = (): void => void execFileSync(docker, ["rm", "-fv", name], { stdio: "ignore" });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, remove);
  process.exitCode = await new Promise<number>((done) => child.once("exit", (code) => done(code ?? 1)));
}

async function inside(): Promise<void> {
  const bin = `/usr/lib/postgresql/${process.env["PG_MAJOR"] ?? "17"}/bin`;
  console.log(`${tell("holdfast", ["--version"])}, ${tell("pgbackrest", ["version"])}`);
  const server = await startBenchServer(join(ROOT, "server"), bin, 5599, megabytes);
  console.log(`data directory: ${folderMb(server.data)} MB`);
  const results = new Map<string, Measured[]>();
  for (let round = 0; round < rounds; round += 1)
    for (const codec of codecs) await oneRound(server, bin, codec, round, results);
  await server.stop();
  for (const codec of codecs) printTable(codec, results);
}

/** Every operation with every tool, in turns that begin with another tool each round. */
async function oneRound(
  server: BenchServer,
  bin: string,
  codec: string,
  round: number,
  results: Map<string, Measured[]>,
): Promise<void> {
  const repository = join(ROOT, "repository");
  const target = join(ROOT, "target");
  const turn = round % TOOLS.length;
  const tools = [...TOOLS.slice(turn), ...TOOLS.slice(0, turn)];
  const whereOf = (tool: Tool): Where => ({
    ...{ server, bin, codec, target },
    repository: join(repository, tool.name),
  });
  fresh(repository, server);
  for (const operation of OPERATIONS) {
    if (operation === "delta push") changeOnePercent(server, round);
    for (const tool of tools) {
      const where = whereOf(tool);
      if (operation === "full push") fresh(where.repository, server);
      const commands = tool.commands(where)[operation];
      if (commands === null) continue;
      if (operation.endsWith("fetch")) fresh(target, server);
      for (const untimed of commands.before) await measure(untimed, optionsOf(tool, where));
      const cpu = cpuSeconds();
      const measured = await measure(commands.timed, optionsOf(tool, where));
      const whole = { ...measured, cpuSeconds: cpuSeconds() - cpu };
      const key = `${codec} ${operation} ${tool.name}`;
      results.set(key, [...(results.get(key) ?? []), whole]);
      const { seconds, cpuSeconds: used, peakMb } = whole;
      const stored = operation.endsWith("push") ? `, stored in all ${folderMb(where.repository)} MB` : "";
      console.log(
        `round ${round + 1} ${key}: ${seconds.toFixed(2)} s, ${used.toFixed(2)} CPU s, ${peakMb} MB${stored}`,
      );
    }
  }
  for (const folder of [repository, target]) rmSync(folder, { recursive: true, force: true });
}

const optionsOf = (tool: Tool, where: Where): Parameters<typeof measure>[1] => ({
  env: { ...ALLOCATORS, ...tool.env(where) },
});

/** What the image sets for its programs. */
const ALLOCATORS = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value]) =>
    value !== undefined && /^(MIMALLOC|MALLOC|NODE)_/.test(name) ? [[name, value]] : [],
  ),
);

function fresh(folder: string, { identity }: BenchServer): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chownSync(folder, identity.uid, identity.gid);
}

function printTable(codec: string, results: ReadonlyMap<string, readonly Measured[]>): void {
  console.log(`\n${codec}, medians of ${rounds}; ratio: how many times as long as Holdfast`);
  console.log(
    "| | tool | wall s | ratio | CPU s | ratio | most MB |\n| --- | --- | --- | --- | --- | --- | --- |",
  );
  for (const operation of OPERATIONS) {
    const own = results.get(`${codec} ${operation} holdfast`) ?? [];
    for (const { name } of TOOLS) {
      const runs = results.get(`${codec} ${operation} ${name}`);
      if (runs === undefined) continue;
      const wall = median(runs.map(({ seconds }) => seconds));
      const cpu = median(runs.map((run) => run.cpuSeconds));
      const ratio = (value: number, of: (run: Measured) => number): string =>
        (value / median(own.map(of))).toFixed(2);
      const cells = [
        ...[operation, name, wall.toFixed(2), ratio(wall, ({ seconds }) => seconds)],
        ...[cpu.toFixed(2), ratio(cpu, (run) => run.cpuSeconds)],
        Math.max(...runs.map(({ peakMb }) => peakMb)),
      ];
      console.log(`| ${cells.join(" | ")} |`);
    }
  }
}

/** Of everything that ran in this container so far; control groups of version 2 or 1. */
function cpuSeconds(): number {
  const text = existsSync(CPU_V2) ? readFileSync(CPU_V2, "utf8") : "";
  if (text !== "") return Number(/usage_usec (\d+)/.exec(text)?.[1]) / 1e6;
  return Number(readFileSync("/sys/fs/cgroup/cpuacct/cpuacct.usage", "utf8")) / 1e9;
}
const CPU_V2 = "/sys/fs/cgroup/cpu.stat";

function folderMb(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size;
  return Math.round(bytes / 1e6);
}

const tell = (program: string, args: readonly string[]): string =>
  execFileSync(program, args, { encoding: "utf8" }).trim();

if (process.argv.includes("--inside")) await inside();
else await outside();
