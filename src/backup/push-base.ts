// Finds the backup that a delta is taken from, and decides whether a delta is sound.

import type { Log } from "../base/log.ts";
import {
  type BackupReader,
  type BackupSelector,
  findBackup,
  listBackups,
  readBackupFiles,
  readBackupMetadata,
  readManifest,
  readSentinel,
} from "./catalog.ts";
import {
  type DeltaBase,
  type DeltaSettings,
  type ServerPosition,
  baseProblem,
  decideDelta,
} from "./delta-plan.ts";
import type { PushServer } from "./push-server.ts";
import type { DeltaOrigin, Sentinel } from "./sentinel.ts";

export interface BaseSettings extends DeltaSettings {
  /** Which backup to start from: LATEST unless the user named one. */
  readonly candidate: BackupSelector;
}

/** The base of a delta, by name; its files are read once the backup has started. */
export interface ChosenBase {
  readonly name: string;
  readonly sentinel: Sentinel;
  readonly count: number;
}

/** null: take a full backup. Throws BackupMissingError when a backup was named that is not there. */
export async function chooseBase(
  store: BackupReader,
  settings: BaseSettings,
  log: Log,
  signal: AbortSignal,
): Promise<ChosenBase | null> {
  const isOff = settings.isForcedFull || settings.maxSteps === 0;
  const candidate = isOff ? null : await findCandidate(store, settings.candidate, signal);
  const decision = decideDelta(settings, candidate);
  if (decision.kind === "full") {
    log.info("taking a full backup", { because: decision.because });
    return null;
  }
  log.info("taking a delta", { from: decision.from, because: decision.because });
  const isCandidate = candidate !== null && candidate.name === decision.from;
  const sentinel = isCandidate ? candidate.sentinel : await readSentinel(store, decision.from, signal);
  return { name: decision.from, sentinel, count: decision.count };
}

async function findCandidate(
  store: BackupReader,
  selector: BackupSelector,
  signal: AbortSignal,
): Promise<Parameters<typeof decideDelta>[1]> {
  if (selector.kind === "latest" && (await listBackups(store, signal)).length === 0) return null;
  const { name } = await findBackup(store, selector, signal);
  const [sentinel, metadata] = [
    await readSentinel(store, name, signal),
    await readBackupMetadata(store, name, signal),
  ];
  return { name, sentinel, isPermanent: metadata?.isPermanent ?? null };
}

export interface ReadyBase {
  readonly origin: DeltaOrigin;
  readonly base: DeltaBase;
}

/** Compares the base with the backup that has started, and reads its files. null: take a full backup after all. */
export async function openBase(
  store: BackupReader,
  chosen: ChosenBase,
  { server, position, hostname }: { server: PushServer; position: ServerPosition; hostname: string },
  log: Log,
  signal: AbortSignal,
): Promise<ReadyBase | null> {
  const { name, sentinel, count } = chosen;
  const problem = baseProblem(chosen, position);
  const files = problem === null ? await readBackupFiles(store, name, signal) : null;
  const hasFiles = files !== null && files.files.size > 0;
  if (problem !== null || !hasFiles || sentinel.startLsn === null) {
    log.warn("taking a full backup after all", { because: problem ?? `"${name}" has no list of its files` });
    return null;
  }
  const source = (await readManifest(store, name, signal))?.source ?? null;
  const isNamedSo = sentinel.hostname === hostname && sentinel.dataDirectory === server.dataDirectory;
  const isSameVolume =
    source === null
      ? isNamedSo && files.files.get("/PG_VERSION")?.mtime === server.versionFileTime
      : source.volume === server.volume;
  if (!isSameVolume) log.info("the base was taken from another volume: every file is read", { base: name });
  return {
    origin: { lsn: sentinel.startLsn, from: name, fullName: sentinel.delta?.fullName ?? name, count },
    base: {
      files: files.files,
      lookedAt: source?.lookedAt ?? sentinel.startTime,
      isSameVolume,
      databases: source === null ? null : { before: source.databases, now: server.databases },
    },
  };
}
