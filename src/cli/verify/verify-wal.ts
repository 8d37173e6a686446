// Is the WAL of an archive whole? Names and holes first; with content every object is opened and every record is walked.

import type { ArchiveSource } from "../../archive/archive-source.ts";
import { holesBetween, segmentRuns, type SegmentRun } from "../../archive/gaps.ts";
import { type PathReader, SegmentMissingError } from "../../archive/path-reader.ts";
import { listWal, WAL_FOLDER, type WalObject } from "../../archive/wal-catalog.ts";
import { checkHistory, checkSegment, WalFileDamagedError } from "../../archive/wal-file-check.ts";
import { BoundsError } from "../../base/bytes.ts";
import { AppError, messageOf } from "../../base/errors.ts";
import { startOfLabel } from "../../backup/backup-label.ts";
import { sentinelKey } from "../../backup/backup-name.ts";
import type { Finding } from "../../backup/verify-part.ts";
import { open } from "../../codec/seal.ts";
import { type ArchiveFacts, readArchive } from "../../recovery/read-archive.ts";
import { readWhole, StoreError } from "../../storage/object-store.ts";
import { addBytes, bytesBetween, formatLsn, type Lsn, maxLsn, minLsn } from "../../wal/lsn.ts";
import { RecordWalk } from "../../wal/record.ts";
import { HistoryFileError } from "../../wal/timeline-history.ts";
import { type Segment, segmentEnd, segmentName, segmentStart, type WalName } from "../../wal/segment-name.ts";
import { verifyLog } from "./verify-log.ts";

export interface WalReport {
  /** Numbers of the timelines on the winner's path, oldest first. */
  readonly timelines: readonly number[];
  /** First byte that can be replayed from a backup, and the last. */
  readonly from: string | null;
  readonly to: string | null;
  readonly segments: number;
  readonly records: number;
  readonly findings: readonly Finding[];
  readonly facts: ArchiveFacts | null;
  /** Segments that are needed and missing. */
  readonly missing: readonly SegmentRun[];
  /** Missing in wal_005, and the log has their bytes until its next base. */
  readonly onlyInLog: readonly SegmentRun[];
  /** Missing, and no restore along the path reads them. */
  readonly unneeded: readonly SegmentRun[];
  /** Segments of the path that are there and damaged; known with `content` only. */
  readonly damaged: readonly Segment[];
}

/** Checks the winner's path of timelines, and every other object of the archive. Throws StoreError when the store does not answer. */
export async function verifyWal(
  source: ArchiveSource,
  content: boolean,
  signal: AbortSignal,
): Promise<WalReport> {
  const findings: Finding[] = [];
  const objects: WalObject[] = [];
  for await (const object of listWal(source.store, source.segmentBytes, signal)) objects.push(object);
  const facts = await factsOf(source, findings, signal);
  const missing = facts?.window.missing ?? [];
  const { onlyInLog, unneeded } = otherHoles(objects, facts);
  findings.push(
    ...missingFindings(missing, source.segmentBytes),
    ...uselessBackups(facts, source.segmentBytes),
    ...holeFindings(
      onlyInLog,
      "is missing, and only the log has it, until its next base",
      source.segmentBytes,
    ),
    ...holeFindings(unneeded, "is missing; no restore to the newest timeline needs it", source.segmentBytes),
    ...(await verifyLog(facts?.view ?? null, source, signal)),
  );
  const walked =
    facts === null || !content
      ? { records: 0, read: new Set<string>(), damaged: [] }
      : await walkPath(facts, findings, signal);
  if (content) await openOthers(objects, walked.read, source, findings, signal);
  const usable = facts?.window.reaches.filter((reach) => reach.usable) ?? [];
  const end = facts === null ? null : (facts.window.wal.recordEnd ?? facts.window.wal.end);
  return {
    timelines: facts?.reader.path.map(({ timeline }) => timeline) ?? [],
    from: usable[0] === undefined ? null : formatLsn(usable[0].backup.start),
    to: end === null || usable.length === 0 ? null : formatLsn(end),
    segments: objects.filter(({ meaning }) => meaning.kind === "segment").length,
    records: walked.records,
    findings,
    facts,
    missing,
    onlyInLog,
    unneeded,
    damaged: walked.damaged,
  };
}

/** Null when path and log cannot be told; why is a finding then. */
async function factsOf(
  source: ArchiveSource,
  findings: Finding[],
  signal: AbortSignal,
): Promise<ArchiveFacts | null> {
  try {
    return await readArchive(source, "latest", signal);
  } catch (error) {
    signal.throwIfAborted();
    const finding = faultOf(error, error instanceof WalFileDamagedError ? WAL_FOLDER : "tail_v1/");
    if (finding === null) throw error;
    findings.push(finding);
    return null;
  }
}

