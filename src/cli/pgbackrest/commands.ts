// `wal-g pgbackrest …`: a way in for users of pgBackRest. Repositories are listed and restored from, never written to.

import { access } from "node:fs/promises";
import { resolve } from "node:path";
import { serveBytes } from "../../archive/serve-file.ts";
import { checkSegment } from "../../archive/wal-file-check.ts";
import { AppError, EXIT, messageOf } from "../../base/errors.ts";
import { instantOfMs } from "../../backup/go-json.ts";
import { parseHistory, type TimelineHistory } from "../../wal/timeline-history.ts";
import { parseSegmentName, parseWalName, type Segment } from "../../wal/segment-name.ts";
import { printBackups } from "../walg/backup-list.ts";
import type { DetailedBackup } from "../walg/backups.ts";
import { argumentCount, type Call, type WalgCommand } from "../walg/command.ts";
import { UsageError } from "../walg/flags.ts";
import { printTimelines } from "../walg/wal-show.ts";
import type { BackupInfo, InfoBackup } from "./info.ts";
import { type ArchivedFile, Repository } from "./repository.ts";
import { restoreManifest } from "./restore.ts";

export const PGBACKREST: WalgCommand = {
  path: "pgbackrest",
  summary: "Reads repositories of pgBackRest",
  use: "pgbackrest",
  examples: [],
  flags: [],
  check: () => undefined,
  run: () => Promise.resolve(0),
};

export const PGBACKREST_BACKUP_LIST: WalgCommand = {
  path: "pgbackrest backup-list",
  summary: "Prints the backups of a stanza",
  use: "backup-list",
  examples: ["PGBACKREST_STANZA=main wal-g pgbackrest backup-list --detail --pretty"],
  flags: [
    { name: "detail", kind: "bool", usage: "Prints extra backup details" },
    { name: "json", kind: "bool", usage: "Prints output in json format" },
    { name: "pretty", kind: "bool", usage: "Prints more readable output" },
  ],
  check: argumentCount(0, 0),
  run: list,
};

export const PGBACKREST_BACKUP_FETCH: WalgCommand = {
  path: "pgbackrest backup-fetch",
  summary: "Restores a backup of a stanza",
  use: "backup-fetch destination_directory backup_name",
  examples: ["wal-g pgbackrest backup-fetch /data/restored LATEST"],
  flags: [],
  check: argumentCount(2, 2),
  run: fetch,
};

export const PGBACKREST_WAL_FETCH: WalgCommand = {
  path: "pgbackrest wal-fetch",
  summary: "Fetches a WAL file of a stanza",
  use: "wal-fetch wal_name destination_filename",
  examples: ["restore_command = 'wal-g pgbackrest wal-fetch %f %p'"],
  flags: [],
  check: argumentCount(2, 2),
  run: fetchWal,
};

export const PGBACKREST_WAL_SHOW: WalgCommand = {
  path: "pgbackrest wal-show",
  summary: "Shows the WAL of a stanza grouped by timelines",
  use: "wal-show",
  examples: ["wal-g pgbackrest wal-show"],
  flags: [{ name: "detailed-json", kind: "bool", usage: "Output detailed information in JSON format." }],
  check: argumentCount(0, 0),
  run: show,
};

async function repositoryOf(call: Call): Promise<Repository> {
  return new Repository(await call.openStore(), call.settings.text("PGBACKREST_STANZA") ?? "main");
}

async function list(call: Call): Promise<number> {
  const info = await (await repositoryOf(call)).backupInfo(call.signal);
  printBackups(
    call,
    info.backups.map((backup) => listed(backup, info)),
    call.flags.isOn("detail"),
  );
  return 0;
}

function listed(backup: InfoBackup, { databases }: BackupInfo): DetailedBackup {
  const database = databases.get(backup.databaseId);
  return {
    name: backup.label,
    modifiedNs: instantOfMs(backup.stoppedMs),
    storage: "default",
    walFile: backup.archiveStart ?? "",
    metadata: {
      startTime: instantOfMs(backup.startedMs),
      finishTime: instantOfMs(backup.stoppedMs),
      hostname: "",
      dataDirectory: "",
      pgVersion: versionNumber(database?.version ?? "0"),
      startLsn: backup.startLsn,
      finishLsn: backup.stopLsn,
      isPermanent: false,
      systemIdentifier: database?.systemId ?? null,
      uncompressedBytes: backup.bytes,
      compressedBytes: backup.storedBytes,
      userData: null,
    },
  };
}

