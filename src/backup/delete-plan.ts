// Which objects a deletion removes, and in what order. Pure: the same question always has the same answer.

import { type BackupFacts, comparePlaces, placeIn, withBases } from "./backup-facts.ts";

export const BACKUP_FOLDER = "basebackups_005/";
export const WAL_FOLDER = "wal_005/";
export const CATCHUP_FOLDER = "catchup_005/";
const SENTINEL_SUFFIX = "_backup_stop_sentinel.json";

/** Where a deletion looks. Nothing outside of these folders is ever touched, the tail log least of all. */
const FOLDERS = [BACKUP_FOLDER, WAL_FOLDER, CATCHUP_FOLDER] as const;

export interface DeletePlanInput {
  /** All keys of the store's prefix, or at least of the folders above. */
  readonly keys: readonly string[];
  /** Every backup that has a sentinel. */
  readonly backups: readonly BackupFacts[];
  readonly segmentBytes: number;
}

/** What to remove, in stages: each must be done before the next begins, so that a stop in between leaves nothing half there. */
export interface DeletePlan {
  /** Deltas before what they are built on: no sentinel ever stands without its base. */
  readonly sentinels: readonly string[];
  readonly objects: readonly string[];
  /** Of deletions that were begun; they go when the objects are gone. */
  readonly marks: readonly string[];
  /** Oldest first: what is left stays in a row. */
  readonly wal: readonly string[];
}

/** WAL-G's rule for retain and before: all that lies before `target` in the WAL's order, less what a kept backup needs. */
export function planBefore(
  target: BackupFacts,
  input: DeletePlanInput,
  options: { readonly byStartTime?: boolean; readonly only?: "wal" | "backups" } = {},
): DeletePlan {
  const isOlder = (backup: BackupFacts): boolean =>
    options.byStartTime === true && backup.startedNs !== null && target.startedNs !== null
      ? backup.startedNs < target.startedNs
      : comparePlaces(backup, target) < 0;
  const gone = new Set(input.backups.filter((backup) => isOlder(backup)).map((backup) => backup.name));
  return planRemoval(gone, target, input, options);
}

/**
 * A policy's rule: of the backups `keep` stays, what it is built on, and permanent ones; of the WAL what follows the oldest of
 * `keep` and what makes the others consistent. Removes nothing when `keep` is empty.
 */
export function planKeeping(keep: ReadonlySet<string>, input: DeletePlanInput): DeletePlan {
  const oldest = input.backups.filter(({ name }) => keep.has(name)).toSorted(comparePlaces)[0];
  if (oldest === undefined) return NOTHING;
  const kept = withBases(keep, input.backups);
  const gone = input.backups.filter(({ name, permanent }) => !kept.has(name) && !permanent);
  return planRemoval(new Set(gone.map(({ name }) => name)), oldest, input, { keep });
}

const NOTHING: DeletePlan = { sentinels: [], objects: [], marks: [], wal: [] };

/** Leftovers before `target`: segments that no backup needs, and parts without a sentinel. Backups stay. */
export function planGarbage(
  target: BackupFacts,
  input: DeletePlanInput,
  options: { readonly only?: "wal" | "backups" } = {},
): DeletePlan {
  return planRemoval(new Set(), target, input, options);
}

interface RemovalOptions {
  readonly byStartTime?: boolean;
  readonly only?: "wal" | "backups";
  /** Backups from which on every moment must stay restorable; all that stay, when left out. */
  readonly keep?: ReadonlySet<string>;
}

function planRemoval(
  gone: ReadonlySet<string>,
  target: BackupFacts,
  input: DeletePlanInput,
  options: RemovalOptions,
): DeletePlan {
  const needed = neededBy(gone, target, input, options.keep);
  const chosen = input.keys.filter((key) => {
    if (!inFolders(key, options.only)) return false;
    const place = placeIn(key, input.segmentBytes);
    if (place === null) return false;
    const backup = backupOf(key);
    if (backup !== null && needed.names.has(backup)) return false;
    if (backup !== null && gone.has(backup)) return true;
    // With start times as order, WAL of any timeline is compared by its number alone, as in WAL-G.
    const isBefore =
      options.byStartTime === true && backup === null
        ? place.segment < target.segment
        : comparePlaces(place, target) < 0;
    return isBefore && !(key.startsWith(WAL_FOLDER) && needed.segment(place.timeline, place.segment));
  });
  return staged(chosen, input.backups);
}

/** Everything of WAL-G's under the prefix. The caller has asked about permanent backups. */
export function planEverything(input: DeletePlanInput): DeletePlan {
  return staged(
    input.keys.filter((key) => inFolders(key)),
    input.backups,
  );
}

