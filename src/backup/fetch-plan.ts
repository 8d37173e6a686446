// What has to be fetched to restore a backup, and whether it can be restored at all: decided before a byte is written.

import { createHash } from "node:crypto";
import { type ReadMethod, methodOfExtension } from "../codec/compression.ts";
import type { BackupMetadata } from "./backup-metadata.ts";
import { filesMetadataKey, metadataKey, partsPrefix, sentinelKey } from "./backup-name.ts";
import {
  type BackupReader,
  type PartEntry,
  listParts,
  readBackupMetadata,
  readManifest,
  readSentinelText,
} from "./catalog.ts";
import { type FilesMetadata, noFilesMetadata, readFilesMetadata } from "./files-metadata.ts";
import { BackupFormatError, BackupMissingError } from "./format-error.ts";
import type { Manifest, ManifestPart } from "./manifest.ts";
import type { NameFilter } from "./name-filter.ts";
import { planExtraction, readChain } from "./restore-chain.ts";
import { type Sentinel, parseSentinel } from "./sentinel.ts";

/** One backup of a chain with everything that describes it. */
export interface LoadedBackup {
  readonly name: string;
  readonly sentinel: Sentinel;
  readonly files: FilesMetadata;
  readonly manifest: Manifest | null;
  readonly parts: readonly FetchPart[];
}

/** A part to fetch. */
export interface FetchPart {
  readonly key: string;
  /** Within tar_partitions/. */
  readonly name: string;
  readonly bytes: number;
  readonly method: ReadMethod;
  readonly role: "files" | "control" | "label";
  readonly expected: ManifestPart | null;
}

/** One backup's share in a restore. */
export interface FetchStep {
  readonly backup: LoadedBackup;
  /** Names to take; null: everything in every tar. */
  readonly wanted: ReadonlySet<string> | null;
  /** Parts that hold something wanted. Control file and label belong to the newest backup only. */
  readonly parts: readonly FetchPart[];
  readonly isNewest: boolean;
}

export interface FetchPlan {
  /** Full backup first. */
  readonly steps: readonly FetchStep[];
  readonly newest: LoadedBackup;
  /** Stored bytes to fetch. */
  readonly totalBytes: number;
  /** Bytes that the data directory will take, as far as the backup tells; 0 when it does not. */
  readonly neededBytes: number;
  readonly warnings: readonly string[];
}

/** How much of a backup is wanted. */
export interface FetchScope {
  /** Makes the filter once the names of the newest backup are known; null: everything. */
  readonly filter: ((newest: LoadedBackup) => NameFilter) | null;
  /** The result is not meant to be started: control file and label only if the filter takes them. */
  readonly isPartial: boolean;
}

/**
 * Reads everything that describes `name` and the backups it is built on. Throws BackupMissingError and
 * BackupFormatError that name the object at fault: a missing base, part or list, an extra part, a stale sentinel.
 */
export async function planFetch(
  store: BackupReader,
  name: string,
  scope: FetchScope,
  signal: AbortSignal,
): Promise<FetchPlan> {
  const warnings: string[] = [];
  const texts = new Map<string, string>();
  const chain = await readChain(name, async (backup) => {
    const text = await sentinelOrNull(store, backup, signal);
    if (text === null) return null;
    texts.set(backup, text);
    return parseSentinel(text, sentinelKey(backup));
  });
  const loaded: LoadedBackup[] = [];
  for (const { name: backup, sentinel } of chain)
    loaded.push(await load(store, backup, sentinel, texts.get(backup) ?? "", warnings, signal));
  const newest = loaded.at(-1)!;
  const filter = scope.filter?.(newest);
  const plan = planExtraction(
    loaded.map((backup) => ({ name: backup.name, files: backup.files.files })),
    filter,
  );
  const steps: FetchStep[] = [];
  for (const extraction of plan) {
    const backup = loaded.find((candidate) => candidate.name === extraction.backup)!;
    const takes = (part: FetchPart): boolean =>
      part.role === "files"
        ? holdsWanted(part, backup, extraction.wanted)
        : extraction.isNewest && (!scope.isPartial || filter?.(FINAL_MEMBERS[part.role]) === true);
    steps.push({
      backup,
      wanted: extraction.wanted,
      isNewest: extraction.isNewest,
      parts: backup.parts.filter(takes),
    });
  }
  if (!scope.isPartial) checkFinalParts(newest);
  return {
    steps,
    newest,
    totalBytes: steps.reduce((sum, step) => sum + step.parts.reduce((part, { bytes }) => part + bytes, 0), 0),
    neededBytes: newest.sentinel.dataCatalogBytes || (loaded[0]?.sentinel.uncompressedBytes ?? 0),
    warnings,
  };
}

async function sentinelOrNull(
  store: BackupReader,
  name: string,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    return await readSentinelText(store, name, signal);
  } catch (error) {
    if (error instanceof BackupMissingError) return null;
    throw error;
  }
}

async function load(
  store: BackupReader,
  name: string,
  sentinel: Sentinel,
  sentinelText: string,
  warnings: string[],
  signal: AbortSignal,
): Promise<LoadedBackup> {
  const manifest = await readManifest(store, name, signal);
  if (manifest !== null && manifest.sentinelSha256 !== sha256(sentinelText))
    throw new BackupFormatError(sentinelKey(name), "is not the sentinel that was written with this backup");
  compareMetadata(name, sentinel, await readBackupMetadata(store, name, signal));
  const files = await loadFiles(store, name, sentinel, manifest, warnings, signal);
  const parts = await loadParts(store, name, manifest, signal);
  checkParts(name, parts, files, manifest);
  return { name, sentinel, files, manifest, parts };
}

