// Decodes global/pg_control of Postgres 13 to 18 on little-endian machines. src/include/catalog/pg_control.h: ControlFileData, CheckPoint.

import { AppError } from "../base/errors.ts";
import { crc32c } from "../base/crc32c.ts";
import { type Lsn, lsnOf } from "../wal/lsn.ts";
import { isSegmentSize, type TimelineId } from "../wal/segment-name.ts";

/** `pg_controldata`'s "Database cluster state". */
type ClusterState =
  | "starting up"
  | "shut down"
  | "shut down in recovery"
  | "shutting down"
  | "in crash recovery"
  | "in archive recovery"
  | "in production";

/** Settings that a standby or a restore must not have smaller than the server that wrote the WAL. */
export interface RecoverySettings {
  readonly maxConnections: number;
  readonly maxWorkerProcesses: number;
  readonly maxWalSenders: number;
  readonly maxPreparedTransactions: number;
  readonly maxLocksPerTransaction: number;
  readonly trackCommitTimestamp: boolean;
}

export interface ControlFile {
  readonly systemId: bigint;
  /** 1300 for 13 to 16, then 1700, 1800. */
  readonly controlVersion: number;
  readonly catalogVersion: number;
  readonly state: ClusterState;
  readonly modifiedMs: number;
  readonly checkpoint: Lsn;
  readonly redo: Lsn;
  readonly timeline: TimelineId;
  readonly previousTimeline: TimelineId;
  readonly checkpointAtMs: number;
  readonly fullPageWrites: boolean;
  /** Recovery must reach this before the data is consistent; zero on a primary. */
  readonly minRecoveryPoint: Lsn;
  readonly minRecoveryTimeline: TimelineId;
  /** Not zero while a base backup is being recovered. */
  readonly backupStart: Lsn;
  readonly backupEnd: Lsn;
  readonly backupEndRequired: boolean;
  readonly walLevel: "minimal" | "replica" | "logical";
  readonly walLogHints: boolean;
  readonly recoverySettings: RecoverySettings;
  readonly blockBytes: number;
  readonly relationSegmentBlocks: number;
  readonly walBlockBytes: number;
  readonly segmentBytes: number;
  /** 0: pages carry no checksum. */
  readonly checksumVersion: number;
}

/** Decodes the file's bytes. Throws ControlFileError when it is short, damaged (also by a torn read: read again), or of an unknown version. */
export function parseControlFile(bytes: Uint8Array): ControlFile {
  if (bytes.byteLength < LEAST_BYTES) {
    throw new ControlFileError(`pg_control holds ${bytes.byteLength} bytes, not at least ${LEAST_BYTES}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = (at: number): number => view.getUint32(at, true);
  const bool = (at: number): boolean => bytes[at] !== 0;
  const lsn = (at: number): Lsn => lsnOf(view.getBigUint64(at, true));
  const timeMs = (at: number): number => Number(view.getBigInt64(at, true)) * 1000;
  const controlVersion = u32(8);
  const crcAt = CRC_OFFSET[controlVersion];
  if (crcAt === undefined) {
    throw new ControlFileError(
      `pg_control has version ${controlVersion}; known are ${Object.keys(CRC_OFFSET).join(", ")}`,
    );
  }
  const computed = crc32c(bytes.subarray(0, crcAt));
  if (computed !== u32(crcAt)) {
    throw new ControlFileError(
      `pg_control is damaged: its CRC is ${hex(u32(crcAt))}, its bytes give ${hex(computed)}`,
    );
  }
  const control: ControlFile = {
    systemId: view.getBigUint64(0, true),
    controlVersion,
    catalogVersion: u32(12),
    state: named(STATES, u32(16), "state"),
    modifiedMs: timeMs(24),
    checkpoint: lsn(32),
    redo: lsn(40),
    timeline: u32(48),
    previousTimeline: u32(52),
    fullPageWrites: bool(56),
    checkpointAtMs: timeMs(104),
    minRecoveryPoint: lsn(136),
    minRecoveryTimeline: u32(144),
    backupStart: lsn(152),
    backupEnd: lsn(160),
    backupEndRequired: bool(168),
    walLevel: named(WAL_LEVELS, u32(172), "wal_level"),
    walLogHints: bool(176),
    recoverySettings: {
      maxConnections: u32(180),
      maxWorkerProcesses: u32(184),
      maxWalSenders: u32(188),
      maxPreparedTransactions: u32(192),
      maxLocksPerTransaction: u32(196),
      trackCommitTimestamp: bool(200),
    },
    blockBytes: u32(216),
    relationSegmentBlocks: u32(220),
    walBlockBytes: u32(224),
    segmentBytes: u32(228),
    checksumVersion: u32(252),
  };
  if (!isSegmentSize(control.segmentBytes)) {
    throw new ControlFileError(`pg_control names a WAL segment size of ${control.segmentBytes} bytes`);
  }
  return control;
}

export class ControlFileError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, {
      code: "CONTROL_FILE",
      hint: "compare with `pg_controldata $PGDATA`; a restore from the archive brings a sound one",
      cause,
    });
  }
}

function named<T extends string>(names: readonly T[], value: number, what: string): T {
  const name = names[value];
  if (name === undefined) throw new ControlFileError(`pg_control has an unknown ${what}: ${value}`);
  return name;
}

const hex = (value: number): string => value.toString(16).padStart(8, "0");

// DBState, in its order.
const STATES: readonly ClusterState[] = [
  "starting up",
  "shut down",
  "shut down in recovery",
  "shutting down",
  "in crash recovery",
  "in archive recovery",
  "in production",
];
const WAL_LEVELS = ["minimal", "replica", "logical"] as const;

/** Where the CRC stands: 18 put one byte (and its padding) in front of the nonce. */
const CRC_OFFSET: Readonly<Record<number, number>> = { 1300: 288, 1700: 288, 1800: 292 };
const LEAST_BYTES = 296;
