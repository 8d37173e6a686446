// Restores a backup, with all that it is built on, into an empty directory. Storage format, section 16, and better: nothing missing is overlooked.

import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Progress, ProgressMeter } from "../base/progress.ts";
import type { CipherKey } from "../codec/encryption.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import { type BackupReader, type BackupSelector, findBackup } from "./catalog.ts";
import {
  type FetchIdentity,
  MARKER_NAME,
  addToMarker,
  readBootId,
  readMarker,
  removeMarker,
  writeMarker,
} from "./fetch-marker.ts";
import { Arrivals, fetchParts, makeUnpackPool } from "./fetch-parts.ts";
import { type FetchPlan, type FetchScope, type FetchStep, planFetch } from "./fetch-plan.ts";
import { type TablespacePlacement, placeTablespaces } from "./fetch-tablespaces.ts";
import {
  type Owner,
  checkSpace,
  clearUnfinished,
  completeDirectory,
  makeTablespaces,
  mkdirs,
  namesIn,
  releaseDirectory,
  syncTree,
} from "./fetch-target.ts";
import { databaseFilter, maskFilter } from "./name-filter.ts";
import type { Sentinel } from "./sentinel.ts";
import type { Tablespace } from "./tablespace-spec.ts";
import type { ThreadPool } from "./thread-pool.ts";
import type { UnpackJob } from "./unpack-part.ts";

export interface FetchSettings {
  readonly backup: BackupSelector;
  /** Made if missing; must be empty, or hold an unfinished fetch. */
  readonly directory: string;
  readonly tablespaces: TablespacePlacement;
  /** `--mask`: only names that match; what comes out is not meant to be started. */
  readonly mask: string | null;
  /** `--restore-only`: databases and tables; the rest of the user's tables is left out. */
  readonly only: readonly string[];
  /** WALG_DOWNLOAD_CONCURRENCY, bounded here: parts and worker threads at once. */
  readonly concurrency: number;
  /** WALG_DOWNLOAD_FILE_RETRIES: tries more for a part; null: three, within a minute. */
  readonly retries?: number | null;
  /** WALG_TAR_DISABLE_FSYNC: what was restored is not made durable. */
  readonly skipsSync?: boolean;
  /** Major version of the Postgres that will start on it; null: not checked. */
  readonly serverMajor: number | null;
  /** Owner of what is written when this runs as root; null: whoever runs this. */
  readonly owner: Owner | null;
}

