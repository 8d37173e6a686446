// The sentinel of a backup (`…_backup_stop_sentinel.json`): whoever has it, has a complete backup. Storage format, section 3.

import { type Json, parseLossless } from "../base/lossless-json.ts";
import { messageOf } from "../base/errors.ts";
import { type Lsn, lsnOf } from "../wal/lsn.ts";
import { BackupFormatError } from "./format-error.ts";
import { type FilesMetadata, filesMetadataOfJson } from "./files-metadata.ts";
import { type Nanoseconds, formatGoJson, formatInstant, parseInstant } from "./go-json.ts";
import { type TablespaceSpec, formatSpec, parseSpec } from "./tablespace-spec.ts";

/** What a delta was taken from. */
export interface DeltaOrigin {
  /** Start of the previous backup: pages with this LSN or a later one are in the increment. */
  readonly lsn: Lsn;
  /** The previous backup. */
  readonly from: string;
  /** The full backup at the root of the chain. */
  readonly fullName: string;
  /** Position in the chain, 1 = first delta. */
  readonly count: number;
}

export interface Sentinel {
  /** null in what WAL-E wrote; such a backup cannot be the base of a delta. */
  readonly startLsn: Lsn | null;
  readonly finishLsn: Lsn | null;
  readonly delta: DeltaOrigin | null;
  /** server_version_num, e.g. 170004; 0 when unknown. */
  readonly pgVersion: number;
  readonly systemIdentifier: bigint | null;
  readonly uncompressedBytes: number;
  readonly compressedBytes: number;
  readonly dataCatalogBytes: number;
  readonly spec: TablespaceSpec | null;
  readonly userData: Json;
  /** True: written without files_metadata.json. */
  readonly hasNoFilesMetadata: boolean;
  /** 0 in version 1 and WAL-E. */
  readonly version: number;
  readonly startTime: Nanoseconds | null;
  readonly finishTime: Nanoseconds | null;
  readonly hostname: string;
  readonly dataDirectory: string;
  /** As of the backup's end; metadata.json is authoritative afterwards. */
  readonly isPermanent: boolean;
  /** File maps that version 1 kept inside the sentinel; null in all others. */
  readonly embeddedFiles: FilesMetadata | null;
}

export const DATE_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ";

/** Reads a sentinel of any version. Keys match in any case, unknown keys are ignored. Throws BackupFormatError. */
export function parseSentinel(text: string, object: string): Sentinel {
  const fields = fieldsOf(text, object);
  const read = new FieldReader(fields, object);
  const embedded = ["files", "tarfilesets", "databasesbynames"].some((key) => fields.has(key));
  return {
    startLsn: read.lsn("LSN"),
    finishLsn: read.lsn("FinishLSN"),
    delta: deltaOf(read, fields),
    pgVersion: read.integer("PgVersion"),
    systemIdentifier: read.uint64("SystemIdentifier"),
    uncompressedBytes: read.integer("UncompressedSize"),
    compressedBytes: read.integer("CompressedSize"),
    dataCatalogBytes: read.integer("DataCatalogSize"),
    spec: parseSpec(fields.get("spec"), object),
    userData: fields.get("userdata") ?? null,
    hasNoFilesMetadata: read.flag("FilesMetadataDisabled"),
    version: read.integer("Version"),
    startTime: read.instant("StartTime"),
    finishTime: read.instant("FinishTime"),
    hostname: read.text("Hostname"),
    dataDirectory: read.text("DataDir"),
    isPermanent: read.flag("IsPermanent"),
    embeddedFiles: embedded ? filesMetadataOfJson(Object.fromEntries(fields), object) : null,
  };
}

