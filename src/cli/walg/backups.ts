// The backups of a prefix as the WAL-G commands need them: sentinels by time, their metadata, and the facts that deletion asks.

import { AppError } from "../../base/errors.ts";
import { parseLossless } from "../../base/lossless-json.ts";
import { type BackupFacts, compareNs, placeIn } from "../../backup/backup-facts.ts";
import { type BackupMetadata, parseBackupMetadata } from "../../backup/backup-metadata.ts";
import { BACKUP_FOLDER, metadataKey, SENTINEL_SUFFIX, sentinelKey } from "../../backup/backup-name.ts";
import type { Nanoseconds } from "../../backup/go-json.ts";
import { parseSentinel, type Sentinel } from "../../backup/sentinel.ts";
import { type ObjectStore, readWhole } from "../../storage/object-store.ts";
import { modifiedNsOf } from "./go-time.ts";

/** A backup that has a sentinel. */
export interface ListedBackup {
  readonly name: string;
  /** When its sentinel was written. */
  readonly modifiedNs: Nanoseconds;
}

export interface DetailedBackup extends ListedBackup {
  readonly metadata: BackupMetadata;
}

type Reads = Pick<ObjectStore, "get" | "list">;

/** All backups, oldest sentinel first. */
export async function listBackups(
  store: Reads,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<ListedBackup[]> {
  const found: ListedBackup[] = [];
  for await (const info of store.list(`${folder}/`, signal)) {
    const name = info.key.slice(folder.length + 1);
    if (name.includes("/") || !name.endsWith(SENTINEL_SUFFIX)) continue;
    found.push({ name: name.slice(0, -SENTINEL_SUFFIX.length), modifiedNs: modifiedNsOf(info) });
  }
  return found.sort((a, b) => compareNs(a.modifiedNs, b.modifiedNs) || (a.name < b.name ? -1 : 1));
}

/** The backups with their metadata, by start time. Throws AppError where metadata.json is missing. */
export async function withMetadata(
  store: Reads,
  backups: readonly ListedBackup[],
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<DetailedBackup[]> {
  const detailed = await inParallel(backups, async (backup) => {
    const metadata = await readMetadata(store, backup.name, signal, folder);
    if (metadata !== null) return { ...backup, metadata };
    throw new AppError(`object '${metadataKey(backup.name, folder)}' not found in storage`, {
      code: "BACKUP_DAMAGED",
      hint: "the backup can still be restored; lists without --detail show it",
    });
  });
  const timed = detailed.every((backup) => backup.metadata.startTime !== null);
  return timed ? detailed.sort((a, b) => compareNs(a.metadata.startTime!, b.metadata.startTime!)) : detailed;
}

/** metadata.json, or null when there is none. */
export async function readMetadata(
  store: Reads,
  name: string,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<BackupMetadata | null> {
  const key = metadataKey(name, folder);
  const text = await readText(store, key, signal);
  return text === null ? null : parseBackupMetadata(text, key);
}

/** The sentinel, or null when there is none. */
export async function readSentinel(
  store: Reads,
  name: string,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<Sentinel | null> {
  const key = sentinelKey(name, folder);
  const text = await readText(store, key, signal);
  return text === null ? null : parseSentinel(text, key);
}

/** What deletion must know of each backup. Whatever cannot be read stops it: a guess could remove the only copy. */
export async function readFacts(
  store: Reads,
  segmentBytes: number,
  signal: AbortSignal,
): Promise<BackupFacts[]> {
  const listed = await listBackups(store, signal);
  return inParallel(listed, async ({ name, modifiedNs }) => {
    const sentinel = await readSentinel(store, name, signal);
    const metadata = await readMetadata(store, name, signal);
    const place = placeIn(name, segmentBytes) ?? { timeline: 0xffff_ffff, segment: (1n << 64n) - 1n };
    return {
      name,
      ...place,
      modifiedNs,
      startedNs: metadata?.startTime ?? sentinel?.startTime ?? null,
      startLsn: metadata?.startLsn ?? sentinel?.startLsn ?? null,
      finishLsn: metadata?.finishLsn ?? sentinel?.finishLsn ?? null,
      permanent: metadata?.isPermanent ?? sentinel?.isPermanent ?? false,
      base: sentinel?.delta?.from ?? null,
      full: sentinel?.delta?.fullName ?? null,
      userData: metadata?.userData ?? sentinel?.userData ?? null,
    };
  });
}

async function readText(store: Reads, key: string, signal: AbortSignal): Promise<string | null> {
  const object = await store.get(key, signal);
  return object === null ? null : new TextDecoder().decode(await readWhole(object, TEXT_BYTES_MOST));
}

/** Runs `work` on all of `items`, sixteen at a time, results in order. */
export async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += PARALLEL) {
    results.push(...(await Promise.all(items.slice(at, at + PARALLEL).map(work))));
  }
  return results;
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

const PARALLEL = 16;
const TEXT_BYTES_MOST = 1 << 28;
