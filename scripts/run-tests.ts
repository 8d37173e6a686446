// Runs the parts of the test suite, two at a time, and says for each how long it took.

import { spawn, spawnSync } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { globSync } from "node:fs";
import { join, resolve } from "node:path";
import { DOCKER, buildImage, imageName, startEngine, type Major } from "./docker.ts";

const REPOSITORY = resolve(import.meta.dirname, "..");
const LOGS = join(REPOSITORY, "build", "test-logs");
const RGW_ROOT = process.env["RGW_ROOT"] ?? "/opt/rgw-root";
const NODE = process.execPath;
/** Parts that run at the same time; the suite is meant for two cores. */
const LANES = 2;
/** Postgres tests that run on every major, not only on 17: of the folders that know formats, and of the buckets that WAL-G wrote. */
const isOfEveryMajor = (path: string): boolean =>
  /^test\/(?:wal|postgres|backup|archive)\/|\/walg-[^/]*$/.test(path);

interface Part {
  readonly name: string;
  /** Preparations that must have ended. */
  readonly needs: readonly string[];
  readonly command: () => readonly string[];
  /** Files of the part; a part without files is no part. */
  readonly tests: boolean;
  /** Only with --long, or when it is named. */
  readonly long?: boolean;
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly seconds: number;
}

const args = process.argv.slice(2);
const long = args.includes("--long");
const wanted = args.filter((arg) => !arg.startsWith("--"));

const parts: readonly Part[] = [
  { name: "check", needs: [], tests: false, command: () => ["bash", "scripts/check.sh"] },
  { name: "unit", needs: [], tests: true, command: () => nodeTest(files("unit"), 2) },
  { name: "s3", needs: ["rgw"], tests: true, command: () => nodeTest(files("s3"), 1) },
  { name: "pg17", needs: ["image17", "rgw"], tests: true, command: () => inImage(17, files("pg"), 2) },
  { name: "image", needs: ["image17", "rgw"], tests: true, command: () => nodeTest(files("image"), 1) },
  { name: "cluster", needs: ["image17", "rgw"], tests: true, command: () => nodeTest(files("cluster"), 1) },
  {
    name: "cluster-long",
    needs: ["image17", "image15", "image18", "rgw"],
    tests: true,
    long: true,
    command: () => nodeTest(files("cluster-long"), 1),
  },
  { name: "pg15", needs: ["image15", "rgw"], tests: true, command: () => inImage(15, files("pg-major"), 2) },
  { name: "pg18", needs: ["image18", "rgw"], tests: true, command: () => inImage(18, files("pg-major"), 2) },
];

const preparations: Readonly<Record<string, () => Promise<void>>> = {
  engine: () => startEngine(join(LOGS, "dockerd.log")),
  rgw: async () => mustSpawn("rgw", ["bash", "scripts/rgw-install.sh"]),
  image17: async () => build(17),
  image15: async () => build(15),
  image18: async () => build(18),
};

mkdirSync(LOGS, { recursive: true });
const unknown = wanted.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(
    `unknown part: ${unknown.join(", ")}; there are: ${parts.map((part) => part.name).join(" ")}`,
  );
  process.exit(2);
}
process.exit(await main());

async function main(): Promise<number> {
  const begun = performance.now();
  const chosen = parts.filter((part) =>
    wanted.length === 0 ? long || part.long !== true : wanted.includes(part.name),
  );
  console.log(`parts: ${chosen.map((part) => part.name).join(" ")}${long ? " (long trials whole)" : ""}`);
  const ready = prepare(new Set(chosen.flatMap((part) => part.needs)));
  const outcomes = await inLanes(chosen, async (part) => runPart(part, ready));
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
  const failed = outcomes.reduce((sum, outcome) => sum + outcome.failed, 0);
  console.log(`all parts: ${Math.round((performance.now() - begun) / 1000)} s`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

/** Starts every preparation that some part needs; images are built one after the other. */
function prepare(names: ReadonlySet<string>): ReadonlyMap<string, Promise<void>> {
  const ready = new Map<string, Promise<void>>();
  let images = names.size > 0 ? timed("engine", preparations["engine"]!) : Promise.resolve();
  for (const name of ["image17", "image15", "image18"]) {
    if (!names.has(name)) continue;
    images = images.then(async () => timed(name, preparations[name]!));
    ready.set(name, images);
  }
  if (names.has("rgw")) ready.set("rgw", timed("rgw", preparations["rgw"]!));
  for (const promise of ready.values()) promise.catch(() => undefined); // reported by the part that waits for it
  return ready;
}

async function timed(name: string, work: () => Promise<void>): Promise<void> {
  const begun = performance.now();
  await work();
  console.log(`prepared ${name} in ${Math.round((performance.now() - begun) / 1000)} s`);
}

async function runPart(part: Part, ready: ReadonlyMap<string, Promise<void>>): Promise<Outcome> {
  try {
    await Promise.all(part.needs.map(async (name) => ready.get(name)));
  } catch (error) {
    console.log(`FAILED ${part.name}: its preparation failed: ${String(error).slice(0, 4000)}`);
    return { passed: 0, failed: 1, seconds: 0 };
  }
  const begun = performance.now();
  const log = join(LOGS, `${part.name}.log`);
  const status = await logged(part.command(), log);
  const seconds = Math.round((performance.now() - begun) / 1000);
  const text = await readFile(log, "utf8");
  const passed = part.tests ? count(text, "pass") : status === 0 ? 1 : 0;
  const failed = Math.max(
    part.tests ? count(text, "fail") + count(text, "cancelled") : 0,
    status === 0 ? 0 : 1,
  );
  console.log(
    `${failed === 0 ? "ok    " : "FAILED"} ${part.name}: ${passed} passed, ${failed} failed, ${seconds} s`,
  );
  if (failed > 0) console.log(tailOf(text, log));
  return { passed, failed, seconds };
}

/** The summary lines of node:test: `ℹ pass 12`. */
function count(text: string, word: string): number {
  return [...text.matchAll(new RegExp(`^(?:ℹ|#) ${word} (\\d+)$`, "gm"))].reduce(
    (sum, match) => sum + Number(match[1]),
    0,
  );
}

/** What a reader needs of a failed part: node:test's own list of failures, else the end of the log. */
function tailOf(text: string, log: string): string {
  const failing = text.lastIndexOf("failing tests:");
  const shown = failing === -1 ? text.slice(-6000) : text.slice(failing, failing + 12_000);
  return `---- ${log}\n${shown}\n----`;
}

async function inLanes<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = [...items];
  const lane = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) results.push(await work(item));
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return results;
}

