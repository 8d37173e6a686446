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
    name: "drill",
    summary: "restore the newest backup and all WAL to scratch, start it, check it, throw it away",
    usage: "[--target-time T | --target-lsn L | …] [--query SQL] [--quick] [--json]",
    examples: ["holdfast drill --json", "holdfast drill --target-time '2026-11-24 12:00:00+00'"],
  },
  {
    name: "backup-push",
    summary: "take a full or delta backup of a running server",
    usage: "[$PGDATA] [--full] [--permanent] [--add-user-data JSON] …",
    examples: ["holdfast backup-push $PGDATA", "holdfast backup-push $PGDATA --full --permanent"],
  },
  {
    name: "backup-fetch",
    summary: "restore a backup, with all that it is built on, into an empty directory",
    usage: "DIRECTORY NAME|LATEST [--restore-spec FILE] [--restore-only LIST] …",
    examples: ["holdfast backup-fetch /var/lib/postgresql/restored LATEST"],
  },
  {
    name: "delete",
    summary: "remove old backups and WAL; a dry run unless --confirm is given",
    usage: "retain|before|target|everything|garbage|older-than … [--confirm]",
    examples: [
      "holdfast delete older-than 5d",
      "holdfast delete retain FULL 5 --confirm",
      "holdfast delete before FIND_FULL base_000000010000000000000007",
    ],
  },
  {
    name: "wal-verify",
    summary: "WAL-G's checks by name; `verify` looks deeper and its exit status tells the truth",
    usage: "integrity|timeline… [--json] [--timeline N --lsn X/Y]",
    examples: ["holdfast wal-verify integrity timeline"],
  },
  {
    name: "wal-push",
    summary: "archive one WAL file",
    usage: "PATH",
    examples: ["holdfast wal-push pg_wal/000000010000000000000001"],
  },
  {
    name: "wal-fetch",
    summary: "fetch one WAL file: exit status 74 when the archive proves that it has none, 255 in doubt",
    usage: "NAME PATH",
    examples: ["holdfast wal-fetch 00000002.history /tmp/history"],
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
    name: "wal-receive",
    summary: "stream WAL and archive whole segments, on a prefix without a tail log",
    usage: "",
    examples: ["WALG_SLOTNAME=archive holdfast wal-receive"],
  },
  {
    name: "wal-restore",
    summary: "fetch the WAL that pg_rewind will want of a source directory",
    usage: "TARGET SOURCE",
    examples: ["holdfast wal-restore /data/old /data/new"],
  },
  {
    name: "catchup-push",
    summary: "store a backup that brings an old copy up",
    usage: "$PGDATA --from-lsn N",
    examples: ["holdfast catchup-push $PGDATA --from-lsn 167772200"],
  },
  {
    name: "catchup-fetch",
    summary: "apply a catchup backup over an old copy",
    usage: "DIRECTORY NAME",
    examples: ["holdfast catchup-fetch /data/old base_00000001000000000000000A"],
  },
  {
    name: "catchup-list",
    summary: "list catchup backups",
    usage: "[--detail] [--json] [--pretty]",
    examples: ["holdfast catchup-list"],
  },
  {
    name: "catchup-send",
    summary: "not offered; says what to use instead",
    usage: "",
    examples: [],
    hidden: true,
  },
  {
    name: "catchup-receive",
    summary: "not offered; says what to use instead",
    usage: "",
    examples: [],
    hidden: true,
  },
  {
    name: "pgbackrest",
    summary:
      "list and restore from a repository of pgBackRest: backup-list, backup-fetch, wal-fetch, wal-show",
    usage: "WORD …",
    examples: ["PGBACKREST_STANZA=main holdfast pgbackrest backup-fetch /data/restored LATEST"],
  },
  {
    name: "daemon",
    summary: "push and fetch WAL for clients on a Unix socket",
    usage: "SOCKET",
    examples: ["holdfast daemon /run/holdfast/wal-g.sock"],
  },
  {
    name: "completion",
    summary: "print a completion script",
    usage: "bash|zsh",
    examples: ["source <(holdfast completion bash)"],
  },
];

/** For the table of commands. */
export const WALG_ROWS: readonly Command[] = ROWS.map((row) => ({
  ...row,
  programs: ["holdfast"],
  hasOwnHelp: true,
  run: async (args, context) => (await import("./walg/program.ts")).runWalg([row.name, ...args], context),
}));
