// Takes a full or delta backup of a running server's data directory. Storage format, section 9.

import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { Json } from "../base/lossless-json.ts";
import type { Log } from "../base/log.ts";
import { type Progress, ProgressMeter } from "../base/progress.ts";
import type { Compression } from "../codec/compression.ts";
import { type CipherKey, cipherOf } from "../codec/encryption.ts";
import { type BackupSession, type BackupStop, startBackup } from "../postgres/backup-session.ts";
import type { ServerAddress } from "../postgres/server-address.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { formatLsn } from "../wal/lsn.ts";
import { backupNameFor, backupPrefix, sentinelKey } from "./backup-name.ts";
import { waitForArchiver } from "./archive-wait.ts";
import { type DataWalk, walkDataDirectory } from "./data-walk.ts";
import { readDatabaseNames } from "./database-names.ts";
import { deltaDecider } from "./delta-plan.ts";
import type { CorruptBlocks, DatabaseNames } from "./files-metadata.ts";
import { type Nanoseconds, instantOfMs } from "./go-json.ts";
import type { ManifestPart } from "./manifest.ts";
import { PushBook } from "./push-book.ts";
import { type PlannedFile, planParts } from "./part-plan.ts";
import { type BaseSettings, type ChosenBase, type ReadyBase, chooseBase, openBase } from "./push-base.ts";
import {
  type FinishTools,
  SentinelUnknownError,
  pushControlFile,
  pushDescription,
  pushLabel,
} from "./push-finish.ts";
import { pushParts } from "./push-parts.ts";
import { markChainPermanent } from "./push-permanent.ts";
import { type PushServer, ancestorsOf, readControlFile, readPushServer, timelineOf } from "./push-server.ts";
import type { Sentinel } from "./sentinel.ts";

export interface PushSettings extends BaseSettings {
  readonly dataDirectory: string;
  /** Written into the sentinel; also tells whether a base was taken here. */
  readonly hostname: string;
  /** WALG_TAR_SIZE_THRESHOLD, in bytes. */
  readonly thresholdBytes: number;
  /** WALG_UPLOAD_DISK_CONCURRENCY: parts and worker threads at once. */
  readonly concurrency: number;
  /** WALG_VERIFY_PAGE_CHECKSUMS; without effect on a server without checksums. */
  readonly verifiesPages: boolean;
  readonly keepsAllCorrupt: boolean;
  readonly hasFilesMetadata: boolean;
  /** False: WALG_DISABLE_PARTIAL_RESTORE. */
  readonly hasDatabaseNames: boolean;
  /** WALG_DISK_RATE_LIMIT. */
  readonly diskBytesPerSecond: number | null;
  readonly userData: Json;
  /** WALG_STOP_BACKUP_TIMEOUT: how long the archive may take for the last segment; null: no limit. */
  readonly archiveTimeoutMs: number | null;
  /** WALG_ALIVE_CHECK_INTERVAL; 0: never. */
  readonly aliveCheckMs: number;
}

export interface PushTools {
  readonly store: ObjectStore;
  readonly server: ServerAddress;
  readonly compression: Compression;
  /** Holds the key: never log it. */
  readonly cipherKey: CipherKey;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Resolves once the WAL up to the backup's end is in the archive. Default: wait for the server's archiver. */
  readonly waitForWal?: (stop: BackupStop, signal: AbortSignal) => Promise<void>;
}

export interface PushResult {
  readonly name: string;
  readonly sentinel: Sentinel;
  readonly parts: readonly ManifestPart[];
  /** Files with pages whose checksum is wrong; the backup holds them as they are. */
  readonly corrupt: ReadonlyMap<string, CorruptBlocks>;
}

/**
 * Takes the backup; when it resolves, the sentinel is durable. On failure or abort Postgres forgets the backup, what was
 * stored is removed as far as the store can be reached, and what remains has no sentinel: it is no backup.
 */
