// Measurements for Prometheus: WAL-G's figures under the names of camptocamp's exporter, and ours. The only door to prom-client.

import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Lsn } from "../wal/lsn.ts";
import { takesNoWrites } from "./disk-pressure.ts";
import type { NodeView } from "./node-view.ts";

export interface Metrics {
  /** The text for `/metrics`, of this moment. */
  render(): Promise<string>;
  readonly contentType: string;
}

/** Gauges are filled from `view` at every scrape; nothing is kept between scrapes. */
export function makeMetrics(view: () => NodeView): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauges = GAUGES.map(({ name, help, read }) => {
    const gauge = new Gauge({ name, help, registers: [registry] });
    return (sample: NodeView): void => {
      const value = read(sample);
      if (value === null) gauge.remove();
      else gauge.set(value);
    };
  });
  const labelled = LABELLED.map(({ name, help, labels, read }) => {
    const gauge = new Gauge({ name, help, labelNames: labels, registers: [registry] });
    return (sample: NodeView): void => {
      gauge.reset();
      for (const { values, value } of read(sample)) gauge.set(values, value);
    };
  });
  return {
    contentType: registry.contentType,
    render: async () => {
      const sample = view();
      for (const fill of [...gauges, ...labelled]) fill(sample);
      return await registry.metrics();
    },
  };
}

interface PlainGauge {
  readonly name: string;
  readonly help: string;
  /** Null: no such value now; the sample is left out. */
  readonly read: (view: NodeView) => number | null;
}

interface LabelledGauge {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly read: (view: NodeView) => readonly { values: Record<string, string>; value: number }[];
}

const bool = (claim: boolean): number => (claim ? 1 : 0);
const seconds = (ms: number | null | undefined): number | null =>
  ms === null || ms === undefined ? null : ms / 1000;
const position = (lsn: Lsn | null | undefined): number | null =>
  lsn === null || lsn === undefined ? null : Number(lsn);

/** 1 base backups, 2 WAL, 4 the store: the sum says what fails. */
function exceptionOf(view: NodeView): number {
  return (
    bool((view.schedule?.trouble ?? null) !== null) +
    2 * bool((view.streamer?.connection ?? null) !== null || (view.streamer?.alarms.length ?? 0) > 0) +
    4 * bool((view.store.trouble ?? view.streamer?.store ?? null) !== null)
  );
}

