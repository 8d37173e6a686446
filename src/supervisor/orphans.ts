// Server processes that outlived their postmaster: they hold its shared memory, and no new one can start while one lives.

import { readdir, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Clock, waitUntil } from "../base/clock.ts";

/** Processes that run `postgres` with this data directory as their folder (every server process does). Linux only: reads /proc. */
export async function findServerProcesses(dataDirectory: string): Promise<readonly number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    const folder = await readlink(join("/proc", name, "cwd")).catch(() => null);
    if (folder !== dataDirectory && folder !== `${dataDirectory} (deleted)`) continue;
    const program = await readlink(join("/proc", name, "exe")).catch(() => null);
    if (program !== null && basename(program) === "postgres") found.push(Number(name));
  }
  return found;
}

/** Ends what an earlier postmaster left: SIGQUIT, after a second SIGKILL. Resolves to how many there were. */
export async function endServerProcesses(dataDirectory: string, clock: Clock): Promise<number> {
  const first = await findServerProcesses(dataDirectory);
  if (first.length === 0) return 0;
  send(first, "SIGQUIT");
  const gone = async (): Promise<boolean> => (await findServerProcesses(dataDirectory)).length === 0;
  if (await waitUntil(gone, QUIT_LIMIT_MS, { clock, pollMs: 20 })) return first.length;
  send(await findServerProcesses(dataDirectory), "SIGKILL");
  await waitUntil(gone, KILL_LIMIT_MS, { clock, pollMs: 20 });
  return first.length;
}

function send(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended by itself.
    }
  }
}

const QUIT_LIMIT_MS = 1_000;
const KILL_LIMIT_MS = 5_000;