export interface FetchTools {
  readonly store: BackupReader;
  /** Holds the key: never log it. */
  readonly cipherKey: CipherKey;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Counts stored bytes. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface FetchResult {
  readonly name: string;
  readonly sentinel: Sentinel;
  /** Names of the chain, full backup first. */
  readonly chain: readonly string[];
  readonly startLsn: Lsn | null;
  readonly finishLsn: Lsn | null;
  readonly tablespaces: readonly Tablespace[];
  /** From the control file; null after a restore by mask. */
  readonly segmentBytes: number | null;
  readonly timeline: TimelineId | null;
}

/**
 * Restores and makes everything durable. A directory without pg_control cannot be started, and pg_control comes last;
 * a fetch that was killed goes on where it stopped (same backup, same machine run) or starts over when called again.
 * Everything that can be known beforehand is checked before a byte is written: chain, parts, version, space.
 * Throws BackupMissingError, BackupFormatError, StoreError, AppError `BACKUP_NO_SPACE` …; the directory then keeps its
 * mark and is never complete.
 */
export async function fetchBackup(settings: FetchSettings, tools: FetchTools): Promise<FetchResult> {
  const { store, signal, log, clock } = tools;
  const { name } = await findBackup(store, settings.backup, signal);
  const scope = scopeOf(settings);
  const plan = await planFetch(store, name, scope, signal);
  for (const warning of plan.warnings) log.warn(warning);
  checkVersion(name, plan.newest.sentinel, settings.serverMajor);
  const tablespaces = placeTablespaces(plan.newest.sentinel.spec, settings.tablespaces);
  const done = await prepare(settings, plan, tablespaces, log);
  const meter = new ProgressMeter(plan.totalBytes, tools.onProgress ?? (() => undefined), () =>
    clock.monotonicMs(),
  );
  await using pool = makeUnpackPool(settings.concurrency);
  for (const step of plan.steps) await fetchStep(settings, step, done, pool, { ...tools, meter });
  meter.finish();
  const facts = scope.isPartial
    ? null
    : await completeDirectory(settings.directory, plan.newest, tablespaces, settings.owner);
  if (settings.skipsSync === true) log.warn("what was restored is not synced: a power cut may spoil it");
  else await syncTree(settings.directory, tablespaces);
  signal.throwIfAborted();
  if (facts !== null) await releaseDirectory(settings.directory, settings.owner);
  await removeMarker(settings.directory);
  const { sentinel } = plan.newest;
  log.info("backup restored", { name, directory: settings.directory, bytes: plan.totalBytes });
  return {
    name,
    sentinel,
    chain: plan.steps.map(({ backup }) => backup.name),
    startLsn: sentinel.startLsn,
    finishLsn: sentinel.finishLsn,
    tablespaces,
    segmentBytes: facts?.segmentBytes ?? null,
    timeline: facts?.timeline ?? null,
  };
}

function scopeOf({ mask, only }: FetchSettings): FetchScope {
  if (mask === null && only.length === 0) return { filter: null, isPartial: false };
  const byMask = mask === null ? null : maskFilter(mask);
  return {
    isPartial: mask !== null,
    filter: (newest) => {
      const byTable = only.length === 0 ? null : databaseFilter(only, newest.files.databases);
      return (name) => byMask?.(name) !== false && byTable?.(name) !== false;
    },
  };
}

function checkVersion(name: string, { pgVersion }: Sentinel, serverMajor: number | null): void {
  const major = pgVersion >= 100_000 ? Math.floor(pgVersion / 10_000) : 0;
  if (serverMajor === null || major === 0 || major === serverMajor) return;
  throw new AppError(`backup "${name}" is of Postgres ${major}, and this is Postgres ${serverMajor}`, {
    code: "BACKUP_WRONG_VERSION",
    hint: `restore it with the image for Postgres ${major}`,
  });
}

/** Makes the target ready; returns the keys of parts that an earlier fetch brought through. */
async function prepare(
  { directory, owner, mask, only }: FetchSettings,
  plan: FetchPlan,
  tablespaces: readonly Tablespace[],
  log: Log,
): Promise<ReadonlySet<string>> {
  const identity: FetchIdentity = {
    backup: plan.newest.name,
    plan: planHash(plan, tablespaces, { mask, only }),
    bootId: await readBootId(),
  };
  const marker = (await namesIn(directory)) === null ? null : await readMarker(directory);
  const isSame =
    marker !== null &&
    identity.bootId !== "" &&
    marker.bootId === identity.bootId &&
    marker.backup === identity.backup &&
    marker.plan === identity.plan;
  if (marker !== null && isSame) {
    log.info("going on with an unfinished restore", { directory, parts: marker.done.size });
    await makeTablespaces(directory, tablespaces, owner, true);
    return marker.done;
  }
  if (marker !== null) {
    log.info("starting an unfinished restore over", { directory, was: marker.backup });
    await clearUnfinished(directory, marker);
  }
  const names = (await namesIn(directory)) ?? [];
  if (names.length > 0)
    throw new AppError(`"${directory}" is not empty: it holds "${names[0]}"`, {
      code: "BACKUP_TARGET_NOT_EMPTY",
      hint: "restore into an empty directory, or move what is there aside",
    });
  await checkSpace(await existingPart(directory), plan.neededBytes);
  await mkdirs(directory, owner);
  await writeMarker(
    directory,
    identity,
    tablespaces.map(({ location }) => location),
  );
  await makeTablespaces(directory, tablespaces, owner, false);
  return new Set();
}

/** The nearest directory above that exists. */
async function existingPart(directory: string): Promise<string> {
  try {
    return await realpath(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return existingPart(dirname(directory));
  }
}

function planHash(plan: FetchPlan, tablespaces: readonly Tablespace[], filters: unknown): string {
  const parts = plan.steps.map(({ backup, parts: taken }) => [
    backup.name,
    taken.map(({ key, bytes }) => [key, bytes]),
  ]);
  return createHash("sha256")
    .update(JSON.stringify([parts, tablespaces, filters]))
    .digest("hex");
}

async function fetchStep(
  { directory, concurrency, owner, retries = null }: FetchSettings,
  step: FetchStep,
  done: ReadonlySet<string>,
  pool: ThreadPool<UnpackJob>,
  tools: FetchTools & { readonly meter: ProgressMeter },
): Promise<void> {
  const work = { ...tools, owner, retries, done, onDone: (key: string) => addToMarker(directory, key) };
  const arrivals = new Arrivals(step);
  for (const isLast of [false, true]) {
    const parts = step.parts.filter(({ role }) => (role !== "files") === isLast);
    await fetchParts(directory, step, parts, { pool, concurrency }, work, arrivals);
    arrivals.check();
  }
}

/** No backup holds it, and a directory with it is not whole. */
export const UNFINISHED_FETCH_NAME = MARKER_NAME;
