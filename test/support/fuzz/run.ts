// Runs a target's trials in another process, watches that they go on, and keeps the input that broke something.

import { spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

export interface TrialsReport {
  readonly trials: number;
  /** How many inputs were refused in the parser's own words. */
  readonly refused: number;
  readonly grownMiB: number;
}

/** One trial may take this long, on any machine: what is sound takes milliseconds. */
const HANG_MS = 60_000;
const HEAP_MIB = 512;
const REPOSITORY = resolve(import.meta.dirname, "../../..");

/** Trials from a seed: so many, or for about so long. */
export type FuzzPlan = { readonly seed: number } & (
  | { readonly trials: number }
  | { readonly milliseconds: number }
);

/** Runs them. Throws with the seed and the file that holds the input when one fails. */
export async function fuzz(target: string, plan: FuzzPlan): Promise<TrialsReport> {
  const limit = "trials" in plan ? [plan.trials, Infinity] : [Infinity, plan.milliseconds];
  return await inProcess(target, [plan.seed, ...limit].map(String), `seed ${plan.seed} (HOLDFAST_SEED)`);
}

/** The files once more, each with several ways to cut it into pieces. Throws as `fuzz`. */
export async function replay(target: string, files: readonly string[]): Promise<TrialsReport> {
  return await inProcess(target, ["replay", ...files], "a find of before");
}

async function inProcess(target: string, args: readonly string[], what: string): Promise<TrialsReport> {
  const folder = await mkdtemp(join(tmpdir(), "fuzz-"));
  try {
    const heap = `--max-old-space-size=${HEAP_MIB}`;
    const script = join(import.meta.dirname, "trials.ts");
    const child = spawn(process.execPath, [heap, script, target, folder, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TMPDIR: folder },
    });
    let [out, err] = ["", ""];
    child.stdout.on("data", (piece) => (out += String(piece)));
    child.stderr.on("data", (piece) => (err = (err + String(piece)).slice(-4000)));
    let isOver = false;
    const over = new Promise<string>((done) => {
      child.on("close", (code, signal) => {
        isOver = true;
        done(signal ?? String(code));
      });
    });
    const hang = watch(folder, () => isOver).then((isHanging) => {
      if (isHanging) child.kill("SIGKILL");
      return isHanging;
    });
    const status = await over;
    const isHanging = await hang;
    if (status === "0") return JSON.parse(out) as TrialsReport;
    const kept = await keep(folder, target);
    const failure = await readFile(join(folder, "failure"), "utf8").catch(() => err);
    const ended = isHanging ? `no end after ${HANG_MS / 1000} s` : `status ${status}`;
    throw new Error(`${target}, ${what}: ${ended}; the input is kept in ${kept}\n${failure}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** True when one input is under way for too long; false when the process ended. */
async function watch(folder: string, isOver: () => boolean): Promise<boolean> {
  let last = "";
  let since = performance.now();
  while (!isOver()) {
    await delay(100);
    const now = await readFile(join(folder, "trial"), "latin1").catch(() => "");
    if (now !== last) [last, since] = [now, performance.now()];
    else if (performance.now() - since > HANG_MS) return true;
  }
  return false;
}

async function keep(folder: string, target: string): Promise<string> {
  const into = join(REPOSITORY, "build", "fuzz");
  await mkdir(into, { recursive: true });
  const path = join(into, `${target}-${Date.now()}`);
  await copyFile(join(folder, "input"), path).catch(() => undefined);
  return path;
}
