// `wal-g backup-list` and `catchup-list`, in four shapes.

import { metadataElement } from "../../backup/backup-metadata.ts";
import { BACKUP_FOLDER, CATCHUP_FOLDER, walPartOf } from "../../backup/backup-name.ts";
import { formatGoJson, formatInstant, type Nanoseconds } from "../../backup/go-json.ts";
import { formatLsn, ZERO_LSN } from "../../wal/lsn.ts";
import {
  byModified,
  byStart,
  type DetailedBackup,
  type ListedBackup,
  listBackups,
  withMetadata,
} from "./backups.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import type { Flag } from "./flags.ts";
import { formatRfc850, formatSeconds } from "./go-time.ts";
import { framedTable, paddedColumns } from "./table.ts";

const FLAGS: readonly Flag[] = [
  { name: "detail", kind: "bool", usage: "Prints extra backup details" },
  { name: "json", kind: "bool", usage: "Prints output in json format" },
  { name: "pretty", kind: "bool", usage: "Prints more readable output" },
];

export const TARGET_STORAGE: Flag = {
  name: "target-storage",
  kind: "string",
  usage: "Name of the storage to use (default: all of them for reading, the first that answers for writing)",
};

export const BACKUP_LIST: WalgCommand = {
  path: "backup-list",
  summary: "Prints available backups",
  use: "backup-list",
  examples: ["wal-g backup-list --detail --pretty", "wal-g backup-list --json"],
  flags: [...FLAGS, TARGET_STORAGE],
  check: argumentCount(0, 0),
  run: (call) => list(call, BACKUP_FOLDER),
};

export const CATCHUP_LIST: WalgCommand = {
  path: "catchup-list",
  summary: "Prints available incremental catchup backups",
  use: "catchup-list",
  examples: ["wal-g catchup-list"],
  flags: FLAGS,
  check: argumentCount(0, 0),
  run: (call) => list(call, CATCHUP_FOLDER),
};

async function list(call: Call, folder: string): Promise<number> {
  const { flags, log, signal } = call;
  const members = await call.openMembers();
  if (folder === BACKUP_FOLDER)
    log.info(`List backups from storages: [${members.map(({ name }) => name).join(" ")}]`);
  const backups: ListedBackup[] = [];
  const detailed: DetailedBackup[] = [];
  for (const { name, store } of members) {
    const own = await listBackups(store, signal, folder, name);
    backups.push(...own);
    if (flags.isOn("detail")) detailed.push(...(await withMetadata(store, own, signal, folder)));
  }
  printBackups(
    call,
    flags.isOn("detail") ? byStart(detailed) : backups.sort(byModified),
    flags.isOn("detail"),
  );
  return 0;
}

/** Prints backups in the shape that the flags ask for. */
export function printBackups(
  { flags, log, print }: Pick<Call, "flags" | "log" | "print">,
  backups: readonly (ListedBackup | DetailedBackup)[],
  isDetailed: boolean,
): void {
  const shown = isDetailed
    ? backups
    : backups.map(({ name, modifiedNs, storage, walFile }) => ({
        name,
        modifiedNs,
        storage,
        ...(walFile === undefined ? {} : { walFile }),
      }));
  if (flags.isOn("json")) print(backupsJson(shown, flags.isOn("pretty")));
  else if (shown.length === 0) log.info("No backups found");
  else print(flags.isOn("pretty") ? prettyTable(shown) : plainList(shown));
}

/** One line, or indented by four spaces. Ended by a newline. */
function backupsJson(backups: readonly (ListedBackup | DetailedBackup)[], isPretty: boolean): string {
  const elements = backups.map(backupElement);
  return `${formatGoJson(elements, isPretty ? 4 : undefined)}\n`;
}

/** A backup as it stands in the lists' JSON, and in that of wal-show. */
export function backupElement(backup: ListedBackup | DetailedBackup): Record<string, unknown> {
  return {
    backup_name: backup.name,
    time: formatInstant(backup.modifiedNs),
    wal_file_name: walFileOf(backup),
    storage_name: backup.storage,
    ...("metadata" in backup ? metadataElement(backup.metadata) : {}),
  };
}

interface Field {
  readonly plain: string;
  readonly pretty: string;
  readonly text: (backup: DetailedBackup, time: (at: Nanoseconds | null) => string) => string;
}

const walFileOf = (backup: ListedBackup): string => backup.walFile ?? walPartOf(backup.name);

const SHORT: readonly Field[] = [
  { plain: "backup_name", pretty: "Backup name", text: (backup) => backup.name },
  { plain: "modified", pretty: "Modified", text: (backup, time) => time(backup.modifiedNs) },
  { plain: "wal_file_name", pretty: "WAL file name", text: (backup) => walFileOf(backup) },
  { plain: "storage_name", pretty: "Storage name", text: (backup) => backup.storage },
];

const LONG: readonly Field[] = [
  { plain: "start_time", pretty: "Start time", text: ({ metadata }, time) => time(metadata.startTime) },
  { plain: "finish_time", pretty: "Finish time", text: ({ metadata }, time) => time(metadata.finishTime) },
  { plain: "hostname", pretty: "Hostname", text: ({ metadata }) => metadata.hostname },
  { plain: "data_dir", pretty: "Datadir", text: ({ metadata }) => metadata.dataDirectory },
  { plain: "pg_version", pretty: "PG version", text: ({ metadata }) => String(metadata.pgVersion) },
  {
    plain: "start_lsn",
    pretty: "Start LSN",
    text: ({ metadata }) => formatLsn(metadata.startLsn ?? ZERO_LSN),
  },
  {
    plain: "finish_lsn",
    pretty: "Finish LSN",
    text: ({ metadata }) => formatLsn(metadata.finishLsn ?? ZERO_LSN),
  },
  { plain: "is_permanent", pretty: "Permanent", text: ({ metadata }) => String(metadata.isPermanent) },
];

function plainList(backups: readonly (ListedBackup | DetailedBackup)[]): string {
  const time = (at: Nanoseconds | null): string => (at === null ? "-" : formatSeconds(at));
  const fields = fieldsOf(backups);
  return paddedColumns(
    fields.map((field) => field.plain),
    backups.map((backup) => fields.map((field) => field.text(backup as DetailedBackup, time))),
  );
}

function prettyTable(backups: readonly (ListedBackup | DetailedBackup)[]): string {
  const time = (at: Nanoseconds | null): string => (at === null ? "-" : formatRfc850(at));
  const fields = fieldsOf(backups);
  return framedTable(
    [{ title: "#", align: "right" }, ...fields.map((field) => ({ title: field.pretty }))],
    backups.map((backup, at) => [
      String(at),
      ...fields.map((field) => field.text(backup as DetailedBackup, time)),
    ]),
  );
}

const fieldsOf = (backups: readonly (ListedBackup | DetailedBackup)[]): readonly Field[] =>
  backups.every((backup) => "metadata" in backup) ? [...SHORT, ...LONG] : SHORT;