const GAUGES: readonly PlainGauge[] = [
  // WAL-G's figures, names of camptocamp/wal-g-prometheus-exporter (its spelling kept).
  {
    name: "walg_basebackup_count",
    help: "Base backups in the store",
    read: (view) => view.archive?.backups.length ?? null,
  },
  {
    name: "walg_valid_basebackup_count",
    help: "Base backups from which the newest segment is reached without a gap",
    read: (view) => view.archive?.validBackups ?? null,
  },
  {
    name: "walg_oldest_basebackup",
    help: "Start of the oldest base backup, seconds since 1970",
    read: (view) => seconds(oldest(view)),
  },
  {
    name: "walg_total_remote_wal_count",
    help: "WAL segments in the store",
    read: (view) => view.archive?.totalSegments ?? null,
  },
  {
    name: "walg_continious_wal",
    help: "WAL segments without a gap, counted back from the newest",
    read: (view) => view.archive?.continuousSegments ?? null,
  },
  {
    name: "walg_missing_remote_wal_segment",
    help: "WAL segments missing between base backups",
    read: (view) => view.archive?.missingBetweenBackups ?? null,
  },
  {
    name: "walg_missing_remote_wal_segment_at_end",
    help: "Complete segments that wait for the store",
    read: (view) => view.readySegments,
  },
  {
    name: "walg_exception",
    help: "1 base backups, 2 WAL, 4 store; their sum says what fails",
    read: exceptionOf,
  },
  {
    name: "walg_last_backup_duration",
    help: "Seconds that the last base backup took",
    read: (view) => view.archive?.lastBackup?.durationSeconds ?? null,
  },
  // Ours.
  {
    name: "holdfast_up",
    help: "1 while Postgres accepts connections",
    read: (view) => bool(view.postgresUp),
  },
  {
    name: "holdfast_ready",
    help: "1 while clients are let in",
    read: (view) => bool(view.doorsOpen && view.phase === "running"),
  },
  { name: "holdfast_timeline", help: "Timeline of this node", read: (view) => view.timeline },
  {
    name: "holdfast_postgres_starts",
    help: "Starts of Postgres by this supervisor",
    read: (view) => view.postgresStarts,
  },
  {
    name: "holdfast_fenced",
    help: "1 once a newer fence stands in the log",
    read: (view) => bool(view.phase === "suspect" || view.streamer?.phase === "fenced"),
  },
  {
    name: "holdfast_archive_lag_bytes",
    help: "WAL that Postgres wrote and the store does not hold",
    read: (view) => view.streamer?.lagBytes ?? null,
  },
  {
    name: "holdfast_archive_lag_seconds",
    help: "Age of the oldest WAL that the store does not hold",
    read: (view) => view.streamer?.lagSeconds ?? null,
  },
  {
    name: "holdfast_archive_waiting_seconds",
    help: "Since when the file that Postgres offers now waits for archive_command; 0 while none does",
    read: ({ nextToArchive, atMs }) => (nextToArchive === null ? 0 : (atMs - nextToArchive.sinceMs) / 1000),
  },
  {
    name: "holdfast_tail_durable_lsn",
    help: "Position reported as flushed, in bytes",
    read: (view) => position(view.streamer?.durable),
  },
  {
    name: "holdfast_tail_received_lsn",
    help: "End of the WAL received, in bytes",
    read: (view) => position(view.streamer?.received),
  },
  {
    name: "holdfast_tail_epoch",
    help: "Position of the fence that this node owns",
    read: (view) => view.streamer?.epoch ?? null,
  },
  {
    name: "holdfast_tail_next_slot",
    help: "First free position of the log",
    read: (view) => view.streamer?.nextSeq ?? null,
  },
  {
    name: "holdfast_tail_slots_total",
    help: "Slots put by this streamer",
    read: (view) => view.streamer?.slotsPut ?? null,
  },
  {
    name: "holdfast_tail_held_bytes",
    help: "Bytes in memory that the store does not hold",
    read: (view) => view.streamer?.heldBytes ?? null,
  },
  {
    name: "holdfast_segments_published_total",
    help: "Segments written to wal_005 by this streamer",
    read: (view) => view.streamer?.segmentsPublished ?? null,
  },
  {
    name: "holdfast_segments_owed",
    help: "Complete segments that the log holds and wal_005 lacks",
    read: (view) => view.streamer?.segmentsOwed ?? null,
  },
  {
    name: "holdfast_slot_retained_bytes",
    help: "WAL kept on disk by replication slots",
    read: (view) => view.slotRetainedBytes,
  },
  {
    name: "holdfast_store_failing_seconds",
    help: "Since when the store fails, in seconds; 0 while it works",
    read: (view) => failingSeconds(view),
  },
  { name: "holdfast_backup_age_seconds", help: "Age of the newest base backup", read: (view) => ageOf(view) },
  {
    name: "holdfast_backup_bytes",
    help: "Size of the newest base backup in the store",
    read: (view) => view.archive?.lastBackup?.compressedBytes ?? null,
  },
  {
    name: "holdfast_backup_running",
    help: "1 while a base backup is taken",
    read: (view) => bool((view.schedule?.running ?? null) !== null),
  },
  {
    name: "holdfast_backup_failures",
    help: "Base backups that failed in a row",
    read: (view) => view.schedule?.trouble?.failures ?? 0,
  },
  {
    name: "holdfast_recoverable_from",
    help: "Earliest moment that a restore reaches, seconds since 1970",
    read: (view) => seconds(view.archive?.window?.fromMs),
  },
  {
    name: "holdfast_recoverable_to",
    help: "Latest moment that a restore reaches, seconds since 1970",
    read: (view) => seconds(view.archive?.window?.toMs),
  },
  {
    name: "holdfast_restore_done_bytes",
    help: "Bytes of the running restore that are done",
    read: (view) => view.progress?.doneBytes ?? null,
  },
  {
    name: "holdfast_restore_total_bytes",
    help: "Bytes of the running restore",
    read: (view) => view.progress?.totalBytes ?? null,
  },
  {
    name: "holdfast_restore_eta_seconds",
    help: "Seconds that the running restore still needs",
    read: (view) => view.progress?.etaSeconds ?? null,
  },
  {
    name: "holdfast_disk_free_bytes",
    help: "Free bytes of the volume",
    read: (view) => view.disk?.freeBytes ?? null,
  },
  {
    name: "holdfast_disk_read_only",
    help: "1 while the volume is so full that no writes are taken",
    read: (view) => (view.disk === null ? null : takesNoWrites(view.disk.pressure) ? 1 : 0),
  },
  {
    name: "holdfast_disk_total_bytes",
    help: "Size of the volume",
    read: (view) => view.disk?.totalBytes ?? null,
  },
];