export async function pushBackup(settings: PushSettings, tools: PushTools): Promise<PushResult> {
  const { store, log, clock, signal } = tools;
  const chosen = await chooseBase(store, settings, log, signal);
  const startTime = instantOfMs(clock.now());
  await using session = await startBackup(tools.server, `holdfast ${new Date(clock.now()).toISOString()}`, {
    signal,
  });
  const server = await readPushServer(session.sql, settings.dataDirectory, clock, signal);
  const run = await openRun(settings, tools, session, server, chosen, startTime);
  await clearLeftovers(run.name, tools);
  const lost = new AbortController();
  const guarded: PushTools = { ...tools, signal: AbortSignal.any([signal, lost.signal]) };
  const watching = watchSession(session, settings.aliveCheckMs, guarded, lost);
  try {
    return await push(run, settings, guarded, session);
  } catch (error) {
    if (!(error instanceof SentinelUnknownError)) await removeParts(run.name, tools);
    throw lost.signal.aborted ? lost.signal.reason : error;
  } finally {
    lost.abort();
    await watching;
  }
}

/** What is fixed once the server has begun the backup. */
interface PushRun {
  readonly name: string;
  readonly server: PushServer;
  readonly ready: ReadyBase | null;
  readonly startTime: Nanoseconds;
}

async function openRun(
  settings: PushSettings,
  { store, log, signal }: PushTools,
  session: BackupSession,
  server: PushServer,
  chosen: ChosenBase | null,
  startTime: Nanoseconds,
): Promise<PushRun> {
  const timeline = await timelineOf(session.sql, session.fromStandby);
  const ancestors = await ancestorsOf(server.dataDirectory, timeline);
  const position = {
    systemIdentifier: server.systemIdentifier,
    timeline,
    startLsn: session.start,
    ancestors,
  };
  const here = { server, position, hostname: settings.hostname };
  const canDelta = settings.hasFilesMetadata;
  const ready = chosen === null || !canDelta ? null : await openBase(store, chosen, here, log, signal);
  const name = backupNameFor({
    timeline,
    lsn: session.start,
    segmentBytes: server.segmentBytes,
    isStandby: session.fromStandby,
    parentName: ready?.origin.from ?? null,
  });
  log.info("backup started", { name, start: formatLsn(session.start), standby: session.fromStandby });
  return { name, server, ready, startTime };
}

/** A backup of the same name must not be written over, and a failed run's parts must not be taken for ours. */
async function clearLeftovers(name: string, { store, log, signal }: PushTools): Promise<void> {
  if ((await store.head(sentinelKey(name), signal)) !== null)
    throw new AppError(`backup "${name}" exists already`, {
      code: "BACKUP_EXISTS",
      hint: "on a standby wait for its next restart point; a new checkpoint on the primary brings one",
    });
  const keys: string[] = [];
  for await (const { key } of store.list(backupPrefix(name), signal)) keys.push(key);
  if (keys.length === 0) return;
  log.warn("removing what a failed backup of this name left", { name, objects: keys.length });
  await store.delete(keys, signal);
}

async function push(
  run: PushRun,
  settings: PushSettings,
  tools: PushTools,
  session: BackupSession,
): Promise<PushResult> {
  const { name, server, ready, startTime } = run;
  const { clock, log, signal } = tools;
  const lookedAt = instantOfMs(clock.now());
  const walk = await walkDataDirectory(
    server.dataDirectory,
    Math.floor(server.versionNumber / 10_000),
    signal,
  );
  for (const warning of walk.warnings) log.warn(warning);
  const book = new PushBook();
  await packAll(walk, run, settings, tools, session, book);
  const { bytes: controlBytes } = await readControlFile(server.dataDirectory, clock, signal);
  const cipher = await cipherOf(tools.cipherKey);
  const finish: FinishTools = {
    store: tools.store,
    codec: { compression: tools.compression, cipher },
    signal,
  };
  const control = await pushControlFile(name, server.dataDirectory, controlBytes, finish);
  const databases = settings.hasDatabaseNames
    ? await readDatabaseNames(session.sql, tools.server, log)
    : new Map<string, DatabaseNames>();
  const stop = await session.stop({ signal });
  const label = await pushLabel(name, stop, finish);
  book.labels(label.name);
  book.judgeTorn(stop, log);
  await (tools.waitForWal ?? defaultWait(settings, tools, run))(stop, signal);
  const parts = [...book.parts, control, label];
  const labelBytes = Buffer.byteLength(stop.label) + Buffer.byteLength(stop.tablespaceMap);
  const sentinel: Sentinel = {
    startLsn: session.start,
    finishLsn: stop.stop,
    delta: ready?.origin ?? null,
    pgVersion: server.versionNumber,
    systemIdentifier: server.systemIdentifier,
    uncompressedBytes: book.memberBytes + controlBytes.byteLength + labelBytes,
    compressedBytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    dataCatalogBytes: walk.catalogBytes,
    spec:
      walk.tablespaces.length === 0
        ? null
        : { basePrefix: server.dataDirectory, tablespaces: walk.tablespaces },
    userData: settings.userData,
    hasNoFilesMetadata: !settings.hasFilesMetadata,
    version: 2,
    startTime,
    finishTime: instantOfMs(clock.now()),
    hostname: settings.hostname,
    dataDirectory: server.dataDirectory,
    isPermanent: settings.isPermanent,
    embeddedFiles: null,
  };
  if (settings.isPermanent && ready !== null) await markChainPermanent(ready.origin.from, tools);
  const files = { files: book.files, tarFileSets: book.tarFileSets, databases, corrupt: book.corrupt };
  const source = { volume: server.volume, lookedAt, databases: server.databases };
  await pushDescription(
    { name, sentinel, files: settings.hasFilesMetadata ? files : null, parts, source },
    finish,
  );
  log.info("backup stored", {
    name,
    parts: parts.length,
    bytes: sentinel.compressedBytes,
    store: tools.store.name,
  });
  return { name, sentinel, parts, corrupt: book.corrupt };
}

