// The table of commands: what `holdfast` and `wal-g` can do. Each is loaded only when it is asked for, so that start-up stays short.

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { WALG_ROWS } from "./walg-table.ts";

/** What a command gets from the process; nothing below reads `process` by itself. */
export interface CommandContext {
  /** The name the program was called by. */
  readonly program: "holdfast" | "wal-g";
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Writes to standard error. */
  readonly log: Log;
  /** Text for standard output; a line needs its own newline. */
  readonly print: (text: string) => void;
  /** Standard output takes a progress bar. */
  readonly isTerminal: boolean;
  /** Aborts at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

export interface Command {
  /** One or two words: `status`, `wal-verify`. */
  readonly name: string;
  /** One line, no full stop. */
  readonly summary: string;
  /** The arguments after the name. */
  readonly usage: string;
  readonly examples: readonly string[];
  /** Where the command is offered. */
  readonly programs: readonly CommandContext["program"][];
  /** Not shown in help. */
  readonly hidden?: boolean;
  /** `--help` is passed on to the command, which has a page of its own. */
  readonly hasOwnHelp?: boolean;
  /** Resolves to the exit status; AppErrors become their own status and are printed with their hint. */
  run(args: readonly string[], context: CommandContext): Promise<number>;
}

/** Commands of the supervisor and of the running node. */
const NODE_COMMANDS: readonly Command[] = [
  {
    name: "supervise",
    summary: "run the node: boot, Postgres, HAProxy, streaming, backups (the image's main process)",
    usage: "[-c name=value]…",
    examples: ["holdfast supervise", "holdfast supervise -c work_mem=16MB"],
    programs: ["holdfast"],
    run: async (args, context) => (await import("./supervise-command.ts")).runSupervise(args, context),
  },
  {
    name: "status",
    summary: "one screen of truth about the running node",
    usage: "[--json]",
    examples: ["holdfast status", "holdfast status --json"],
    programs: ["holdfast"],
    run: async (args, context) => (await import("./status-command.ts")).runStatus(args, context),
  },
  {
    name: "restore",
    summary: "restore the running node in place, or undo that; answers at once with a job to watch",
    usage:
      "[--target-time TIME | --target-lsn LSN | --target-xid XID | --target-name NAME | --target-immediate] [--exclusive] [--target-timeline N] [--backup NAME] --confirm | --undo --confirm | --job",
    examples: [
      "holdfast restore --target-time '2026-11-24 12:00:00+00'            (shows the plan and the window)",
      "holdfast restore --target-time '2026-11-24 12:00:00+00' --confirm",
      "holdfast restore --job                                             (status 3 while it runs)",
      "holdfast restore --undo --confirm",
    ],
    programs: ["holdfast"],
    run: async (args, context) => (await import("./restore-command.ts")).runRestore(args, context),
  },
  {
    name: "cluster",
    summary: "the members: who leads, hand over, pause failover, forget or refill a member",
    usage:
      "[status | switchover [NODE] | pause | resume | forget NODE | reinit [NODE] | promote [--force]] [--json]",
    examples: [
      "holdfast cluster status",
      "holdfast cluster switchover            (to the member that suits best)",
      "holdfast cluster switchover n2",
      "holdfast cluster pause                 (no automatic failover until `resume`)",
      "holdfast cluster forget n3             (a member that will not come back)",
      "holdfast cluster reinit n2             (put its data aside and fill it again)",
      "holdfast cluster promote --force       (says first what it risks)",
    ],
    programs: ["holdfast"],
    run: async (args, context) => (await import("./cluster-commands.ts")).runCluster(args, context),
  },
];

export const COMMANDS: readonly Command[] = [...NODE_COMMANDS, ...WALG_ROWS];

/** The command `name` of `program`, or null. */
export function findCommand(program: CommandContext["program"], name: string): Command | null {
  return COMMANDS.find((command) => command.name === name && command.programs.includes(program)) ?? null;
}