const LABELLED: readonly LabelledGauge[] = [
  {
    name: "walg_basebackup",
    help: "Start of each base backup, seconds since 1970",
    labels: ["start_wal_segment", "start_lsn"],
    read: (view) =>
      (view.archive?.backups ?? []).map(({ startSegment, startLsn, startedMs }) => ({
        values: { start_wal_segment: startSegment, start_lsn: startLsn.toString() },
        value: startedMs / 1000,
      })),
  },
  {
    name: "walg_last_upload",
    help: "Last upload, seconds since 1970",
    labels: ["type"],
    read: (view) => [
      { values: { type: "xlog" }, value: (view.streamer?.lastSettledMs ?? 0) / 1000 },
      { values: { type: "basebackup" }, value: (view.archive?.lastBackup?.finishedMs ?? 0) / 1000 },
    ],
  },
  {
    name: "walg_last_backup_size",
    help: "Bytes of the newest base backup",
    labels: ["compressed"],
    read: (view) => {
      const last = view.archive?.lastBackup ?? null;
      return last === null
        ? []
        : [
            { values: { compressed: "yes" }, value: last.compressedBytes },
            { values: { compressed: "no" }, value: last.uncompressedBytes },
          ];
    },
  },
  {
    name: "holdfast_role",
    help: "1 for the role of this node",
    labels: ["role"],
    read: (view) =>
      ["primary", "standby", "none"].map((role) => ({ values: { role }, value: bool(view.role === role) })),
  },
  {
    name: "holdfast_phase",
    help: "1 for the phase of this node",
    labels: ["phase"],
    read: (view) => [{ values: { phase: view.phase }, value: 1 }],
  },
  {
    name: "holdfast_child_restarts",
    help: "Restarts of the supervisor's children",
    labels: ["child"],
    read: (view) => view.children.map(({ name, restarts }) => ({ values: { child: name }, value: restarts })),
  },
];

function oldest(view: NodeView): number | null {
  const starts = view.archive?.backups.map(({ startedMs }) => startedMs) ?? [];
  return starts.length === 0 ? null : Math.min(...starts);
}

function failingSeconds(view: NodeView): number {
  const trouble = view.store.trouble ?? view.streamer?.store ?? null;
  return trouble === null ? 0 : Math.max(0, (view.atMs - trouble.sinceMs) / 1000);
}

function ageOf(view: NodeView): number | null {
  const last = view.archive?.lastBackup ?? null;
  return last === null ? null : Math.max(0, (view.atMs - last.finishedMs) / 1000);
}
