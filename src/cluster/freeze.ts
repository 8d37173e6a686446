// Stops a server in its tracks, lets it go on, or kills it while it stands still: nothing is acknowledged meanwhile (G5).

import { readFileSync } from "node:fs";

/** What this file does to processes; tests give their own. */
export interface ProcessTools {
  readonly kill: (pid: number, signal: NodeJS.Signals) => void;
  readonly childrenOf: (pid: number) => readonly number[];
}

/**
 * SIGSTOP to the postmaster, then to its children until there are no new ones: a backend that was being forked meanwhile is met in the
 * next round. Each child leads its own session, so no group reaches them all. Synchronous: it must not wait for anything.
 */
export function freezeServer(postmaster: number, tools: ProcessTools = SYSTEM): readonly number[] {
  send(tools, postmaster, "SIGSTOP");
  const stopped = new Set<number>();
  for (let round = 0; round < ROUNDS_MOST; round += 1) {
    const fresh = tools.childrenOf(postmaster).filter((pid) => !stopped.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      send(tools, pid, "SIGSTOP");
      stopped.add(pid);
    }
  }
  return [...stopped];
}

/** Lets everybody go on, the children first. */
export function thawServer(postmaster: number, tools: ProcessTools = SYSTEM): void {
  for (const pid of tools.childrenOf(postmaster)) send(tools, pid, "SIGCONT");
  send(tools, postmaster, "SIGCONT");
}

/**
 * Kills a server that stands still without letting it take another step: a SIGQUIT would be met only after SIGCONT, and by then backends
 * may have answered. The next start recovers, as after any crash.
 */
export function killFrozenServer(postmaster: number, tools: ProcessTools = SYSTEM): void {
  const children = tools.childrenOf(postmaster);
  send(tools, postmaster, "SIGKILL");
  for (const pid of children) send(tools, pid, "SIGKILL");
}

function send({ kill }: ProcessTools, pid: number, signal: NodeJS.Signals): void {
  try {
    kill(pid, signal);
  } catch (error) {
    // It ended by itself.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** proc(5): /proc/PID/task/TID/children. */
function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text
      .split(" ")
      .filter((word) => word !== "")
      .map(Number);
  } catch {
    return [];
  }
}

const SYSTEM: ProcessTools = {
  kill: (pid, signal) => void process.kill(pid, signal),
  childrenOf,
};

/** More rounds than a fork bomb would need: each sees only what was forked during the one before. */
const ROUNDS_MOST = 20;
