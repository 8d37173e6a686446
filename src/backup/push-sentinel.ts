// The sentinel of a backup that was pushed just now.

import type { Json } from "../base/lossless-json.ts";
import type { BackupStop } from "../postgres/backup-session.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { Nanoseconds } from "./go-json.ts";
import type { ManifestPart } from "./manifest.ts";
import type { DeltaOrigin, Sentinel } from "./sentinel.ts";
import type { Tablespace } from "./tablespace-spec.ts";

export interface PushedFacts {
  readonly settings: {
    readonly userData: Json;
    readonly hasFilesMetadata: boolean;
    readonly hostname: string;
    readonly isPermanent: boolean;
  };
  readonly server: {
    readonly versionNumber: number;
    readonly systemIdentifier: bigint;
    readonly dataDirectory: string;
  };
  readonly start: Lsn;
  readonly stop: BackupStop;
  readonly delta: DeltaOrigin | null;
  readonly parts: readonly ManifestPart[];
  /** Data of all members but backup_label and tablespace_map. */
  readonly memberBytes: number;
  readonly catalogBytes: number;
  readonly tablespaces: readonly Tablespace[];
  readonly startTime: Nanoseconds;
  readonly finishTime: Nanoseconds;
}

/** Storage format, section 3. */
export function sentinelOfPush(facts: PushedFacts): Sentinel {
  const { settings, server, start, stop, delta, parts, memberBytes, tablespaces } = facts;
  const labelBytes = Buffer.byteLength(stop.label) + Buffer.byteLength(stop.tablespaceMap);
  return {
    startLsn: start,
    finishLsn: stop.stop,
    delta,
    pgVersion: server.versionNumber,
    systemIdentifier: server.systemIdentifier,
    uncompressedBytes: memberBytes + labelBytes,
    compressedBytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    dataCatalogBytes: facts.catalogBytes,
    spec: tablespaces.length === 0 ? null : { basePrefix: server.dataDirectory, tablespaces },
    userData: settings.userData,
    hasNoFilesMetadata: !settings.hasFilesMetadata,
    version: 2,
    startTime: facts.startTime,
    finishTime: facts.finishTime,
    hostname: settings.hostname,
    dataDirectory: server.dataDirectory,
    isPermanent: settings.isPermanent,
    embeddedFiles: null,
  };
}