/** What an object's fault reads as; null for what is no fault of an object: a store that does not answer. */
export function faultOf(error: unknown, object: string): Finding | null {
  if (error instanceof StoreError && error.kind !== "damaged") return null;
  const isFault =
    error instanceof AppError || error instanceof HistoryFileError || error instanceof BoundsError;
  return isFault ? { object, severity: "error", fault: messageOf(error) } : null;
}

function missingFindings(missing: readonly SegmentRun[], segmentBytes: number): readonly Finding[] {
  return missing.map((run) => ({
    object: `${WAL_FOLDER}${rangeText(run, segmentBytes)}`,
    severity: "error",
    fault:
      run.first === run.last
        ? "is missing and needed"
        : `${run.last - run.first + 1n} segments are missing and needed`,
  }));
}

function rangeText(run: SegmentRun, segmentBytes: number): string {
  const name = (number: bigint): string => segmentName({ timeline: run.timeline, number }, segmentBytes);
  return run.first === run.last ? name(run.first) : `${name(run.first)} … ${name(run.last)}`;
}

/** Backups on the path whose own WAL is not whole: they cannot be made consistent. */
function uselessBackups(facts: ArchiveFacts | null, segmentBytes: number): readonly Finding[] {
  const useless = facts?.window.reaches.filter(({ usable }) => !usable) ?? [];
  return useless.map(({ backup, stoppedBy, end }) => ({
    object: sentinelKey(backup.name),
    severity: "error",
    fault:
      stoppedBy === null
        ? `cannot be restored: the WAL ends at ${formatLsn(end)}, before the backup did at ${formatLsn(backup.finish)}`
        : `cannot be restored: segment ${WAL_FOLDER}${segmentName(stoppedBy, segmentBytes)} is missing`,
  }));
}

/** Holes that no replay along the path stops at: filled by the log, on timelines that were left, or before the oldest backup. */
function otherHoles(
  objects: readonly WalObject[],
  facts: ArchiveFacts | null,
): Pick<WalReport, "onlyInLog" | "unneeded"> {
  const missing = facts?.window.missing ?? [];
  const segments = objects.flatMap(({ meaning }) => (meaning.kind === "segment" ? [meaning.segment] : []));
  const isReported = (run: SegmentRun): boolean =>
    missing.some(
      ({ timeline, first, last }) => timeline === run.timeline && first <= run.last && run.first <= last,
    );
  const holes = holesBetween(segmentRuns(segments)).filter((run) => !isReported(run));
  const isInLog = (run: SegmentRun): boolean => facts !== null && holdsRun(facts, run);
  return { onlyInLog: holes.filter(isInLog), unneeded: holes.filter((run) => !isInLog(run)) };
}

/** The stretch of the log has all of it, under this name. */
function holdsRun({ window, source, reader }: ArchiveFacts, { timeline, first, last }: SegmentRun): boolean {
  const { log } = window.wal;
  const { segmentBytes } = source;
  const start = segmentStart({ timeline, number: first }, segmentBytes);
  const end = segmentEnd({ timeline, number: last }, segmentBytes);
  if (log === null || start < log.from || end > log.end) return false;
  return segmentsBetween(reader, start, { timeline, number: last }).every(
    (each) => each.timeline === timeline,
  );
}

function holeFindings(runs: readonly SegmentRun[], fault: string, segmentBytes: number): readonly Finding[] {
  return runs.map((run) => ({
    object: `${WAL_FOLDER}${rangeText(run, segmentBytes)}`,
    severity: "warning",
    fault,
  }));
}

interface Walked {
  readonly records: number;
  /** Names of the segments that were read. */
  readonly read: ReadonlySet<string>;
  /** Segments that do not open, or whose records break off. */
  readonly damaged: readonly Segment[];
}