function nodeTest(testFiles: readonly string[], concurrency: number): readonly string[] {
  return [NODE, "--test", `--test-concurrency=${concurrency}`, "--test-reporter=spec", ...testFiles];
}

/** Runs test files inside the image, where the Postgres of its major is. */
function inImage(major: Major, testFiles: readonly string[], concurrency: number): readonly string[] {
  const shared = fixtures();
  const name = `hf-tests-${major}-${process.pid}`;
  return [
    DOCKER, "run", "--rm", "--init", "--name", name, "--network", "host", "--shm-size", "512m",
    "--tmpfs", "/small-disk:size=192m,mode=1777", "--entrypoint", NODE,
    "-v", `${REPOSITORY}:${REPOSITORY}`, "-v", `${shared}:${shared}:ro`, "-v", `${RGW_ROOT}:${RGW_ROOT}`, "-w", REPOSITORY,
    ...["HOLDFAST_SEEDS", "HOLDFAST_LONG"].flatMap((key) => (environment()[key] === undefined ? [] : ["-e", `${key}=${environment()[key]}`])),
    "-e", `HOLDFAST_WALG_FIXTURES=${shared}`, "-e", `RGW_ROOT=${RGW_ROOT}`,
    imageName(major), ...nodeTest(testFiles, concurrency).slice(1),
  ]; // prettier-ignore
}

/** Buckets that WAL-G wrote; they lie beside the repository. */
function fixtures(): string {
  const folder = resolve(
    process.env["HOLDFAST_WALG_FIXTURES"] ?? join(REPOSITORY, "..", "shared", "fixtures", "walg"),
  );
  if (!existsSync(folder)) throw new Error(`no WAL-G buckets in ${folder}; set HOLDFAST_WALG_FIXTURES`);
  return folder;
}

function files(
  kind: "unit" | "s3" | "pg" | "pg-major" | "image" | "cluster" | "cluster-long",
): readonly string[] {
  const all = globSync("test/**/*.test.ts", { cwd: REPOSITORY }).sort();
  const suffix = (path: string): string => {
    if (/\/cluster-long-[^/]*\.image\.test\.ts$/.test(path)) return "cluster-long";
    if (/\/cluster-[^/]*\.image\.test\.ts$/.test(path)) return "cluster";
    return /\.(s3|pg|image)\.test\.ts$/.exec(path)?.[1] ?? "unit";
  };
  if (kind === "pg-major") return all.filter((path) => suffix(path) === "pg" && isOfEveryMajor(path));
  const found = all.filter((path) => suffix(path) === kind);
  if (found.length === 0) throw new Error(`no test file of kind ${kind}`);
  return found;
}

async function build(major: Major): Promise<void> {
  await buildImage(major, REPOSITORY);
}

async function mustSpawn(name: string, command: readonly string[]): Promise<void> {
  const log = join(LOGS, `${name}.log`);
  if ((await logged(command, log)) !== 0)
    throw new Error(`${command.join(" ")}: ${(await readFile(log, "utf8")).slice(-2000)}`);
}

/** Runs a command with its output in a file; resolves to its exit status. */
async function logged(command: readonly string[], logFile: string): Promise<number> {
  const out = createWriteStream(logFile);
  const child = spawn(command[0]!, command.slice(1), {
    cwd: REPOSITORY,
    stdio: ["ignore", "pipe", "pipe"],
    env: environment(),
  });
  child.stdout.pipe(out, { end: false });
  child.stderr.pipe(out, { end: false });
  const status = await new Promise<number>((done) => {
    child.on("error", () => done(127));
    child.on("close", (code) => done(code ?? 128));
  });
  await new Promise<void>((done) => out.end(done));
  return status;
}

/**
 * With the cgroupfs driver all containers together weigh as much as one ordinary process beside them, and a cluster of containers starves
 * next to a busy test. Each container gets a group of its own there.
 */
function containerShare(): Readonly<Record<string, string>> {
  const { status, stdout } = spawnSync(DOCKER, ["info", "-f", "{{.CgroupDriver}}"], { encoding: "utf8" });
  return status === 0 && stdout.trim() === "cgroupfs" ? { HOLDFAST_RUN_OPTIONS: "--cgroup-parent=/" } : {};
}

function environment(): NodeJS.ProcessEnv {
  return {
    ...containerShare(),
    ...process.env,
    RGW_ROOT,
    FORCE_COLOR: "0",
    NO_COLOR: "1",
    ...(long ? { HOLDFAST_LONG: "1" } : {}),
  };
}
