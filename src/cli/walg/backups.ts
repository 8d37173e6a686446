// The backups of a prefix as the WAL-G commands need them: sentinels by time, their metadata, and the facts that deletion asks.

import { AppError } from "../../base/errors.ts";
import { parseLossless } from "../../base/lossless-json.ts";
import { compareNs } from "../../backup/backup-facts.ts";
import type { BackupMetadata } from "../../backup/backup-metadata.ts";
import { BACKUP_FOLDER, metadataKey, SENTINEL_SUFFIX } from "../../backup/backup-name.ts";
import { type BackupReader, readBackupMetadata } from "../../backup/catalog.ts";
import type { Nanoseconds } from "../../backup/go-json.ts";
import { inParallel } from "../../backup/read-facts.ts";
import { modifiedNsOf } from "./go-time.ts";

/** A backup that has a sentinel. */
export interface ListedBackup {
  readonly name: string;
  /** When its sentinel was written. */
  readonly modifiedNs: Nanoseconds;
  /** Name of the storage that holds it. */
  readonly storage: string;
  /** Where the WAL begins that it needs, if its name does not tell. */
  readonly walFile?: string;
}

export interface DetailedBackup extends ListedBackup {
  readonly metadata: BackupMetadata;
}

/** All backups, oldest sentinel first. */
export async function listBackups(
  store: BackupReader,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
  storage = "default",
): Promise<ListedBackup[]> {
  const found: ListedBackup[] = [];
  for await (const info of store.list(`${folder}/`, signal)) {
    const name = info.key.slice(folder.length + 1);
    if (name.includes("/") || !name.endsWith(SENTINEL_SUFFIX)) continue;
    found.push({ name: name.slice(0, -SENTINEL_SUFFIX.length), modifiedNs: modifiedNsOf(info), storage });
  }
  return found.sort(byModified);
}

/** Oldest first; equal times in order of name. */
export const byModified = (a: ListedBackup, b: ListedBackup): number =>
  compareNs(a.modifiedNs, b.modifiedNs) || (a.name < b.name ? -1 : 1);

/** The backups with their metadata, by start time. Throws AppError where metadata.json is missing. */
export async function withMetadata(
  store: BackupReader,
  backups: readonly ListedBackup[],
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<DetailedBackup[]> {
  const detailed = await inParallel(backups, async (backup) => {
    const metadata = await readBackupMetadata(store, backup.name, signal, folder);
    if (metadata !== null) return { ...backup, metadata };
    throw new AppError(`object '${metadataKey(backup.name, folder)}' not found in storage`, {
      code: "BACKUP_DAMAGED",
      hint: "the backup can still be restored; lists without --detail show it",
    });
  });
  return byStart(detailed);
}

/** By start time where every backup has one, else as they come. */
export function byStart(backups: readonly DetailedBackup[]): DetailedBackup[] {
  if (backups.some((backup) => backup.metadata.startTime === null)) return [...backups];
  return backups.toSorted((a, b) => compareNs(a.metadata.startTime!, b.metadata.startTime!));
}

/** True when `userData` is the JSON value of `text`, keys in any order. Throws SyntaxError when `text` is not JSON. */
export function sameJson(text: string): (userData: unknown) => boolean {
  const wanted = canonical(parseLossless(text));
  return (userData) => canonical(userData) === wanted;
}

function canonical(value: unknown): string {
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(",")}}`;
}
