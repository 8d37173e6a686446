// A look into the store for status and metrics: backups, segments, gaps, the window. Asked only when something may have changed.

import type { ArchiveSource } from "../archive/archive-source.ts";
import { continuousFrom, segmentRuns, SegmentSet } from "../archive/gaps.ts";
import { listWal } from "../archive/wal-catalog.ts";
import { listBackups, readSentinel } from "../backup/catalog.ts";
import type { Sentinel } from "../backup/sentinel.ts";
import { readArchive } from "../recovery/read-archive.ts";
import type { Segment } from "../wal/segment-name.ts";
import { segmentAt, segmentName } from "../wal/segment-name.ts";
import { lastStep } from "../wal/timeline-path.ts";
import type { ArchiveView, BackupView } from "./node-view.ts";

/** Reads what the store holds on the winner's path. Throws StoreError and the log's errors. */
export async function lookAtArchive(
  source: ArchiveSource,
  nowMs: number,
  signal: AbortSignal,
): Promise<ArchiveView> {
  const { window } = await readArchive(source, "latest", signal);
  const { segmentBytes } = source;
  const segments: Segment[] = [];
  for await (const { meaning } of listWal(source.store, segmentBytes, signal))
    if (meaning.kind === "segment") segments.push(meaning.segment);
  const { timeline } = lastStep(window.wal.path);
  const present = new SegmentSet(segments);
  const newest = segmentRuns(segments.filter((segment) => segment.timeline === timeline)).at(-1);
  const usable = window.reaches.filter((reach) => reach.usable);
  const oldest = usable[0]?.backup;
  const between = window.missing.reduce((sum, run) => sum + Number(run.last - run.first + 1n), 0);
  return {
    lookedAtMs: nowMs,
    backups: await backupStarts(source, signal),
    lastBackup: await lastBackup(source, signal),
    totalSegments: present.size,
    continuousSegments:
      newest === undefined
        ? 0
        : continuousFrom({ timeline, number: newest.first }, (segment) => present.has(segment)),
    validBackups: usable.filter((reach) => reach.stoppedBy === null).length,
    missingBetweenBackups: between,
    window:
      oldest === undefined || oldest.finishedUs === null
        ? null
        : {
            fromMs: Number(oldest.finishedUs / 1000n),
            toMs: Math.max(
              Number((window.wal.newestCommitUs ?? 0n) / 1000n),
              Number(oldest.finishedUs / 1000n),
            ),
          },
  };
}

async function backupStarts(source: ArchiveSource, signal: AbortSignal): Promise<ArchiveView["backups"]> {
  const starts: ArchiveView["backups"][number][] = [];
  for (const { name } of await listBackups(source.store, signal)) {
    const sentinel = await readSentinel(source.store, name, signal).catch(() => null);
    if (sentinel?.startLsn == null || sentinel.startTime === null) continue;
    const timeline = Number.parseInt(name.slice("base_".length, "base_".length + 8), 16);
    const segment = segmentAt(timeline, sentinel.startLsn, source.segmentBytes);
    starts.push({
      startSegment: segmentName(segment, source.segmentBytes),
      startLsn: sentinel.startLsn,
      startedMs: Number(sentinel.startTime / 1_000_000n),
    });
  }
  return starts;
}

async function lastBackup(source: ArchiveSource, signal: AbortSignal): Promise<BackupView | null> {
  const newest = (await listBackups(source.store, signal)).at(-1);
  if (newest === undefined) return null;
  const sentinel = await readSentinel(source.store, newest.name, signal);
  return viewOf(newest.name, sentinel, newest.modifiedMs);
}

function viewOf(name: string, sentinel: Sentinel, modifiedMs: number): BackupView {
  const { startTime, finishTime, compressedBytes, uncompressedBytes } = sentinel;
  const finishedMs = finishTime === null ? modifiedMs : Number(finishTime / 1_000_000n);
  const startedMs = startTime === null ? finishedMs : Number(startTime / 1_000_000n);
  return {
    name,
    finishedMs,
    durationSeconds: (finishedMs - startedMs) / 1000,
    compressedBytes,
    uncompressedBytes,
  };
}
