// `wal-g backup-fetch`: restores a backup, with all that it is built on, into an empty directory.

import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { AppError, messageOf } from "../../base/errors.ts";
import { type BackupReader, type BackupSelector, findBackup } from "../../backup/catalog.ts";
import { BackupMissingError } from "../../backup/format-error.ts";
import type { FetchSettings } from "../../backup/fetch.ts";
import type { TablespacePlacement } from "../../backup/fetch-tablespaces.ts";
import { TARGET_STORAGE } from "./backup-list.ts";
import { jsonOf } from "./backup-push.ts";
import type { Call, WalgCommand } from "./command.ts";
import { UsageError } from "./flags.ts";

export const BACKUP_FETCH: WalgCommand = {
  path: "backup-fetch",
  summary: "Fetches a backup from storage",
  use: "backup-fetch destination_directory [backup_name | --target-user-data <data>]",
  examples: [
    "wal-g backup-fetch $PGDATA LATEST",
    "wal-g backup-fetch $PGDATA base_000000010000000000000007 --restore-spec spec.json",
  ],
  flags: [
    {
      name: "mask",
      kind: "string",
      usage:
        "Fetches only files which path relative to destination_directory matches given shell file pattern.",
    },
    {
      name: "restore-only",
      kind: "list",
      usage: "Databases, or database/schema.table, to restore; the tables of others stay empty",
    },
    {
      name: "restore-spec",
      kind: "string",
      usage: "Path to file containing tablespace restore specification",
    },
    { name: "reverse-unpack", kind: "bool", usage: "Accepted; the order makes no difference to the result" },
    {
      name: "skip-redundant-tars",
      kind: "bool",
      usage: "Accepted; parts that are not needed are never read",
    },
    TARGET_STORAGE,
    {
      name: "target-user-data",
      kind: "string",
      usage: "Fetch storage backup which has the specified user data",
    },
  ],
  check: (args, flags) => {
    if (args.length < 1 || args.length > 2) {
      throw new UsageError(`accepts between 1 and 2 arg(s), received ${args.length}`);
    }
    if (args.length === 2 && flags.has("target-user-data")) {
      throw new UsageError("incorrect arguments. Specify target backup name OR target userdata, not both");
    }
  },
  run: fetch,
};

async function fetch(call: Call): Promise<number> {
  const { args, flags, settings, log } = call;
  const directory = resolve(args[0]!);
  const selector = selectorOf(call);
  const store = await call.openStore();
  log.info(selectionSentence(selector));
  log.info("Backup to fetch will be searched in storages: [default]");
  const name = await selectBackup(store, selector, call.signal);
  if (selector.kind === "latest") log.info(`LATEST backup is: '${name}'`);
  const [{ fetchBackup }, { progressShower }] = await Promise.all([
    import("../../backup/fetch.ts"),
    import("./progress.ts"),
  ]);
  const fetchSettings: FetchSettings = {
    backup: { kind: "name", name },
    directory,
    tablespaces: await placement(flags.text("restore-spec")),
    mask: flags.text("mask") ?? null,
    only: (flags.text("restore-only") ?? "").split(",").filter((name) => name !== ""),
    concurrency: Math.max(1, settings.count("WALG_DOWNLOAD_CONCURRENCY", 10)),
    retries:
      settings.text("WALG_DOWNLOAD_FILE_RETRIES") === undefined
        ? null
        : settings.count("WALG_DOWNLOAD_FILE_RETRIES", 0),
    skipsSync: settings.isOn("WALG_TAR_DISABLE_FSYNC"),
    serverMajor: null,
    owner: await ownerFor(directory),
  };
  const cipherKey = await call.openKey();
  const onProgress = progressShower(call, "restore");
  await fetchBackup(fetchSettings, { ...call, store, cipherKey, onProgress });
  log.info("Backup extraction complete.");
  return 0;
}

function selectionSentence(selector: BackupSelector): string {
  if (selector.kind === "latest") return "Selecting the latest backup...";
  if (selector.kind === "name") return `Selecting the backup with name ${selector.name}...`;
  return "Selecting the backup with the specified user data...";
}

/** The name of the backup that is meant, or WAL-G's sentence that there is none. */
export async function selectBackup(
  store: BackupReader,
  selector: BackupSelector,
  signal: AbortSignal,
): Promise<string> {
  try {
    return (await findBackup(store, selector, signal)).name;
  } catch (error) {
    if (!(error instanceof BackupMissingError)) throw error;
    const because =
      selector.kind === "name"
        ? `Backup '${selector.name}' does not exist.`
        : selector.kind === "latest"
          ? "No backups found"
          : error.message;
    throw new BackupMissingError(`Failed to select backup: ${because}`, error.hint);
  }
}

function selectorOf({ args, flags, settings }: Call): BackupSelector {
  const name = args[1];
  const text =
    flags.text("target-user-data") ??
    (name === undefined ? settings.text("WALG_FETCH_TARGET_USER_DATA") : undefined);
  const userData = jsonOf(text, "user data");
  if (userData !== undefined) return { kind: "user-data", userData };
  if (name === undefined) {
    throw new UsageError(
      "incorrect arguments. Specify target backup name OR target userdata",
      "LATEST means the newest",
    );
  }
  return name.toUpperCase() === "LATEST" ? { kind: "latest" } : { kind: "name", name };
}

async function placement(path: string | undefined): Promise<TablespacePlacement> {
  if (path === undefined) return { kind: "as-they-were" };
  const { parseSpec } = await import("../../backup/tablespace-spec.ts");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new AppError(`could not read the restore spec "${path}": ${messageOf(error)}`, {
      code: "RESTORE_SPEC",
      hint: "check the path",
    });
  }
  const spec = parseSpec(jsonOf(text, "restore spec"), path);
  if (spec === null) throw new UsageError(`the restore spec "${path}" is empty`);
  return { kind: "spec", spec };
}

/** Run as root, files get the owner of the directory they go into, or of Postgres's home; null: whoever runs this. */
async function ownerFor(directory: string): Promise<FetchSettings["owner"]> {
  if (process.getuid?.() !== 0) return null;
  for (const path of [directory, dirname(directory), POSTGRES_HOME]) {
    const info = await stat(path).catch(() => null);
    if (info !== null && info.uid !== 0) return { uid: info.uid, gid: info.gid };
  }
  return null;
}

const POSTGRES_HOME = "/var/lib/postgresql";