/** Walks the records from the oldest usable backup to the end, over the segments of the path and the log. */
async function walkPath(facts: ArchiveFacts, findings: Finding[], signal: AbortSignal): Promise<Walked> {
  const { reader, window, source } = facts;
  const { segmentBytes } = source;
  const read = new Set<string>();
  const damaged: Segment[] = [];
  const start = window.reaches.find((reach) => reach.usable)?.backup.start ?? window.reaches[0]?.backup.start;
  if (start === undefined) return { records: 0, read, damaged };
  const end = maxLsn(window.wal.end, start);
  let records = 0;
  const options = { segmentBytes, systemId: source.systemId, onRecord: (): void => void (records += 1) };
  let walk = new RecordWalk(start, options);
  for (let at = start; at < end;) {
    const segment = reader.segmentFor(at);
    const name = segmentName(segment, segmentBytes);
    const next = minLsn(end, segmentEnd(segment, segmentBytes));
    const note = (error: unknown): null => {
      signal.throwIfAborted();
      const finding = faultOf(error, `${WAL_FOLDER}${name}`);
      if (finding === null || error instanceof SegmentMissingError) throw error;
      findings.push(finding);
      return null;
    };
    // The object by itself first: a restore takes the log's bytes in the place of a damaged one, and says nothing here.
    const stored = await reader.stored(segment, signal).catch((error: unknown) => {
      const nothing = note(error);
      damaged.push(segment);
      return nothing;
    });
    const got = stored ?? (await reader.segment(segment, signal).catch(note));
    if (got !== null && got.kind !== "absent") {
      read.add(name);
      walk.push(
        got.bytes.subarray(
          bytesBetween(segmentStart(segment, segmentBytes), at),
          bytesBetween(segmentStart(segment, segmentBytes), next),
        ),
      );
    }
    const stop = walk.stopped;
    const isEnd = stop !== null && endsWell(walk.recordEnd, window.wal.recordEnd);
    if (stop !== null && !isEnd) {
      findings.push({
        object: `${WAL_FOLDER}${name}`,
        severity: "error",
        fault: `the records end at ${formatLsn(walk.recordEnd ?? at)}: ${stop.because}`,
      });
      // The record that breaks off may lie in the segment before, and the fault with it.
      if (stored !== null) damaged.push(...segmentsBetween(reader, walk.recordEnd ?? at, segment));
    }
    if (isEnd) break;
    // Behind a fault the walk begins anew at the next segment.
    if (got === null || got.kind === "absent" || stop !== null) {
      if (next >= end) break;
      walk = new RecordWalk(next, options);
    }
    at = next;
  }
  return { records, read, damaged };
}

function segmentsBetween(reader: PathReader, from: Lsn, last: Segment): Segment[] {
  const segments: Segment[] = [];
  const { segmentBytes } = reader.source;
  for (let at = from; at < segmentEnd(last, segmentBytes); at = segmentEnd(segments.at(-1)!, segmentBytes))
    segments.push(reader.segmentFor(at));
  return segments;
}

const endsWell = (walked: Lsn | null, known: Lsn | null): boolean =>
  walked !== null && known !== null && walked >= known;

/** Every object that the walk did not read: other timelines, histories, partial segments, second copies. */
async function openOthers(
  objects: readonly WalObject[],
  read: ReadonlySet<string>,
  source: ArchiveSource,
  findings: Finding[],
  signal: AbortSignal,
): Promise<void> {
  const copies = Map.groupBy(objects, ({ name }) => name);
  const rest = objects.filter(({ name }) => !read.has(name) || copies.get(name)!.length > 1);
  for (let at = 0; at < rest.length; at += PARALLEL) {
    await Promise.all(
      rest.slice(at, at + PARALLEL).map((object) => openOne(object, source, findings, signal)),
    );
  }
}

async function openOne(
  { key, name, meaning, method }: WalObject,
  source: ArchiveSource,
  findings: Finding[],
  signal: AbortSignal,
): Promise<void> {
  try {
    const object = await source.store.get(key, signal);
    if (object === null) return;
    const bytes = await open(await readWhole(object), method, source.cipher, source.segmentBytes * 2);
    if (meaning.kind === "segment") checkSegment(bytes, meaning.segment, source);
    if (meaning.kind === "history") checkHistory(bytes, name, meaning.timeline);
    if (meaning.kind === "backup") checkBackupHistory(key, bytes, meaning, source.segmentBytes, findings);
    if (meaning.kind === "partial" && bytes.byteLength > source.segmentBytes) {
      findings.push({
        object: key,
        severity: "error",
        fault: `holds ${bytes.byteLength} bytes, more than a segment`,
      });
    }
  } catch (error) {
    signal.throwIfAborted();
    const finding = faultOf(error, key);
    if (finding === null) throw error;
    // One finding for each object is enough.
    if (!findings.some((other) => other.object === key)) findings.push(finding);
  }
}

/** `X.OFFSET.backup` tells of the backup that starts there; no restore reads it. */
function checkBackupHistory(
  object: string,
  bytes: Uint8Array,
  { segment, offset }: Extract<WalName, { kind: "backup" }>,
  segmentBytes: number,
  findings: Finding[],
): void {
  const start = startOfLabel(Buffer.from(bytes).toString("utf8"));
  const named = addBytes(segmentStart(segment, segmentBytes), offset);
  if (start === named) return;
  const told = start === null ? "no start" : `a start at ${formatLsn(start)}`;
  const fault = `tells of ${told}, and its name of ${formatLsn(named)}; no restore reads it`;
  findings.push({ object, severity: "warning", fault });
}

const PARALLEL = 4;
