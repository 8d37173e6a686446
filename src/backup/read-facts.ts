// Reads what deletion, marking and retention must know of every backup.

import type { ObjectInfo } from "../storage/object-store.ts";
import { type BackupFacts, placeIn } from "./backup-facts.ts";
import { BACKUP_FOLDER, SENTINEL_SUFFIX } from "./backup-name.ts";
import { type BackupReader, readBackupMetadata, readSentinel } from "./catalog.ts";

/**
 * Facts of all backups that have a sentinel, in no order. Throws when any sentinel or metadata.json cannot be read or
 * parsed (StoreError, BackupFormatError): a guess about a backup could remove the only copy of something.
 */
export async function readBackupFacts(
  store: BackupReader,
  segmentBytes: number,
  signal: AbortSignal,
): Promise<BackupFacts[]> {
  const sentinels: ObjectInfo[] = [];
  for await (const info of store.list(`${BACKUP_FOLDER}/`, signal)) {
    const name = info.key.slice(BACKUP_FOLDER.length + 1);
    if (!name.includes("/") && name.endsWith(SENTINEL_SUFFIX)) sentinels.push(info);
  }
  return inParallel(sentinels, (info) => readFacts(store, info, segmentBytes, signal));
}

async function readFacts(
  store: BackupReader,
  info: ObjectInfo,
  segmentBytes: number,
  signal: AbortSignal,
): Promise<BackupFacts> {
  const name = info.key.slice(BACKUP_FOLDER.length + 1, -SENTINEL_SUFFIX.length);
  const sentinel = await readSentinel(store, name, signal);
  const metadata = await readBackupMetadata(store, name, signal);
  return {
    name,
    ...(placeIn(name, segmentBytes) ?? LAST_PLACE),
    modifiedNs: info.modifiedNs ?? BigInt(Math.round(info.modifiedMs * 1000)) * 1000n,
    startedNs: metadata?.startTime ?? sentinel.startTime,
    finishedNs: metadata?.finishTime ?? sentinel.finishTime,
    startLsn: metadata?.startLsn ?? sentinel.startLsn,
    finishLsn: metadata?.finishLsn ?? sentinel.finishLsn,
    permanent: metadata?.isPermanent ?? sentinel.isPermanent,
    base: sentinel.delta?.from ?? null,
    full: sentinel.delta?.fullName ?? null,
    userData: metadata?.userData ?? sentinel.userData,
  };
}

/** Runs `work` on all of `items`, some at a time; results in order. */
export async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += PARALLEL) {
    results.push(...(await Promise.all(items.slice(at, at + PARALLEL).map(work))));
  }
  return results;
}

/** A name without a place: never older than anything. */
const LAST_PLACE = { timeline: 0xffff_ffff, segment: (1n << 64n) - 1n } as const;
const PARALLEL = 16;