/** Prints version 2 in WAL-G's key order, one line, no newline. */
export function formatSentinel(sentinel: Sentinel): string {
  const { delta } = sentinel;
  const members: string[] = [];
  const put = (key: string, value: unknown): void => void members.push(`"${key}":${formatGoJson(value)}`);
  put("LSN", sentinel.startLsn);
  if (delta !== null) {
    put("DeltaLSN", delta.lsn);
    put("DeltaFrom", delta.from);
    put("DeltaFullName", delta.fullName);
    put("DeltaCount", delta.count);
  }
  put("PgVersion", sentinel.pgVersion);
  put("FinishLSN", sentinel.finishLsn);
  if (sentinel.systemIdentifier !== null) put("SystemIdentifier", sentinel.systemIdentifier);
  put("UncompressedSize", sentinel.uncompressedBytes);
  put("CompressedSize", sentinel.compressedBytes);
  if (sentinel.dataCatalogBytes !== 0) put("DataCatalogSize", sentinel.dataCatalogBytes);
  if (sentinel.spec !== null) members.push(`"Spec":${formatSpec(sentinel.spec)}`);
  if (sentinel.userData !== null) put("UserData", sentinel.userData);
  if (sentinel.hasNoFilesMetadata) put("FilesMetadataDisabled", true);
  put("ChkpNum", null);
  put("Version", 2);
  put("StartTime", formatInstant(sentinel.startTime ?? 0n));
  put("FinishTime", formatInstant(sentinel.finishTime ?? 0n));
  put("DateFmt", DATE_FORMAT);
  put("Hostname", sentinel.hostname);
  put("DataDir", sentinel.dataDirectory);
  put("IsPermanent", sentinel.isPermanent);
  return `{${members.join(",")}}`;
}

/** The members of a JSON object under lower-case keys, as Go matches them. */
export function fieldsOf(text: string, object: string): Map<string, Json> {
  let parsed: Json;
  try {
    parsed = parseLossless(text);
  } catch (error) {
    throw new BackupFormatError(object, "not JSON", { cause: messageOf(error) });
  }
  if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed))
    throw new BackupFormatError(object, "not a JSON object");
  return new Map(Object.entries(parsed).map(([key, value]) => [key.toLowerCase(), value]));
}

/** Typed access to a JSON object's members; a member of the wrong type is an error that names it. */
export class FieldReader {
  readonly #fields: ReadonlyMap<string, Json>;
  readonly #object: string;

  constructor(fields: ReadonlyMap<string, Json>, object: string) {
    this.#fields = fields;
    this.#object = object;
  }

  uint64(key: string): bigint | null {
    const value = this.#get(key);
    if (value === null) return null;
    const number = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
    if (typeof number !== "bigint" || number < 0n || number >= 1n << 64n) return this.#refuse(key, value);
    return number;
  }

  lsn(key: string): Lsn | null {
    const value = this.uint64(key);
    return value === null ? null : lsnOf(value);
  }

  /** 0 when absent. */
  integer(key: string): number {
    const value = this.#get(key);
    if (value === null) return 0;
    return typeof value === "number" && Number.isSafeInteger(value) ? value : this.#refuse(key, value);
  }

  text(key: string): string {
    const value = this.#get(key) ?? "";
    return typeof value === "string" ? value : this.#refuse(key, value);
  }

  flag(key: string): boolean {
    const value = this.#get(key) ?? false;
    return typeof value === "boolean" ? value : this.#refuse(key, value);
  }

  instant(key: string): Nanoseconds | null {
    const text = this.text(key);
    return text === "" ? null : (parseInstant(text) ?? this.#refuse(key, text));
  }

  #get(key: string): Json {
    return this.#fields.get(key.toLowerCase()) ?? null;
  }

  #refuse(key: string, value: Json): never {
    const shown = typeof value === "object" ? "a value of another type" : `"${String(value).slice(0, 60)}"`;
    throw new BackupFormatError(this.#object, `"${key}" is ${shown}`);
  }
}

/** `DeltaFromLSN` is the name that old releases used for `DeltaLSN`. */
function deltaOf(read: FieldReader, fields: ReadonlyMap<string, Json>): DeltaOrigin | null {
  if ((fields.get("deltafrom") ?? null) === null) return null;
  const lsn = read.lsn("DeltaLSN") ?? read.lsn("DeltaFromLSN");
  return {
    lsn: lsn ?? lsnOf(0n),
    from: read.text("DeltaFrom"),
    fullName: read.text("DeltaFullName"),
    count: read.integer("DeltaCount"),
  };
}