/** All objects of these backups, sentinels and leftovers of an earlier deletion included; no WAL. */
export function planBackups(names: ReadonlySet<string>, input: DeletePlanInput): DeletePlan {
  const chosen = input.keys.filter((key) => {
    const backup = key.startsWith(BACKUP_FOLDER) ? backupOf(key) : null;
    return backup !== null && names.has(backup);
  });
  return staged(chosen, input.backups);
}

/** The keys of a plan in the order in which WAL-G lists them: shallow ones first. */
export function listedOrder(plan: DeletePlan): readonly string[] {
  const depth = (key: string): number => key.split("/").length;
  return [...plan.sentinels, ...plan.objects, ...plan.wal].sort(
    (a, b) => depth(a) - depth(b) || (a < b ? -1 : a > b ? 1 : 0),
  );
}

interface Needed {
  readonly names: ReadonlySet<string>;
  segment(timeline: number, segment: bigint): boolean;
}

/**
 * Backups that stay at or behind the target need all the WAL that follows them; what they are built on, and permanent ones
 * before it, only the WAL that makes each consistent.
 */
function neededBy(
  gone: ReadonlySet<string>,
  target: BackupFacts,
  input: DeletePlanInput,
  keep?: ReadonlySet<string>,
): Needed {
  const kept = input.backups.filter((backup) => backup.permanent || !gone.has(backup.name));
  const names = withBases(
    kept.map((backup) => backup.name),
    input.backups,
  );
  const staying = input.backups.filter((backup) => names.has(backup.name));
  const open = kept.filter(
    (backup) => (keep?.has(backup.name) ?? !backup.permanent) || comparePlaces(backup, target) >= 0,
  );
  return {
    names,
    segment: (timeline, segment) =>
      open.some(
        // What continues a backup lies on its timeline or on a newer one; whether a fork lies in between is not asked.
        (backup) => segment >= backup.segment && timeline >= backup.timeline,
      ) || staying.some((backup) => spans(backup, timeline, segment, input.segmentBytes)),
  };
}

/** True when the backup's own stretch, from its start to its end, touches the segment. */
function spans(backup: BackupFacts, timeline: number, segment: bigint, segmentBytes: number): boolean {
  if (timeline !== backup.timeline) return false;
  const size = BigInt(segmentBytes);
  const first = backup.startLsn === null ? backup.segment : before(backup.startLsn) / size;
  const last = backup.finishLsn === null ? null : before(backup.finishLsn) / size;
  return segment >= first && (last === null || segment <= last);
}

const before = (lsn: bigint): bigint => (lsn === 0n ? 0n : lsn - 1n);

function staged(keys: readonly string[], backups: readonly BackupFacts[]): DeletePlan {
  const steps = new Map(backups.map((backup) => [backup.name, chainLength(backup, backups)]));
  const isSentinel = (key: string): boolean => key.endsWith(SENTINEL_SUFFIX);
  const isWal = (key: string): boolean => key.startsWith(WAL_FOLDER);
  const depth = (key: string): number => steps.get(backupOf(key) ?? "") ?? 0;
  return {
    sentinels: keys.filter(isSentinel).sort((a, b) => depth(b) - depth(a) || (a < b ? 1 : -1)),
    objects: keys.filter((key) => !isSentinel(key) && !isWal(key) && !DELETION_MARK.test(key)),
    marks: keys.filter((key) => DELETION_MARK.test(key)),
    wal: keys.filter(isWal).sort((a, b) => (a < b ? -1 : 1)),
  };
}

/** Beside the parts, where WAL-G ignores it: this backup's deletion was begun. */
export const deletionMark = (name: string): string => `${BACKUP_FOLDER}${name}/deletion.json`;
const DELETION_MARK = /^basebackups_005\/([^/]+)\/deletion\.json$/;

/** Names of backups whose deletion was begun and not finished. */
export function unfinishedDeletions(keys: readonly string[]): ReadonlySet<string> {
  return new Set(keys.flatMap((key) => DELETION_MARK.exec(key)?.[1] ?? []));
}

function chainLength(backup: BackupFacts, backups: readonly BackupFacts[]): number {
  return withBases([backup.name], backups).size;
}

/** The backup an object belongs to by its key; null for WAL and foreign objects. */
export function backupOf(key: string): string | null {
  if (!key.startsWith(BACKUP_FOLDER)) return null;
  const [first] = key.slice(BACKUP_FOLDER.length).split("/");
  return first === undefined ? null : first.replace(/_backup.*$/, "");
}

function inFolders(key: string, only?: "wal" | "backups"): boolean {
  if (only === "wal") return key.startsWith(WAL_FOLDER);
  if (only === "backups") return key.startsWith(BACKUP_FOLDER);
  return FOLDERS.some((folder) => key.startsWith(folder));
}