async function packAll(
  walk: DataWalk,
  { name, server, ready }: PushRun,
  settings: PushSettings,
  tools: PushTools,
  session: BackupSession,
  book: PushBook,
): Promise<void> {
  const decide = ready === null ? null : deltaDecider(walk.files, ready.base);
  const planned: PlannedFile[] = [];
  let totalBytes = 0;
  for (const file of walk.files) {
    const decision = decide?.(file) ?? "whole";
    if (decision === "skip") {
      book.files.set(file.name, { mtime: file.mtime, isIncremented: false, isSkipped: true });
      continue;
    }
    planned.push({ name: file.name, bytes: file.bytes, mayIncrement: decision === "increment" });
    totalBytes += file.bytes;
  }
  const meter = new ProgressMeter(totalBytes, tools.onProgress ?? (() => undefined), () =>
    tools.clock.monotonicMs(),
  );
  const template = {
    root: server.dataDirectory,
    compression: tools.compression,
    cipherKey: tools.cipherKey,
    deltaLsn: ready?.origin.lsn ?? null,
    verifyFrom: settings.verifiesPages && server.hasChecksums ? session.start : null,
    segmentBlocks: server.segmentBlocks,
    diskBytesPerSecond:
      settings.diskBytesPerSecond === null ? null : settings.diskBytesPerSecond / settings.concurrency,
    keepAllCorrupt: settings.keepsAllCorrupt,
  };
  const parts = planParts(walk.directories, planned, settings);
  await pushParts(name, parts, template, settings.concurrency, { ...tools, meter }, (pushed) =>
    book.add(pushed),
  );
  meter.finish();
}

/** Ends the push when the server does. */
async function watchSession(
  session: BackupSession,
  everyMs: number,
  { clock, signal }: PushTools,
  lost: AbortController,
): Promise<void> {
  if (everyMs === 0) return;
  while (!signal.aborted) {
    try {
      await clock.sleep(everyMs, signal);
      await session.ping();
    } catch (error) {
      if (!signal.aborted) lost.abort(error);
    }
  }
}

async function removeParts(name: string, { store, log }: PushTools): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    const keys: string[] = [];
    for await (const { key } of store.list(backupPrefix(name), signal)) keys.push(key);
    await store.delete(keys, signal);
  } catch (error) {
    log.warn("what the failed backup stored could not be removed; `delete garbage` will", {
      name,
      because: error,
    });
  }
}

function defaultWait(
  settings: PushSettings,
  tools: PushTools,
  { name, server }: PushRun,
): (stop: BackupStop, signal: AbortSignal) => Promise<void> {
  return (stop, signal) =>
    waitForArchiver(stop, name, server.segmentBytes, settings.archiveTimeoutMs, { ...tools, signal });
}

/** Cleaning up after a failure must not hang on the store that failed. */
const CLEAN_UP_MS = 15_000;
