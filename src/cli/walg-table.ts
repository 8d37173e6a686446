// WAL-G's commands as `holdfast` offers them: the same flags, but exit status and errors are Holdfast's own. Text only; the code is loaded when asked for.

import type { Command } from "./commands.ts";

interface Row {
  readonly name: string;
  readonly summary: string;
  readonly usage: string;
  readonly examples: readonly string[];
  readonly hidden?: boolean;
}

const ROWS: readonly Row[] = [
  {
    name: "verify",
    summary: "check that what is stored can be restored; exit status 1 when it cannot",
    usage: "[--content] [--repair] [--json] [BACKUP…]",
    examples: ["holdfast verify", "holdfast verify --content --json"],
  },
  {
    name: "backup-list",
    summary: "list the backups of the store",
    usage: "[--detail] [--json] [--pretty]",
    examples: ["holdfast backup-list --detail --pretty"],
  },
  {
    name: "backup-mark",
    summary: "protect a backup from deletion, or take the protection away",
    usage: "[--impermanent] NAME",
    examples: ["holdfast backup-mark base_000000010000000000000007"],
  },
  {
    name: "wal-show",
    summary: "show the archive's timelines, their segments and what is missing",
    usage: "[--detailed-json] [--without-backups]",
    examples: ["holdfast wal-show"],
  },
  {
    name: "copy",
    summary: "copy backups and their WAL to another store",
    usage: "--from FILE --to FILE [--backup-name NAME] [--with-history]",
    examples: ["holdfast copy --from old.json --to new.json"],
  },
  {
    name: "st",
    summary: "look at and move objects: ls, stat, get, cat, put, rm, check, copy, transfer",
    usage: "WORD …",
    examples: ["holdfast st ls -r", "holdfast st check write"],
  },
  {
    name: "catchup-list",
    summary: "list catchup backups",
    usage: "[--detail] [--json] [--pretty]",
    examples: ["holdfast catchup-list"],
    hidden: true,
  },
];

/** For the table of commands. */
export const WALG_ROWS: readonly Command[] = ROWS.map((row) => ({
  ...row,
  programs: ["holdfast"],
  hasOwnHelp: true,
  run: async (args, context) => (await import("./walg/program.ts")).runWalg([row.name, ...args], context),
}));
