// Names of backups and of the objects that belong to one.

import type { Lsn } from "../wal/lsn.ts";
import { type TimelineId, segmentAt, segmentName } from "../wal/segment-name.ts";

/** The folder of ordinary backups; catchup backups have the same layout under CATCHUP_FOLDER. */
export const BACKUP_FOLDER = "basebackups_005";
export const CATCHUP_FOLDER = "catchup_005";
export const SENTINEL_SUFFIX = "_backup_stop_sentinel.json";

/**
 * Name of a new backup. On a standby `startLsn` minus one names the segment, as pg_walfile_name_offset
 * cannot be asked there (storage format, section 2).
 */
export function backupNameFor(start: BackupStart): string {
  const lsn = start.isStandby ? ((start.lsn - 1n) as Lsn) : start.lsn;
  const full = `base_${segmentName(segmentAt(start.timeline, lsn, start.segmentBytes), start.segmentBytes)}`;
  return start.parentName === null ? full : `${full}_D_${walPartOf(start.parentName)}`;
}

export interface BackupStart {
  readonly timeline: TimelineId;
  readonly lsn: Lsn;
  readonly segmentBytes: number;
  readonly isStandby: boolean;
  /** Name of the backup that a delta is taken from. */
  readonly parentName: string | null;
}

/** The first run of 24 upper-case hex digits, or 24 × `Z`, as WAL-G shows it in `wal_file_name`. */
export function walPartOf(name: string): string {
  return /[0-9A-F]{24}/.exec(name)?.[0] ?? "Z".repeat(24);
}

export const sentinelKey = (name: string, folder = BACKUP_FOLDER): string =>
  `${folder}/${name}${SENTINEL_SUFFIX}`;
export const metadataKey = (name: string, folder = BACKUP_FOLDER): string =>
  `${folder}/${name}/metadata.json`;
export const filesMetadataKey = (name: string, folder = BACKUP_FOLDER): string =>
  `${folder}/${name}/files_metadata.json`;
/** Beside `tar_partitions/`, where WAL-G ignores it and deletes it with its backup. */
export const manifestKey = (name: string, folder = BACKUP_FOLDER): string =>
  `${folder}/${name}/holdfast_manifest.json`;
export const partsPrefix = (name: string, folder = BACKUP_FOLDER): string =>
  `${folder}/${name}/tar_partitions/`;
/** Everything of a backup but its sentinel. */
export const backupPrefix = (name: string, folder = BACKUP_FOLDER): string => `${folder}/${name}/`;
