// metadata.json of a backup: what lists, marks and deletions read. Storage format, section 4.

import type { Json } from "../base/lossless-json.ts";
import type { Lsn } from "../wal/lsn.ts";
import { type Nanoseconds, formatGoJson, formatInstant } from "./go-json.ts";
import { DATE_FORMAT, FieldReader, type Sentinel, fieldsOf } from "./sentinel.ts";

export interface BackupMetadata {
  readonly startTime: Nanoseconds | null;
  readonly finishTime: Nanoseconds | null;
  readonly hostname: string;
  readonly dataDirectory: string;
  readonly pgVersion: number;
  readonly startLsn: Lsn | null;
  readonly finishLsn: Lsn | null;
  /** Authoritative; rewritten by backup-mark. */
  readonly isPermanent: boolean;
  readonly systemIdentifier: bigint | null;
  readonly uncompressedBytes: number;
  readonly compressedBytes: number;
  readonly userData: Json;
}

/** Throws BackupFormatError. */
export function parseBackupMetadata(text: string, object: string): BackupMetadata {
  const fields = fieldsOf(text, object);
  const read = new FieldReader(fields, object);
  return {
    startTime: read.instant("start_time"),
    finishTime: read.instant("finish_time"),
    hostname: read.text("hostname"),
    dataDirectory: read.text("data_dir"),
    pgVersion: read.integer("pg_version"),
    startLsn: read.lsn("start_lsn"),
    finishLsn: read.lsn("finish_lsn"),
    isPermanent: read.flag("is_permanent"),
    systemIdentifier: read.uint64("system_identifier"),
    uncompressedBytes: read.integer("uncompressed_size"),
    compressedBytes: read.integer("compressed_size"),
    userData: fields.get("user_data") ?? null,
  };
}

/** One line in WAL-G's key order, no newline. */
export function formatBackupMetadata(metadata: BackupMetadata): string {
  return formatGoJson(metadataElement(metadata));
}

/** The fields under WAL-G's names and in its order, for `formatGoJson`. */
export function metadataElement(metadata: BackupMetadata): Record<string, unknown> {
  return {
    start_time: formatInstant(metadata.startTime ?? 0n),
    finish_time: formatInstant(metadata.finishTime ?? 0n),
    date_fmt: DATE_FORMAT,
    hostname: metadata.hostname,
    data_dir: metadata.dataDirectory,
    pg_version: metadata.pgVersion,
    start_lsn: metadata.startLsn ?? 0,
    finish_lsn: metadata.finishLsn ?? 0,
    is_permanent: metadata.isPermanent,
    system_identifier: metadata.systemIdentifier,
    uncompressed_size: metadata.uncompressedBytes,
    compressed_size: metadata.compressedBytes,
    user_data: metadata.userData ?? undefined,
  };
}

/** What metadata.json of a fresh backup says. */
export const metadataOfSentinel = (sentinel: Sentinel): BackupMetadata => ({
  startTime: sentinel.startTime,
  finishTime: sentinel.finishTime,
  hostname: sentinel.hostname,
  dataDirectory: sentinel.dataDirectory,
  pgVersion: sentinel.pgVersion,
  startLsn: sentinel.startLsn,
  finishLsn: sentinel.finishLsn,
  isPermanent: sentinel.isPermanent,
  systemIdentifier: sentinel.systemIdentifier,
  uncompressedBytes: sentinel.uncompressedBytes,
  compressedBytes: sentinel.compressedBytes,
  userData: sentinel.userData,
});
