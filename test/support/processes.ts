// The processes of this machine as /proc shows them; the image has `ps` only on some releases of Debian.

import { readdirSync, readFileSync } from "node:fs";
import { systemClock, waitUntil } from "../../src/base/clock.ts";

export interface RunningProcess {
  readonly pid: number;
  readonly parent: number;
  /** Its arguments, blanks between them. */
  readonly line: string;
}

/** Every process that lives while it is looked at. */
export function runningProcesses(): readonly RunningProcess[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ").trim();
        const stat = readFileSync(`/proc/${name}/stat`, "latin1");
        // The program's name, in parentheses, may hold anything (proc_pid_stat(5)).
        const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
        return [{ pid: Number(name), parent, line }];
      } catch {
        return []; // It ended in the meantime.
      }
    });
}

/** Other processes whose arguments name `path`. */
export const processesNaming = (path: string): readonly RunningProcess[] =>
  runningProcesses().filter(({ pid, line }) => line.includes(path) && pid !== process.pid);

/** SIGKILL to a process and its children, which get no time to notice. Resolves when the children are gone, their shared memory with them. */
export async function killTree(pid: number): Promise<void> {
  signalIfAlive(pid, "SIGSTOP"); // so that it starts no new child
  const children = runningProcesses().filter(({ parent }) => parent === pid);
  for (const child of children) signalIfAlive(child.pid, "SIGKILL");
  signalIfAlive(pid, "SIGKILL");
  const isGone = async (): Promise<boolean> => {
    const alive = new Set(runningProcesses().map((each) => `${each.pid} ${each.line}`));
    return !children.some((child) => child.line !== "" && alive.has(`${child.pid} ${child.line}`));
  };
  await waitUntil(isGone, 10_000, { clock: systemClock, pollMs: 10 });
}

function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself in the meantime.
  }
}
