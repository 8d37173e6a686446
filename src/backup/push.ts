// Takes a full or delta backup of a running server's data directory. Storage format, section 9.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import type { Json } from "../base/lossless-json.ts";
import type { Log } from "../base/log.ts";
import { type Progress, ProgressMeter } from "../base/progress.ts";
import type { Compression } from "../codec/compression.ts";
import type { CipherKey } from "../codec/encryption.ts";
import { type BackupSession, type BackupStop, startBackup } from "../postgres/backup-session.ts";
import type { ServerAddress } from "../postgres/server-address.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { formatLsn } from "../wal/lsn.ts";
import { backupNameFor } from "./backup-name.ts";
import { type DataWalk, walkDataDirectory } from "./data-walk.ts";
import { readDatabaseNames } from "./database-names.ts";
import { deltaDecider } from "./delta-plan.ts";
import type { CorruptBlocks, DatabaseNames } from "./files-metadata.ts";
import { type Nanoseconds, instantOfMs } from "./go-json.ts";
import type { ManifestPart } from "./manifest.ts";
import { PushBook } from "./push-book.ts";
import { type PlannedFile, planParts } from "./part-plan.ts";
import { type BaseSettings, type ChosenBase, type ReadyBase, chooseBase, openBase } from "./push-base.ts";
import { completePush, finishTools } from "./push-complete.ts";
import { SentinelUnknownError, pushControlFile } from "./push-finish.ts";
import { pushParts } from "./push-parts.ts";
import { type PushServer, ancestorsOf, readControlFile, readPushServer, timelineOf } from "./push-server.ts";
import { clearLeftovers, removeParts } from "./push-leftovers.ts";
import { watchServer } from "./push-watch.ts";
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
  const watching = watchServer(() => session.ping(), settings.aliveCheckMs, guarded, lost);
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
  const { mode, uid, gid, mtimeMs } = await stat(join(server.dataDirectory, "global/pg_control"));
  const head = { mode, uid, gid, mtimeSeconds: Math.round(mtimeMs / 1000) };
  const finish = await finishTools(tools);
  const control = await pushControlFile(name, head, controlBytes, finish);
  const databases = settings.hasDatabaseNames
    ? await readDatabaseNames(session.sql, tools.server, log)
    : new Map<string, DatabaseNames>();
  const stop = await session.stop({ signal });
  book.judgeTorn(stop, log);
  return completePush(
    {
      name,
      server,
      start: session.start,
      stop,
      delta: ready?.origin ?? null,
      control,
      memberBytes: book.memberBytes + controlBytes.byteLength,
      catalogBytes: walk.catalogBytes,
      tablespaces: walk.tablespaces,
      databases,
      startTime,
      lookedAt,
    },
    book,
    settings,
    tools,
    finish,
  );
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