/** `15` is 150000, `9.6` is 90600. */
function versionNumber(version: string): number {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major >= 10 ? major * 10_000 : major * 10_000 + minor * 100;
}

async function fetch(call: Call): Promise<number> {
  const { args, signal, log, clock } = call;
  const repository = await repositoryOf(call);
  const { backups } = await repository.backupInfo(signal);
  const isLatest = args[1]!.toUpperCase() === "LATEST";
  const backup = isLatest ? backups.at(-1) : backups.find(({ label }) => label === args[1]);
  if (backup === undefined) {
    throw new AppError(isLatest ? "No backups found" : `Backup '${args[1]}' does not exist.`, {
      code: "BACKUP_MISSING",
      hint: "list them with `pgbackrest backup-list`",
    });
  }
  if (backup.hasErrors)
    log.warn("pages had wrong checksums when this backup was taken", { backup: backup.label });
  const { progressShower } = await import("../walg/progress.ts");
  await restoreManifest(await repository.manifest(backup.label, signal), resolve(args[0]!), {
    repository,
    log,
    signal,
    monotonicMs: () => clock.monotonicMs(),
    onProgress: progressShower(call, "restore"),
  });
  log.info("Backup extraction complete.");
  return 0;
}

/** Exit statuses as wal-fetch has them: 74 absent, 255 in doubt. */
async function fetchWal(call: Call): Promise<number> {
  const [name, target] = [call.args[0]!, resolve(call.args[1]!)];
  try {
    const { segmentBytes } = call.settings;
    const meaning = parseWalName(name, segmentBytes);
    if (meaning === null) throw new UsageError(`"${name}" is not the name of a WAL file`);
    if (await exists(target))
      throw new AppError(`"${target}" exists already`, { code: "DESTINATION", hint: "remove it first" });
    const repository = await repositoryOf(call);
    const file = await findFile(repository, name, call.signal);
    if (file === null) {
      throw new AppError(`Archive '${name}' does not exist.`, {
        code: "WAL_ABSENT",
        hint: "at the end of the archive this is how it must be",
        exitStatus: EXIT.absent,
      });
    }
    const bytes = await repository.readArchived(file, call.signal);
    if (meaning.kind === "segment")
      checkSegment(bytes, meaning.segment, { segmentBytes, systemId: null, magic: null });
    await serveBytes(bytes, target);
    return 0;
  } catch (error) {
    if (!(error instanceof AppError) || error.exitStatus === EXIT.absent) throw error;
    throw new AppError(messageOf(error), { code: error.code, hint: error.hint, exitStatus: EXIT.doubt });
  }
}

async function findFile(
  repository: Repository,
  name: string,
  signal: AbortSignal,
): Promise<ArchivedFile | null> {
  for (const id of await repository.archiveIds(signal)) {
    const prefix = /^[0-9A-F]{24}/.test(name) ? `${name.slice(0, 16)}/${name}` : name;
    for await (const file of repository.listArchive(id, signal, prefix)) if (file.name === name) return file;
  }
  return null;
}

async function show(call: Call): Promise<number> {
  const { signal, settings, flags } = call;
  const repository = await repositoryOf(call);
  const segments: Segment[] = [];
  const histories = new Map<number, TimelineHistory>();
  const [id] = await repository.archiveIds(signal);
  for await (const file of repository.listArchive(id ?? "none", signal)) {
    const segment = parseSegmentName(file.name, settings.segmentBytes);
    if (segment !== null) segments.push(segment);
    if (!file.name.endsWith(".history")) continue;
    const timeline = Number.parseInt(file.name.slice(0, 8), 16);
    const text = Buffer.from(await repository.readArchived(file, signal)).toString("utf8");
    histories.set(timeline, parseHistory(timeline, text));
  }
  printTimelines(call, { segments, histories }, null, flags.isOn("detailed-json"));
  return 0;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
