// Reads what a plan needs to know of an archive: the log, the path, the segments, the backups, where the end is.

import { type ArchiveSource, pathTo, readSourceLog } from "../archive/archive-source.ts";
import { SegmentSet } from "../archive/gaps.ts";
import { PathReader } from "../archive/path-reader.ts";
import { listWal } from "../archive/wal-catalog.ts";
import { messageOf } from "../base/errors.ts";
import { placeIn } from "../backup/backup-facts.ts";
import { listBackups, readSentinel } from "../backup/catalog.ts";
import type { Sentinel } from "../backup/sentinel.ts";
import type { LogView } from "../tail/read.ts";
import { type Lsn, lsnOf, maxLsn, minLsn, ZERO_LSN } from "../wal/lsn.ts";
import { type Segment, segmentEnd, segmentFloor, segmentName, segmentStart } from "../wal/segment-name.ts";
import { lastStep, leftAt, samePath, type TimelinePath } from "../wal/timeline-path.ts";
import { lastRecordBelow, locateTarget, newestCommitBelow } from "./scan-wal.ts";
import type { Microseconds, RestoreRequest } from "./target.ts";
import type { ForkFacts, LocatedTarget, PlanFacts } from "./plan.ts";
import { type BackupPoint, liesOnPath, recoveryWindow, type RecoveryWindow } from "./window.ts";

/** An archive as of one reading of its log. */
export interface ArchiveFacts {
  readonly source: ArchiveSource;
  readonly view: LogView | null;
  readonly reader: PathReader;
  /** True when the path is T*'s, or the newest one of an archive without a log. */
  readonly isWinners: boolean;
  readonly window: RecoveryWindow;
}

/** Reads the archive along the path to a timeline. `without`: names of backups that were found to be damaged. */
export async function readArchive(
  source: ArchiveSource,
  timeline: RestoreRequest["timeline"],
  signal: AbortSignal,
  without: ReadonlySet<string> = new Set(),
): Promise<ArchiveFacts> {
  const view = await readSourceLog(source, signal);
  const path = await pathTo(timeline, view, source, signal);
  const winners = timeline === "latest" ? path : await pathTo("latest", view, source, signal);
  const isWinners = samePath(path, winners);
  const backups = (await readBackups(source, signal)).filter(({ name }) => !without.has(name));
  const onPath = backups.filter((backup) => liesOnPath(backup, path));
  const floor = onPath.reduce<Lsn | null>(
    (least, { start }) => (least === null || start < least ? start : least),
    null,
  );
  const { stored, last } = await storedOnPath(source, path, floor ?? ZERO_LSN, signal);
  const reader = new PathReader(source, view, path);
  const held = await heldEnd(reader, isWinners ? (view?.tip?.end ?? null) : null, last, signal);
  const recordEnd =
    floor === null || held.end <= floor
      ? null
      : await reader.recordEnd(held.end, floor, signal).catch(() => null);
  const newestCommitUs =
    commitInSlots(view, isWinners) ??
    (floor === null ? null : await newestCommitBelow(reader, held.end, floor, signal).catch(() => null));
  const window = recoveryWindow(onPath, {
    segmentBytes: source.segmentBytes,
    path,
    isStored: (segment) => stored.has(segment),
    log: held.from === null ? null : { from: held.from, end: held.end },
    end: held.end,
    recordEnd: recordEnd?.at ?? null,
    newestCommitUs,
  });
  return { source, view, reader, isWinners, window };
}

/** What planRestore wants besides: the records of xid and name, and the commits in front of missing segments. */
export async function readPlanFacts(
  archive: ArchiveFacts,
  request: RestoreRequest,
  nowUs: Microseconds,
  signal: AbortSignal,
): Promise<PlanFacts> {
  const { window, reader, isWinners } = archive;
  const commitsAtStops = new Map<Lsn, Microseconds>();
  for (const { backup, end, stoppedBy, usable } of window.reaches) {
    if (stoppedBy === null || !usable || commitsAtStops.has(end) || request.target.kind !== "time") continue;
    const commit = await newestCommitBelow(reader, end, backup.start, signal);
    if (commit !== null) commitsAtStops.set(end, commit);
  }
  const forks = await readForks(archive, signal);
  return { window, isWinners, nowUs, forks, commitsAtStops, located: await locate(archive, request, signal) };
}

/** The forks of the path above the oldest usable backup; there are few. */
async function readForks({ window, reader }: ArchiveFacts, signal: AbortSignal): Promise<ForkFacts[]> {
  const floor = window.reaches.find(({ usable }) => usable)?.backup.start ?? null;
  const forks: ForkFacts[] = [];
  for (const { timeline } of window.wal.path) {
    const at = leftAt(window.wal.path, timeline);
    if (floor === null || at === null || at <= floor) continue;
    const newestCommitUs = await newestCommitBelow(reader, at, floor, signal).catch(() => null);
    const lastRecord = await lastRecordBelow(reader, at, floor, signal).catch(() => null);
    forks.push({ timeline, at, newestCommitUs, lastRecord });
  }
  return forks;
}

