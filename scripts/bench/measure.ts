// Runs a command and tells its wall time, the processor time of it and its children, and their memory at the worst moment.

import { spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";

export interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Highest sum of resident memory of the command and all its descendants; shared pages count in each. */
  readonly peakMb: number;
}

export interface MeasureOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
}

/** Throws with the command's output unless it exits with 0. */
export async function measure(command: readonly string[], options: MeasureOptions = {}): Promise<Measured> {
  const { env = {}, ...identity } = options;
  const timed = ["-c", `TIMEFORMAT='BENCH %R %U %S'; time "$@"`, "bash", ...command];
  const child = spawn("bash", timed, {
    ...identity,
    cwd: "/",
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", HOME: "/tmp", LANG: "C.UTF-8", ...env },
  });
  let output = "";
  const keep = (data: Buffer): void => void (output += data.toString());
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  let peakMb = 0;
  const watch = setInterval(() => {
    if (child.pid !== undefined) peakMb = Math.max(peakMb, residentMb(child.pid));
  }, 40);
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  clearInterval(watch);
  const match = /BENCH ([\d.]+) ([\d.]+) ([\d.]+)/.exec(output);
  if (status !== 0 || match === null)
    throw new Error(`${command.join(" ")} ended with ${status}:\n${output.slice(-3000)}`);
  return { seconds: Number(match[1]), cpuSeconds: Number(match[2]) + Number(match[3]), peakMb };
}

function residentMb(root: number): number {
  const parents = new Map<number, number>();
  const pages = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const fields = readFileSync(`/proc/${name}/stat`, "utf8")
        .replace(/^.*\) /s, "")
        .split(" ");
      parents.set(Number(name), Number(fields[1]));
      pages.set(Number(name), Number(fields[21]));
    } catch {
      // It ended between the listing and the look.
    }
  }
  const isBelow = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at))
      if (at === root) return true;
    return false;
  };
  let sum = 0;
  for (const [pid, count] of pages) if (isBelow(pid)) sum += count * 4096;
  return Math.round(sum / 1_000_000);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
