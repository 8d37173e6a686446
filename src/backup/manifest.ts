// Our own manifest beside a backup's parts: a SHA-256 for each object, which WAL-G's format lacks. WAL-G ignores it.

import { BackupFormatError } from "./format-error.ts";
import type { Json } from "../base/lossless-json.ts";
import { type Nanoseconds, formatGoJson, formatInstant, parseInstant } from "./go-json.ts";
import { FieldReader, fieldsOf } from "./sentinel.ts";

/** One object as it lies in the store. */
export interface ManifestPart {
  /** Name within tar_partitions/, with extension. */
  readonly name: string;
  readonly bytes: number;
  /** Lower-case hex over the stored bytes. */
  readonly sha256: string;
}

export interface Manifest {
  readonly backup: string;
  readonly parts: readonly ManifestPart[];
  /** SHA-256 of the sentinel and of files_metadata.json (null when the backup has none). metadata.json changes with marks. */
  readonly sentinelSha256: string;
  readonly filesMetadataSha256: string | null;
  /** For the next delta; null in backups that no delta with skips can be taken from. */
  readonly source: ManifestSource | null;
}

/** Where the files were read. */
export interface ManifestSource {
  /** Tells the volume from any other, and from a copy of it. */
  readonly volume: string;
  /** When the first file was looked at. */
  readonly lookedAt: Nanoseconds;
  /** OID to `xmin` of its row in pg_database: tells a re-created database from the one that the backup holds. */
  readonly databases: ReadonlyMap<string, string>;
}

export function formatManifest(manifest: Manifest): string {
  return formatGoJson({
    version: MANIFEST_VERSION,
    backup: manifest.backup,
    sentinel_sha256: manifest.sentinelSha256,
    files_metadata_sha256: manifest.filesMetadataSha256,
    parts: manifest.parts.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
    source:
      manifest.source === null
        ? null
        : {
            volume: manifest.source.volume,
            looked_at: formatInstant(manifest.source.lookedAt),
            databases: Object.fromEntries(manifest.source.databases),
          },
  });
}

/** Throws BackupFormatError on anything malformed and on a version that this program does not know. */
export function parseManifest(text: string, object: string): Manifest {
  const fields = fieldsOf(text, object);
  const read = new FieldReader(fields, object);
  const version = read.integer("version");
  if (version !== MANIFEST_VERSION)
    throw new BackupFormatError(object, `version ${version} of the manifest is not known here`, {
      hint: "restore with the release of Holdfast that wrote the backup, or a later one",
    });
  const parts = fields.get("parts");
  if (!Array.isArray(parts)) throw new BackupFormatError(object, "lists no parts");
  const filesSha = fields.get("files_metadata_sha256") ?? null;
  return {
    backup: read.text("backup"),
    parts: parts.map((part) => parsePart(part, object)),
    sentinelSha256: hash(read.text("sentinel_sha256"), object),
    filesMetadataSha256: filesSha === null ? null : hash(read.text("files_metadata_sha256"), object),
    source: parseSource(fields.get("source") ?? null, object),
  };
}

function parseSource(value: Json, object: string): ManifestSource | null {
  if (value === null) return null;
  if (typeof value !== "object" || Array.isArray(value))
    throw new BackupFormatError(object, "has a malformed source");
  const { volume, looked_at: time, databases } = value as Record<string, Json>;
  const lookedAt = typeof time === "string" ? parseInstant(time) : null;
  if (typeof volume !== "string" || lookedAt === null)
    throw new BackupFormatError(object, "has a malformed source");
  const rows = Object.entries(databases ?? {});
  return { volume, lookedAt, databases: new Map(rows.map(([oid, xmin]) => [oid, String(xmin)])) };
}

function parsePart(value: unknown, object: string): ManifestPart {
  const part = (value ?? {}) as Partial<Record<keyof ManifestPart, unknown>>;
  const { name, bytes, sha256 } = part;
  const isGood =
    typeof name === "string" &&
    !name.includes("/") &&
    Number.isSafeInteger(bytes) &&
    typeof sha256 === "string";
  if (!isGood) throw new BackupFormatError(object, "has a malformed part");
  return { name, bytes: bytes as number, sha256: hash(sha256, object) };
}

function hash(text: string, object: string): string {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new BackupFormatError(object, "has a malformed SHA-256");
  return text;
}

const MANIFEST_VERSION = 1;
