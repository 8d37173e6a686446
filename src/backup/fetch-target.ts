// The directory that a backup is restored into: made ready before the first byte, made whole and durable after the last.

import {
  chmod,
  chown,
  mkdir,
  open,
  readFile,
  readdir,
  readlink,
  rm,
  statfs,
  symlink,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { renameDurably, syncFolder, writeDurably } from "../base/durable-file.ts";
import { AppError } from "../base/errors.ts";
import { parseControlFile } from "../postgres/control-file.ts";
import { formatLsn } from "../wal/lsn.ts";
import { startOfLabel } from "./backup-label.ts";
import { MARKER_NAME, type FetchMarker } from "./fetch-marker.ts";
import type { LoadedBackup } from "./fetch-plan.ts";
import { formatTablespaceMap } from "./fetch-tablespaces.ts";
import { BackupFormatError } from "./format-error.ts";
import { CONTROL_PATH, CONTROL_WAITS_AT, LABEL_PATH, TABLESPACE_MAP_PATH } from "./member-path.ts";
import type { Tablespace } from "./tablespace-spec.ts";

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The names in a directory; null when it does not exist. */
export async function namesIn(directory: string): Promise<string[] | null> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Removes what an unfinished fetch left: the target's content and that of its tablespaces. Never the directories. */
export async function clearUnfinished(directory: string, marker: FetchMarker): Promise<void> {
  for (const place of [...marker.tablespaces, directory]) {
    // The marker goes last: while it is there, the rest is known to be ours to remove.
    const names = (await namesIn(place)) ?? [];
    for (const name of names) if (name !== MARKER_NAME) await rm(join(place, name), { recursive: true });
  }
  await rm(join(directory, MARKER_NAME), { force: true });
}

/** Throws AppError unless the places of the tablespaces are free: made here, empty, or as a resumed fetch left them. */
export async function makeTablespaces(
  directory: string,
  tablespaces: readonly Tablespace[],
  owner: Owner | null,
  isResumed: boolean,
): Promise<void> {
  if (tablespaces.length > 0) await mkdirs(join(directory, "pg_tblspc"), owner);
  for (const { name, location, link } of tablespaces) {
    const found = await namesIn(location);
    if (!isResumed && found !== null && found.length > 0)
      throw new AppError(`the place of tablespace ${name}, "${location}", is not empty`, {
        code: "BACKUP_TARGET_NOT_EMPTY",
        hint: "empty it, or restore the tablespaces elsewhere with --restore-spec",
      });
    await mkdirs(location, owner);
    await linkTo(location, join(directory, link));
  }
}

async function linkTo(location: string, path: string): Promise<void> {
  try {
    await symlink(location, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    if ((await readlink(path).catch(() => null)) === location) return;
    throw new AppError(`"${path}" is there and does not lead to "${location}"`, {
      code: "BACKUP_TARGET_NOT_EMPTY",
      hint: "restore into an empty directory",
    });
  }
}

/** Makes the folder and what is above it, 0700, and gives what it made to `owner`. */
export async function mkdirs(path: string, owner: Owner | null): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined || owner === null) return;
  for (let at = path; at.length >= first.length; at = dirname(at)) await chown(at, owner.uid, owner.gid);
}

/** Throws AppError when the disk below `directory` has fewer free bytes than needed. Tablespaces on other disks count as on this one. */
export async function checkSpace(directory: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  throw new AppError(`the backup needs ${neededBytes} bytes, and "${directory}" has ${freeBytes} free`, {
    code: "BACKUP_NO_SPACE",
    hint: "make room, or restore onto a larger disk",
  });
}

/** What the restored directory says of itself. */
export interface RestoredFacts {
  readonly segmentBytes: number;
  readonly timeline: number;
}

/**
 * Adds what backups leave out, points tablespace_map at the new places, and compares label and control file with the
 * sentinel. Throws BackupFormatError when they are of another backup: such a directory would start and be wrong.
 */
export async function completeDirectory(
  directory: string,
  backup: LoadedBackup,
  tablespaces: readonly Tablespace[],
  owner: Owner | null,
): Promise<RestoredFacts> {
  for (const folder of FOLDERS) await mkdirs(join(directory, folder), owner);
  await rewriteTablespaceMap(directory, backup, tablespaces, owner);
  await compareLabel(directory, backup);
  const control = parseControlFile(await readFile(join(directory, CONTROL_WAITS_AT)));
  const { systemIdentifier } = backup.sentinel;
  if (systemIdentifier !== null && control.systemId !== systemIdentifier)
    throw new BackupFormatError(
      backup.name,
      `its control file is of system ${control.systemId}, and its sentinel says ${systemIdentifier}`,
    );
  return { segmentBytes: control.segmentBytes, timeline: control.timeline };
}

async function rewriteTablespaceMap(
  directory: string,
  { sentinel }: LoadedBackup,
  tablespaces: readonly Tablespace[],
  owner: Owner | null,
): Promise<void> {
  const before = new Map(sentinel.spec?.tablespaces.map(({ name, location }) => [name, location]));
  if (tablespaces.every(({ name, location }) => before.get(name) === location)) return;
  const path = join(directory, TABLESPACE_MAP_PATH);
  await writeDurably(path, formatTablespaceMap(tablespaces));
  if (owner !== null) await chown(path, owner.uid, owner.gid);
}

async function compareLabel(directory: string, { name, sentinel }: LoadedBackup): Promise<void> {
  if (sentinel.startLsn === null) return;
  const text = await readFile(join(directory, LABEL_PATH), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  const start = startOfLabel(text ?? "");
  if (start === null)
    throw new BackupFormatError(
      name,
      text === null ? "holds no backup_label" : "its backup_label names no start",
    );
  if (start === sentinel.startLsn) return;
  throw new BackupFormatError(
    name,
    `its backup_label starts at ${formatLsn(start)}, and its sentinel says ${formatLsn(sentinel.startLsn)}`,
  );
}

/** Puts the control file in its place: from here on the directory can be started. `mode` is that of the source's directory. */
export async function releaseDirectory(directory: string, owner: Owner | null): Promise<void> {
  if (owner !== null) await chown(directory, owner.uid, owner.gid);
  await chmod(directory, 0o700);
  await renameDurably(join(directory, CONTROL_WAITS_AT), join(directory, CONTROL_PATH));
}

/** Makes every file and folder durable, tablespaces too, a few at a time. */
export async function syncTree(directory: string, tablespaces: readonly Tablespace[]): Promise<void> {
  for (const root of [directory, ...tablespaces.map(({ location }) => location)]) await syncBelow(root);
}

async function syncBelow(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(folder, entry.name));
  for (let from = 0; from < files.length; from += SYNCS_AT_ONCE)
    await Promise.all(files.slice(from, from + SYNCS_AT_ONCE).map(syncFile));
  for (const entry of entries) if (entry.isDirectory()) await syncBelow(join(folder, entry.name));
  await syncFolder(folder);
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, "r");
  await file.sync();
}

/** What Postgres wants to find and backups do not bring, or bring only as headers. */
const FOLDERS = [
  ...["base", "global", "pg_commit_ts", "pg_dynshmem", "pg_logical", "pg_logical/mappings"],
  ...["pg_logical/snapshots", "pg_multixact", "pg_multixact/members", "pg_multixact/offsets", "pg_notify"],
  ...["pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp", "pg_subtrans", "pg_tblspc"],
  ...["pg_twophase", "pg_wal", "pg_wal/archive_status", "pg_xact"],
];
const SYNCS_AT_ONCE = 16;
