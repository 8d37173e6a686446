// Sentinels for tests: a full backup's, changed where the test says so.

import type { Sentinel } from "../../src/backup/sentinel.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

export function sentinelWith(changes: Partial<Sentinel> = {}): Sentinel {
  return {
    startLsn: parseLsn("0/2000028"),
    finishLsn: parseLsn("0/2000120"),
    delta: null,
    pgVersion: 170_004,
    systemIdentifier: 7_318_349_394_477_056_000n,
    uncompressedBytes: 30_000_000,
    compressedBytes: 4_000_000,
    dataCatalogBytes: 31_000_000,
    spec: null,
    userData: null,
    hasNoFilesMetadata: false,
    version: 2,
    startTime: 1_787_335_355_123_457_000n,
    finishTime: 1_787_335_357_000_000_000n,
    hostname: "db1",
    dataDirectory: "/data/<pg>",
    isPermanent: false,
    embeddedFiles: null,
    ...changes,
  };
}
