// What pg_controldata prints, against what parseControlFile reads.

import assert from "node:assert/strict";
import type { ControlFile } from "../../src/postgres/control-file.ts";
import { formatLsn } from "../../src/wal/lsn.ts";

/** Every line of pg_controldata that we decode must say the same. */
export function assertSameAsControldata(control: ControlFile, printed: string): void {
  const told = new Map(
    printed
      .split("\n")
      .filter((line) => line.includes(":"))
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()] as const),
  );
  const yes = (value: boolean): string => (value ? "yes" : "no");
  const onOff = (value: boolean): string => (value ? "on" : "off");
  const expected: Readonly<Record<string, string>> = {
    "pg_control version number": String(control.controlVersion),
    "Catalog version number": String(control.catalogVersion),
    "Database system identifier": String(control.systemId),
    "Database cluster state": control.state,
    "Latest checkpoint location": formatLsn(control.checkpoint),
    "Latest checkpoint's REDO location": formatLsn(control.redo),
    "Latest checkpoint's TimeLineID": String(control.timeline),
    "Latest checkpoint's PrevTimeLineID": String(control.previousTimeline),
    "Latest checkpoint's full_page_writes": onOff(control.fullPageWrites),
    "Minimum recovery ending location": formatLsn(control.minRecoveryPoint),
    "Min recovery ending loc's timeline": String(control.minRecoveryTimeline),
    "Backup start location": formatLsn(control.backupStart),
    "Backup end location": formatLsn(control.backupEnd),
    "End-of-backup record required": yes(control.backupEndRequired),
    "wal_level setting": control.walLevel,
    "wal_log_hints setting": onOff(control.walLogHints),
    "max_connections setting": String(control.recoverySettings.maxConnections),
    "max_worker_processes setting": String(control.recoverySettings.maxWorkerProcesses),
    "max_wal_senders setting": String(control.recoverySettings.maxWalSenders),
    "max_prepared_xacts setting": String(control.recoverySettings.maxPreparedTransactions),
    "max_locks_per_xact setting": String(control.recoverySettings.maxLocksPerTransaction),
    "track_commit_timestamp setting": onOff(control.recoverySettings.trackCommitTimestamp),
    "Database block size": String(control.blockBytes),
    "Blocks per segment of large relation": String(control.relationSegmentBlocks),
    "WAL block size": String(control.walBlockBytes),
    "Bytes per WAL segment": String(control.segmentBytes),
    "Data page checksum version": String(control.checksumVersion),
  };
  const seen = Object.fromEntries(Object.keys(expected).map((key) => [key, told.get(key)]));
  assert.deepEqual(seen, expected);
  const modified = told.get("pg_control last modified") ?? "";
  assert.equal(control.modifiedMs, Date.parse(`${modified} UTC`), modified);
  const checkpoint = told.get("Time of latest checkpoint") ?? "";
  assert.equal(control.checkpointAtMs, Date.parse(`${checkpoint} UTC`), checkpoint);
}