/** Without a manifest the two descriptions must at least tell of one backup. */
function compareMetadata(name: string, sentinel: Sentinel, metadata: BackupMetadata | null): void {
  if (metadata === null || sentinel.startLsn === null) return;
  const isSame =
    metadata.startLsn === sentinel.startLsn &&
    metadata.finishLsn === sentinel.finishLsn &&
    (metadata.systemIdentifier ?? sentinel.systemIdentifier) === sentinel.systemIdentifier;
  if (!isSame)
    throw new BackupFormatError(sentinelKey(name), `and "${metadataKey(name)}" tell of different backups`);
}

async function loadFiles(
  store: BackupReader,
  name: string,
  sentinel: Sentinel,
  manifest: Manifest | null,
  warnings: string[],
  signal: AbortSignal,
): Promise<FilesMetadata> {
  if (sentinel.embeddedFiles !== null) return sentinel.embeddedFiles;
  const key = filesMetadataKey(name);
  const object = await store.get(key, signal);
  const expected = manifest?.filesMetadataSha256 ?? null;
  if (object === null) {
    if (expected !== null) throw new BackupFormatError(key, "is missing, and the manifest lists it");
    if (!sentinel.hasNoFilesMetadata)
      warnings.push(`"${name}" has no list of its files: everything in its parts is taken`);
    return noFilesMetadata();
  }
  const hash = createHash("sha256");
  async function* hashed(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of body) {
      hash.update(piece);
      yield piece;
    }
  }
  const files = await readFilesMetadata(hashed(object.body), key);
  if (expected !== null && hash.digest("hex") !== expected)
    throw new BackupFormatError(key, "does not have the SHA-256 that its manifest states");
  return files;
}

async function loadParts(
  store: BackupReader,
  name: string,
  manifest: Manifest | null,
  signal: AbortSignal,
): Promise<FetchPart[]> {
  const expected = new Map(manifest?.parts.map((part) => [part.name, part]));
  const found = await listParts(store, name, signal);
  return found.map((entry) => describePart(entry, expected.get(entry.name) ?? null));
}

/** `<name>.tar`, `<name>.tar.` (3.0.8 with method none) or `<name>.tar.<extension>`. */
function describePart(entry: PartEntry, expected: ManifestPart | null): FetchPart {
  const match = /^([^./]+)\.tar(?:\.([a-z0-9]*))?$/.exec(entry.name);
  const method = match === null ? null : methodOfExtension(match[2] ?? "");
  if (match === null || method === null)
    throw new BackupFormatError(entry.key, "is no part of a backup: its name ends with no known extension");
  const role = match[1] === "pg_control" ? "control" : match[1] === "backup_label" ? "label" : "files";
  return { ...entry, method, role, expected };
}

/** Every part that the backup lists is there in its size, and with a manifest no other. */
function checkParts(
  name: string,
  parts: readonly FetchPart[],
  { tarFileSets, files }: FilesMetadata,
  manifest: Manifest | null,
): void {
  const there = new Map(parts.map((part) => [part.name, part]));
  const prefix = partsPrefix(name);
  if (parts.length === 0) throw new BackupFormatError(prefix, "holds no parts");
  if (manifest !== null) {
    for (const part of manifest.parts) {
      const found = there.get(part.name);
      if (found === undefined) throw new BackupFormatError(`${prefix}${part.name}`, "is missing");
      if (found.bytes !== part.bytes)
        throw new BackupFormatError(
          found.key,
          `has ${found.bytes} bytes, and its manifest says ${part.bytes}`,
        );
    }
    const extra = parts.find(({ expected }) => expected === null);
    if (extra !== undefined) throw new BackupFormatError(extra.key, "is not listed in the backup's manifest");
    return;
  }
  if (tarFileSets.size === 0) return;
  const holdsFiles = (members: readonly string[]): boolean =>
    members.some((member) => files.get(member)?.isSkipped === false);
  for (const [tar, members] of tarFileSets)
    if (!there.has(tar) && !there.has(`${tar}.`) && holdsFiles(members))
      throw new BackupFormatError(
        `${prefix}${tar}`,
        `is missing, and the backup lists ${members.length} members in it`,
      );
}

/** The members that a part is listed with. WAL-G may leave an empty part that it does not list. */
export const setOf = (part: string, sets: FilesMetadata["tarFileSets"]): readonly string[] | undefined =>
  sets.get(part) ?? sets.get(part.replace(/\.$/, ""));

function holdsWanted(part: FetchPart, { files }: LoadedBackup, wanted: ReadonlySet<string> | null): boolean {
  const members = setOf(part.name, files.tarFileSets);
  return wanted === null || members === undefined || members.some((member) => wanted.has(member));
}

/** Without the control file nothing starts, and without its label a backup starts and is silently wrong. */
function checkFinalParts({ name, sentinel, files, parts }: LoadedBackup): void {
  if (sentinel.startLsn === null) return; // WAL-E kept both among the other files
  const prefix = partsPrefix(name);
  if (!parts.some(({ role }) => role === "control"))
    throw new BackupFormatError(`${prefix}pg_control.tar`, "is missing");
  const holdsLabel = files.files.has("backup_label") || files.files.size === 0;
  if (!parts.some(({ role }) => role === "label") && !holdsLabel)
    throw new BackupFormatError(`${prefix}backup_label.tar`, "is missing");
}

/** What a filter is asked for a final part. */
const FINAL_MEMBERS = { control: "/global/pg_control", label: "/backup_label" } as const;

const sha256 = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex");
