// The backups of a store: list them, choose one, read what describes it.

import { isDeepStrictEqual } from "node:util";
import type { Json } from "../base/lossless-json.ts";
import { type ObjectStore, readWhole } from "../storage/object-store.ts";
import {
  BACKUP_FOLDER,
  SENTINEL_SUFFIX,
  filesMetadataKey,
  manifestKey,
  metadataKey,
  partsPrefix,
  sentinelKey,
} from "./backup-name.ts";
import { type BackupMetadata, parseBackupMetadata } from "./backup-metadata.ts";
import { type FilesMetadata, readFilesMetadata } from "./files-metadata.ts";
import { BackupFormatError, BackupMissingError } from "./format-error.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { type Sentinel, parseSentinel } from "./sentinel.ts";

/** The slice of the store that reading backups needs. */
export type BackupReader = Pick<ObjectStore, "name" | "get" | "list">;

/** A backup that is complete: its sentinel exists. */
export interface BackupEntry {
  readonly name: string;
  /** When the store saw the sentinel, milliseconds since 1970: WAL-G's order, and what LATEST goes by. */
  readonly modifiedMs: number;
  readonly sentinelBytes: number;
}

/** Which backup is meant. */
export type BackupSelector =
  | { readonly kind: "latest" }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "user-data"; readonly userData: Json };

/** `LATEST` in any case, or a name. */
export function parseSelector(text: string): BackupSelector {
  return text.toUpperCase() === "LATEST" ? { kind: "latest" } : { kind: "name", name: text };
}

/** All complete backups, oldest sentinel first; equal times in order of name. */
export async function listBackups(
  store: BackupReader,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<BackupEntry[]> {
  const entries: BackupEntry[] = [];
  for await (const { key, modifiedMs, bytes } of store.list(`${folder}/`, signal)) {
    const name = key.slice(folder.length + 1, -SENTINEL_SUFFIX.length);
    if (!key.endsWith(SENTINEL_SUFFIX) || name === "" || name.includes("/")) continue;
    entries.push({ name, modifiedMs, sentinelBytes: bytes });
  }
  return entries.toSorted((a, b) => a.modifiedMs - b.modifiedMs || (a.name < b.name ? -1 : 1));
}

/** The one backup that the selector means. Throws BackupMissingError when there is none, or more than one. */
export async function findBackup(
  store: BackupReader,
  selector: BackupSelector,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<BackupEntry> {
  const entries = await listBackups(store, signal, folder);
  if (selector.kind === "latest") {
    const newest = entries.at(-1);
    if (newest === undefined) throw new BackupMissingError(`no backups in ${store.name}/${folder}`);
    return newest;
  }
  if (selector.kind === "name") {
    const found = entries.find(({ name }) => name === selector.name);
    if (found === undefined)
      throw new BackupMissingError(`backup "${selector.name}" is not in ${store.name}/${folder}`);
    return found;
  }
  return findByUserData(store, entries, selector.userData, signal, folder);
}

async function findByUserData(
  store: BackupReader,
  entries: readonly BackupEntry[],
  userData: Json,
  signal: AbortSignal,
  folder: string,
): Promise<BackupEntry> {
  const found: BackupEntry[] = [];
  for (const entry of entries) {
    const metadata = await readBackupMetadata(store, entry.name, signal, folder);
    if (metadata !== null && isDeepStrictEqual(metadata.userData, userData)) found.push(entry);
  }
  const [first, ...others] = found;
  if (first === undefined)
    throw new BackupMissingError(`no backup carries the user data ${JSON.stringify(userData)}`);
  if (others.length > 0)
    throw new BackupMissingError(
      `${found.length} backups carry the user data ${JSON.stringify(userData)}: ${found.map(({ name }) => name).join(", ")}`,
      "name the one that is meant",
    );
  return first;
}

/** Throws BackupMissingError when it is not there, BackupFormatError when it is damaged. */
export async function readSentinel(
  store: BackupReader,
  name: string,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<Sentinel> {
  return parseSentinel(await readSentinelText(store, name, signal, folder), sentinelKey(name, folder));
}

/** The sentinel's exact text, which the manifest has a hash of. */
export async function readSentinelText(
  store: BackupReader,
  name: string,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<string> {
  const text = await readText(store, sentinelKey(name, folder), signal, SENTINEL_LIMIT_BYTES);
  if (text === null)
    throw new BackupMissingError(`backup "${name}" is not in ${store.name}/${folder}: it has no sentinel`);
  return text;
}

/** null when there is no metadata.json. */
export async function readBackupMetadata(
  store: BackupReader,
  name: string,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<BackupMetadata | null> {
  const key = metadataKey(name, folder);
  const text = await readText(store, key, signal, SENTINEL_LIMIT_BYTES);
  return text === null ? null : parseBackupMetadata(text, key);
}

/** null when there is no files_metadata.json. */
export async function readBackupFiles(
  store: BackupReader,
  name: string,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<FilesMetadata | null> {
  const key = filesMetadataKey(name, folder);
  const object = await store.get(key, signal);
  return object === null ? null : readFilesMetadata(object.body, key);
}

/** null when the backup was not written by Holdfast. */
export async function readManifest(
  store: BackupReader,
  name: string,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<Manifest | null> {
  const key = manifestKey(name, folder);
  const text = await readText(store, key, signal, MANIFEST_LIMIT_BYTES);
  if (text === null) return null;
  const manifest = parseManifest(text, key);
  if (manifest.backup !== name) throw new BackupFormatError(key, `belongs to backup "${manifest.backup}"`);
  return manifest;
}

/** An object in tar_partitions/. */
export interface PartEntry {
  readonly key: string;
  /** Name within tar_partitions/. */
  readonly name: string;
  readonly bytes: number;
}

export async function listParts(
  store: BackupReader,
  name: string,
  signal: AbortSignal,
  folder = BACKUP_FOLDER,
): Promise<PartEntry[]> {
  const prefix = partsPrefix(name, folder);
  const parts = new Map<string, PartEntry>(); // by name: a versioned bucket may list one twice
  for await (const { key, bytes } of store.list(prefix, signal)) {
    const partName = key.slice(prefix.length);
    parts.set(partName, { key, name: partName, bytes });
  }
  return [...parts.values()];
}

async function readText(
  store: BackupReader,
  key: string,
  signal: AbortSignal,
  limitBytes: number,
): Promise<string | null> {
  const object = await store.get(key, signal);
  if (object === null) return null;
  return Buffer.from(await readWhole(object, limitBytes)).toString("utf8");
}

/** Version 1 sentinels hold all file names. */
const SENTINEL_LIMIT_BYTES = 256 * 1024 * 1024;
const MANIFEST_LIMIT_BYTES = 64 * 1024 * 1024;
