// What the supervisor knows of its node at one instant: the input of checks, metrics and `holdfast status`. Plain values.

import type { StreamerStatus, Trouble } from "../archive/streamer-status.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import type { Pressure } from "./disk-pressure.ts";

/**
 * `booting`: deciding. `waiting`: something outside is missing. `founding`, `restoring`, `joining`: filling the volume.
 * `starting`: Postgres starts or replays. `running`. `suspect`: fenced, doors closed. `stopping`. `failed`: about to end.
 */
export type NodePhase =
  | "booting"
  | "waiting"
  | "founding"
  | "restoring"
  | "joining"
  | "starting"
  | "running"
  | "suspect"
  | "stopping"
  | "failed";

/** A node that has others: what it is among them. */
export interface MemberView {
  readonly standing: string;
  /** Who leads, if anybody is known to, now in sight or not. */
  readonly primary: string | null;
  /** The primary is in sight and accepts commits. */
  readonly isServed: boolean;
  readonly members: number;
  readonly inSight: number;
  readonly because: string;
}

export interface Progress {
  /** What is being done: `fetching base_00000001…`, `replaying`. */
  readonly what: string;
  readonly doneBytes: number;
  /** Null when the whole is not known. */
  readonly totalBytes: number | null;
  readonly bytesPerSecond: number;
  /** Null when it cannot be told. */
  readonly etaSeconds: number | null;
  readonly lsn: Lsn | null;
}

export interface BackupView {
  readonly name: string;
  readonly finishedMs: number;
  readonly durationSeconds: number;
  readonly compressedBytes: number;
  readonly uncompressedBytes: number;
}

/** What the store holds for restores, as last looked at. */
export interface ArchiveView {
  readonly lookedAtMs: number;
  readonly backups: readonly {
    readonly startSegment: string;
    readonly startLsn: Lsn;
    readonly startedMs: number;
  }[];
  readonly lastBackup: BackupView | null;
  readonly totalSegments: number;
  /** Segments without a gap, counted back from the newest. */
  readonly continuousSegments: number;
  /** Backups from which the newest segment can be reached without a gap. */
  readonly validBackups: number;
  readonly missingBetweenBackups: number;
  /** Earliest and latest moment that a restore can reach; null while nothing can be restored. */
  readonly window: { readonly fromMs: number; readonly toMs: number } | null;
}

export interface ScheduleView {
  readonly nextBackupMs: number | null;
  readonly running: { readonly sinceMs: number; readonly progress: Progress | null } | null;
  readonly trouble: Trouble | null;
}

export interface DiskView {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** With less no writes are taken; null: that is switched off. */
  readonly readOnlyBytes: number | null;
  readonly pressure: Pressure;
}

export interface NodeView {
  readonly atMs: number;
  readonly node: string;
  readonly version: string;
  readonly phase: NodePhase;
  /** The sentence of the last decision. */
  readonly because: string;
  readonly sinceMs: number;
  readonly role: "primary" | "standby" | "none";
  readonly timeline: TimelineId | null;
  readonly systemId: string | null;
  /** Clients are let in. */
  readonly doorsOpen: boolean;
  readonly postgresUp: boolean;
  readonly postgresStarts: number;
  /** Durability mode in force and what it is worth. */
  readonly durability: string;
  readonly store: {
    readonly name: string;
    readonly fencing: boolean;
    /** A folder on the volume itself: it is lost together with the data. */
    readonly isOnVolume: boolean;
    readonly trouble: Trouble | null;
  };
  readonly streamer: StreamerStatus | null;
  readonly slotRetainedBytes: number | null;
  /** The slot that holds it back. */
  readonly slotBehind: string | null;
  /** Segments that archive_command was not yet allowed to let go. */
  readonly readySegments: number;
  /** The file that Postgres offers to archive_command now, and since when it waits; the archiver asks about nothing else meanwhile. */
  readonly nextToArchive: { readonly name: string; readonly sinceMs: number } | null;
  readonly archive: ArchiveView | null;
  readonly schedule: ScheduleView | null;
  readonly progress: Progress | null;
  readonly disk: DiskView | null;
  /** Null on a node that is alone by its settings. */
  readonly member: MemberView | null;
  readonly children: readonly {
    readonly name: string;
    readonly pid: number | null;
    readonly restarts: number;
  }[];
}
