// A node as its supervisor sees it, with the changes that a test names.

import type { StreamerStatus } from "../../src/archive/streamer-status.ts";
import type { NodeView } from "../../src/supervisor/node-view.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

export const streaming = (change: Partial<StreamerStatus> = {}): StreamerStatus => ({
  phase: "streaming",
  because: "WAL arrives",
  timeline: 1,
  epoch: 0,
  durable: parseLsn("0/3000000"),
  received: parseLsn("0/3000000"),
  serverEnd: parseLsn("0/3000000"),
  lagBytes: 0,
  lagSeconds: 0,
  heldBytes: 0,
  nextSeq: 17,
  liveSlots: 1,
  slotsPut: 1,
  segmentsPublished: 2,
  segmentsOwed: 0,
  lastSettledMs: 1_700_000_000_000,
  newestCommitMs: null,
  store: null,
  connection: null,
  slotWalStatus: "reserved",
  alarms: [],
  ...change,
});

/** A primary in good health; `change` says what differs. */
export const nodeView = (change: Partial<NodeView> = {}): NodeView => ({
  atMs: 1_700_000_100_000,
  node: "n1",
  version: "0.1.0",
  phase: "running",
  because: "the log was taken over",
  sinceMs: 1_700_000_000_000,
  role: "primary",
  timeline: 1,
  systemId: "7443118811117711",
  doorsOpen: true,
  postgresUp: true,
  postgresStarts: 1,
  durability: "async",
  store: { name: "s3://bucket/prefix", fencing: true, isOnVolume: false, trouble: null },
  streamer: streaming(),
  slotRetainedBytes: 0,
  slotBehind: null,
  readySegments: 0,
  nextToArchive: null,
  member: null,
  archive: {
    lookedAtMs: 1_700_000_000_000,
    backups: [
      {
        startSegment: "000000010000000000000002",
        startLsn: parseLsn("0/2000028"),
        startedMs: 1_699_999_000_000,
      },
    ],
    lastBackup: {
      name: "base_000000010000000000000002",
      finishedMs: 1_700_000_000_000,
      durationSeconds: 2,
      compressedBytes: 3_000_000,
      uncompressedBytes: 24_000_000,
    },
    totalSegments: 2,
    continuousSegments: 2,
    validBackups: 1,
    missingBetweenBackups: 0,
    window: { fromMs: 1_699_999_000_000, toMs: 1_700_000_000_000 },
  },
  schedule: { nextBackupMs: null, running: null, trouble: null },
  progress: null,
  disk: { totalBytes: 10e9, freeBytes: 6e9, readOnlyBytes: 5e8, pressure: "none" },
  children: [{ name: "haproxy", pid: 12, restarts: 0 }],
  ...change,
});
