// The last objects of a backup: control file, label, what describes it, and the sentinel, in this order.

import { createHash } from "node:crypto";
import { AppError } from "../base/errors.ts";
import { extensionOf } from "../codec/compression.ts";
import { type Codec, seal } from "../codec/seal.ts";
import type { BackupStop } from "../postgres/backup-session.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { formatBackupMetadata, metadataOfSentinel } from "./backup-metadata.ts";
import { filesMetadataKey, manifestKey, metadataKey, partsPrefix, sentinelKey } from "./backup-name.ts";
import { type BackupReader, listParts } from "./catalog.ts";
import { type FilesMetadata, formatFilesMetadata } from "./files-metadata.ts";
import { type Manifest, type ManifestPart, type ManifestSource, formatManifest } from "./manifest.ts";
import { ownerNames } from "./owner-names.ts";
import { BaseGoneError, checkBases } from "./push-bases.ts";
import { withExtension } from "./push-parts.ts";
import { type Sentinel, formatSentinel } from "./sentinel.ts";
import { type TarMember, encodeTarHeader, paddingOf, tarTrailer } from "./tar-header.ts";

export interface FinishTools {
  readonly store: ObjectStore;
  readonly codec: Codec;
  readonly signal: AbortSignal;
}

/** pg_control.tar: read as late as possible, because on a standby its minimum recovery point must cover all pages. */
export async function pushControlFile(
  backup: string,
  seen: {
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
    readonly mtimeSeconds: number;
  },
  bytes: Uint8Array,
  tools: FinishTools,
): Promise<ManifestPart> {
  const member: TarMember = {
    name: "/global/pg_control",
    kind: "file",
    mode: seen.mode & 0o7777,
    uid: seen.uid,
    gid: seen.gid,
    ...ownerNames(seen.uid, seen.gid),
    bytes: bytes.byteLength,
    mtimeSeconds: seen.mtimeSeconds,
  };
  return pushSmallTar(backup, "pg_control.tar", [{ member, bytes }], tools);
}

/** backup_label.tar: names without a slash, no owner and no time, an empty tablespace_map too. */
export async function pushLabel(
  backup: string,
  { label, tablespaceMap }: BackupStop,
  tools: FinishTools,
): Promise<ManifestPart> {
  const plain = (name: string, text: string): SmallMember => {
    const bytes = Buffer.from(text, "utf8");
    const owner = { uid: 0, gid: 0, userName: "", groupName: "" };
    return {
      member: { name, kind: "file", mode: 0o600, ...owner, bytes: bytes.length, mtimeSeconds: 0 },
      bytes,
    };
  };
  const members = [plain("backup_label", label), plain("tablespace_map", tablespaceMap)];
  return pushSmallTar(backup, "backup_label.tar", members, tools);
}

interface SmallMember {
  readonly member: TarMember;
  readonly bytes: Uint8Array;
}

async function pushSmallTar(
  backup: string,
  tarName: string,
  members: readonly SmallMember[],
  { store, codec, signal }: FinishTools,
): Promise<ManifestPart> {
  const pieces = members.flatMap(({ member, bytes }) => [
    encodeTarHeader(member),
    bytes,
    new Uint8Array(paddingOf(bytes.byteLength)),
  ]);
  const stored = await seal(Buffer.concat([...pieces, tarTrailer()]), codec);
  const name = withExtension(tarName, extensionOf(codec.compression.method));
  await store.put(`${partsPrefix(backup)}${name}`, stored, signal, { bytes: stored.byteLength });
  return { name, bytes: stored.byteLength, sha256: sha256(stored) };
}

/** What a backup is, once all its parts are stored. */
export interface FinishedBackup {
  readonly name: string;
  readonly sentinel: Sentinel;
  /** null: without files_metadata.json. */
  readonly files: FilesMetadata | null;
  readonly parts: readonly ManifestPart[];
  readonly source: ManifestSource | null;
}

/**
 * Writes metadata.json, files_metadata.json and the manifest, looks that the store holds every part in its size and
 * nothing else, and that a delta's bases are there, and writes the sentinel: only now does the backup exist. A base that
 * is deleted at this very moment takes the sentinel with it (BaseGoneError).
 */
export async function pushDescription(backup: FinishedBackup, tools: FinishTools): Promise<void> {
  const { store, signal } = tools;
  const { name, sentinel, files, parts } = backup;
  const metadata = formatBackupMetadata(metadataOfSentinel(sentinel));
  await store.put(metadataKey(name), Buffer.from(metadata, "utf8"), signal);
  const filesHash = files === null ? null : await pushFilesMetadata(name, files, tools);
  const text = Buffer.from(formatSentinel(sentinel), "utf8");
  const manifest: Manifest = {
    backup: name,
    parts,
    sentinelSha256: sha256(text),
    filesMetadataSha256: filesHash,
    source: backup.source,
  };
  await store.put(manifestKey(name), Buffer.from(formatManifest(manifest), "utf8"), signal);
  await checkStored(store, name, parts, signal);
  if (sentinel.delta !== null) await checkBases(name, sentinel.delta.from, store, signal);
  try {
    await store.put(sentinelKey(name), text, signal, { bytes: text.length });
    if (sentinel.delta !== null) await checkAgain(name, sentinel.delta.from, tools);
  } catch (error) {
    throw error instanceof BaseGoneError ? error : new SentinelUnknownError(name, error);
  }
}

/** See delete-race.ts: without this look a deletion could have removed the base between the look before and the sentinel. */
async function checkAgain(name: string, base: string, { store, signal }: FinishTools): Promise<void> {
  try {
    await checkBases(name, base, store, signal);
  } catch (error) {
    if (error instanceof BaseGoneError) await store.delete([sentinelKey(name)], signal);
    throw error;
  }
}

/** The store did not confirm the sentinel, and yet may have it: the parts must stay. */
export class SentinelUnknownError extends AppError {
  constructor(name: string, cause: unknown) {
    super(`the store did not confirm the sentinel of backup "${name}"`, {
      code: "BACKUP_SENTINEL_UNKNOWN",
      hint: "look with `holdfast backup-list` whether the backup is there; if not, `delete garbage` removes its parts",
      cause,
    });
  }
}

async function pushFilesMetadata(
  name: string,
  files: FilesMetadata,
  { store, signal }: FinishTools,
): Promise<string> {
  const hash = createHash("sha256");
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for (const piece of formatFilesMetadata(files)) {
      hash.update(piece);
      yield piece;
    }
  }
  await store.put(filesMetadataKey(name), hashed(), signal);
  return hash.digest("hex");
}

/** Throws unless tar_partitions/ holds exactly the parts that were put there. */
async function checkStored(
  store: BackupReader,
  name: string,
  parts: readonly ManifestPart[],
  signal: AbortSignal,
): Promise<void> {
  const stored = new Map((await listParts(store, name, signal)).map((part) => [part.name, part.bytes]));
  for (const part of parts) {
    const bytes = stored.get(part.name);
    if (bytes !== part.bytes)
      throw notAsPut(name, `"${part.name}" has ${bytes ?? "no"} bytes instead of ${part.bytes}`);
    stored.delete(part.name);
  }
  const [stranger] = stored.keys();
  if (stranger !== undefined) throw notAsPut(name, `"${stranger}" was put there by somebody else`);
}

const notAsPut = (name: string, problem: string): AppError =>
  new AppError(`the parts of backup "${name}" are not as they were stored: ${problem}`, {
    code: "BACKUP_NOT_AS_STORED",
    hint: "look for a second backup that runs on the same prefix, and for a lifecycle rule of the bucket",
  });

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