async function locate(
  { window, reader, source }: ArchiveFacts,
  { target, backup }: RestoreRequest,
  signal: AbortSignal,
): Promise<LocatedTarget | null> {
  if (target.kind !== "xid" && target.kind !== "name") return null;
  const named = backup.toUpperCase() === "LATEST" ? null : backup;
  const reaches = window.reaches.filter(
    (reach) => reach.usable && (named === null || reach.backup.name === named),
  );
  let at: Lsn | null = null;
  let doneTo = ZERO_LSN;
  for (const { backup: from, end } of reaches) {
    if (end <= doneTo) continue;
    source.log.info("reading the WAL to find the target", { from: from.name, target: target.kind });
    at = (await locateTarget(reader, maxLsn(from.start, doneTo), end, target, signal)) ?? at;
    doneTo = end;
    if (at !== null && target.kind === "xid") break;
  }
  return at === null ? null : { at };
}

/** Every complete backup that tells where it starts and ends; one that cannot be read is named in the log and left out. */
export async function readBackups(source: ArchiveSource, signal: AbortSignal): Promise<BackupPoint[]> {
  const sentinels = new Map<string, Sentinel>();
  for (const { name } of await listBackups(source.store, signal)) {
    try {
      sentinels.set(name, await readSentinel(source.store, name, signal));
    } catch (error) {
      signal.throwIfAborted();
      source.log.warn("a backup is left out: its sentinel cannot be read", {
        backup: name,
        because: messageOf(error),
      });
    }
  }
  const points: BackupPoint[] = [];
  for (const [name, sentinel] of sentinels) {
    const point = pointOf(name, sentinel, sentinels, source.segmentBytes);
    if (point === null)
      source.log.warn("a backup is left out: its chain or its positions are not known", { backup: name });
    else points.push(point);
  }
  return points;
}

function pointOf(
  name: string,
  sentinel: Sentinel,
  all: ReadonlyMap<string, Sentinel>,
  segmentBytes: number,
): BackupPoint | null {
  const place = placeIn(name, segmentBytes);
  const { startLsn: start, finishLsn: finish, finishTime } = sentinel;
  if (place === null || start === null || finish === null) return null;
  let storedBytes = 0;
  let link: Sentinel | undefined = sentinel;
  for (let depth = 0; link !== undefined && depth <= all.size; depth += 1) {
    storedBytes += link.compressedBytes;
    if (link.delta === null) {
      return {
        name,
        timeline: place.timeline,
        start,
        finish,
        finishedUs: finishTime === null ? null : finishTime / 1000n,
        storedBytes,
        restoredBytes: sentinel.uncompressedBytes,
      };
    }
    link = all.get(link.delta.from);
  }
  return null;
}

/** Complete segments of the path from `floor` on, and the last of them on the path. */
async function storedOnPath(
  source: ArchiveSource,
  path: TimelinePath,
  floor: Lsn,
  signal: AbortSignal,
): Promise<{ readonly stored: SegmentSet; readonly last: Segment | null }> {
  const { segmentBytes } = source;
  const stored = new SegmentSet();
  let last: Segment | null = null;
  for (const { timeline } of path) {
    const left = leftAt(path, timeline);
    if (left !== null && left <= floor) continue;
    const from = segmentName({ timeline, number: floor / BigInt(segmentBytes) }, segmentBytes);
    const options = { prefix: from.slice(0, 8), after: from.slice(0, 23) };
    for await (const { meaning } of listWal(source.store, segmentBytes, signal, options)) {
      if (meaning.kind !== "segment") continue;
      const { segment } = meaning;
      stored.add(segment);
      const isOnPath = left === null || segmentStart(segment, segmentBytes) < left;
      if (isOnPath && (last === null || segment.number >= last.number)) last = segment;
    }
  }
  return { stored, last };
}

/** End of what is there on the path: the log's End, or behind the last segment and an open one after it. `from`: what only the log holds. */
async function heldEnd(
  reader: PathReader,
  logEnd: Lsn | null,
  last: Segment | null,
  signal: AbortSignal,
): Promise<{ readonly from: Lsn | null; readonly end: Lsn }> {
  const { segmentBytes } = reader.source;
  const path = reader.path;
  const tip = reader.view?.tip ?? null;
  if (logEnd !== null && tip !== null) return { from: tip.published, end: logEnd };
  const left = last === null ? null : leftAt(path, last.timeline);
  let end = last === null ? lastStep(path).begin : minLsn(segmentEnd(last, segmentBytes), left ?? LAST_LSN);
  let from: Lsn | null = null;
  for (;;) {
    const next = reader.segmentFor(end);
    const found = await reader.segment(next, signal);
    if (found.kind === "absent") return { from, end };
    from ??= segmentFloor(end, segmentBytes);
    const start = segmentStart(next, segmentBytes);
    if (found.kind === "partial") return { from, end: maxLsn(end, lsnOf(start + BigInt(found.filled))) };
    end = segmentEnd(next, segmentBytes);
  }
}

function commitInSlots(view: LogView | null, isWinners: boolean): Microseconds | null {
  if (view === null || !isWinners) return null;
  let newest: number | null = null;
  for (const { header } of view.slots) {
    if (header.kind === "data" && header.newestCommit !== null)
      newest = Math.max(newest ?? 0, header.newestCommit);
  }
  return newest === null ? null : BigInt(newest) * 1000n;
}

const LAST_LSN = lsnOf((1n << 64n) - 1n);
