// Runs a command of WAL-G's in this process and keeps what it prints.

import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import type { CommandContext } from "../../src/cli/commands.ts";
import { runWalg } from "../../src/cli/walg/program.ts";
import type { SessionTools } from "../../src/cli/walg/session.ts";

export interface CallResult {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One command line under the name `wal-g`, or another; nothing of this process's environment is used. */
export async function callWalg(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  tools: SessionTools = {},
  program: CommandContext["program"] = "wal-g",
): Promise<CallResult> {
  const out: string[] = [];
  const err: string[] = [];
  const context: CommandContext = {
    program,
    env,
    clock: systemClock,
    log: silentLog,
    print: (text) => void out.push(text),
    isTerminal: false,
    signal: new AbortController().signal,
  };
  const exit = await runWalg(args, context, { ...tools, writeError: (text) => void err.push(text) });
  return { exit, stdout: out.join(""), stderr: err.join("") };
}
