// Which backups a `delete` is about: WAL-G's words (retain, before, target, garbage) to a choice among the backups.

import { AppError } from "../base/errors.ts";
import { type BackupFacts, compareNs, inOrder, withBases, withDeltas } from "./backup-facts.ts";

/** FULL counts full backups only; FIND_FULL goes back to the full backup under the one that is found. */
export type DeleteModifier = "FULL" | "FIND_FULL" | null;

/** A point in the row of backups: a name, the beginning of a name, or a time. */
export type BackupPoint =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "time"; readonly ns: bigint };

export interface OrderOptions {
  /** Order by the start times in the metadata instead of by place in the WAL. */
  readonly byStartTime: boolean;
}

/** A wrong choice: the message is WAL-G's where it has one. */
export class DeleteError extends AppError {
  constructor(message: string, hint: string, code = "DELETE_REFUSED") {
    super(message, { code, hint });
  }
}

/** The oldest backup to keep for `retain`, or null when there are fewer. Throws DeleteError for a delta without FIND_FULL. */
export function retainTarget(
  backups: readonly BackupFacts[],
  count: number,
  modifier: DeleteModifier,
  after: BackupPoint | null,
  order: OrderOptions,
): BackupFacts | null {
  const newestFirst = [...inOrder(backups, order.byStartTime)].reverse();
  const counted = nthNewest(newestFirst, count, modifier);
  if (after === null) return counted === null ? null : mustBeFull(counted, modifier);
  const since = oldestSince([...newestFirst].reverse(), after, modifier, order);
  const older = [counted, since].filter((found) => found !== null);
  const target = newestFirst.findLast((backup) => older.includes(backup)) ?? null;
  return target === null ? null : mustBeFull(target, modifier);
}

function nthNewest(
  newestFirst: readonly BackupFacts[],
  count: number,
  modifier: DeleteModifier,
): BackupFacts | null {
  if (modifier === "FULL") return newestFirst.filter(isFull)[count - 1] ?? null;
  const nth = newestFirst[count - 1] ?? null;
  return nth === null || modifier === null ? nth : fullAtOrBefore(newestFirst, nth);
}

/** The oldest backup at or after `after`; with a modifier the oldest full one (so WAL-G: deltas of an older full do not count). */
function oldestSince(
  oldestFirst: readonly BackupFacts[],
  after: BackupPoint,
  modifier: DeleteModifier,
  order: OrderOptions,
): BackupFacts | null {
  const since = oldestFirst.filter((backup) => reaches(backup, after, order));
  if (since.length === 0) {
    throw new DeleteError(
      `--after ${pointText(after)} matches no backup`,
      "give a name from `backup-list`, or a time with its zone (2026-01-31T12:00:00Z) that is not after the last backup",
    );
  }
  return (modifier === null ? since[0] : since.find(isFull)) ?? null;
}

const pointText = (point: BackupPoint): string =>
  point.kind === "name" ? `"${point.name}"` : `"${new Date(Number(point.ns / 1_000_000n)).toISOString()}"`;

/** The oldest backup to keep for `before`, or null when every backup is older than the time. */
export function beforeTarget(
  backups: readonly BackupFacts[],
  point: BackupPoint,
  modifier: DeleteModifier,
  order: OrderOptions,
): BackupFacts | null {
  const oldestFirst = inOrder(backups, order.byStartTime);
  const found =
    point.kind === "name"
      ? oldestFirst.findLast((backup) => isNamed(backup, point.name))
      : oldestFirst.find((backup) => reaches(backup, point, order));
  if (found === undefined) {
    if (point.kind === "time") return null;
    throw new DeleteError(
      "not found",
      `give a name from \`backup-list\`, or a time with its zone; "${point.name}" is neither`,
    );
  }
  return modifier === null ? mustBeFull(found, modifier) : fullAtOrBefore([...oldestFirst].reverse(), found);
}

/** The backups that `target` removes: the named one and what is built on it, or with FIND_FULL its whole family. Throws DeleteError when one is permanent. */
export function targetFamily(
  backups: readonly BackupFacts[],
  name: string,
  modifier: DeleteModifier,
): readonly BackupFacts[] {
  const backup = backups.find((other) => other.name === name);
  if (backup === undefined) {
    throw new DeleteError(`Backup '${name}' does not exist.`, "give a name from `backup-list`");
  }
  const root = modifier === null ? backup.name : (backup.full ?? backup.name);
  const family = withDeltas([root, backup.name], backups);
  const chosen = backups.filter((other) => family.has(other.name));
  const permanent = chosen.filter((other) => other.permanent).map((other) => other.name);
  if (permanent.length > 0) {
    throw new DeleteError(
      `cannot delete permanent backups=[${permanent.join(" ")}]`,
      "first take the mark away: `backup-mark --impermanent NAME`",
      "PERMANENT_BACKUP",
    );
  }
  return chosen;
}

/** The oldest backup that is not permanent, by start time; null when there is none. */
export function garbageTarget(backups: readonly BackupFacts[]): BackupFacts | null {
  const eligible = backups.filter((backup) => !backup.permanent);
  return inOrder(eligible, true)[0] ?? null;
}

/** The backup whose user data equals `wanted` (parsed JSON). Throws DeleteError for none or more than one. */
export function byUserData(
  backups: readonly BackupFacts[],
  isEqual: (userData: unknown) => boolean,
  wanted: string,
): BackupFacts {
  const found = backups.filter((backup) => isEqual(backup.userData));
  if (found.length === 0)
    throw new DeleteError("Requested backup was not found", `no backup has the user data ${wanted}`);
  if (found.length > 1) {
    throw new DeleteError(
      `too many backups (${found.length}) found with specified user data: ${found.map((backup) => backup.name).join(" ")}`,
      "name the backup instead",
    );
  }
  return found[0]!;
}

/** The newest full backup at or before `backup` in the row that is also its own base's full, so that its chain stays whole. */
function fullAtOrBefore(newestFirst: readonly BackupFacts[], backup: BackupFacts): BackupFacts | null {
  const from = newestFirst.indexOf(backup);
  const chain = withBases([backup.name], newestFirst);
  return (
    newestFirst.slice(from).find((other) => isFull(other) && (isFull(backup) || chain.has(other.name))) ??
    newestFirst.slice(from).find(isFull) ??
    null
  );
}

function mustBeFull(backup: BackupFacts, modifier: DeleteModifier): BackupFacts {
  if (isFull(backup) || modifier !== null) return backup;
  throw new DeleteError(
    `${backup.name}_backup_stop_sentinel.json is incremental and it's predecessors cannot be deleted. Consider FIND_FULL option.`,
    "put FIND_FULL before the number or name: the full backup under it is then kept too",
  );
}

const isFull = (backup: BackupFacts): boolean => backup.base === null;

const isNamed = (backup: BackupFacts, name: string): boolean =>
  `${backup.name}_backup_stop_sentinel.json`.startsWith(name);

function reaches(backup: BackupFacts, point: BackupPoint, order: OrderOptions): boolean {
  if (point.kind === "name") return isNamed(backup, point.name);
  const time = order.byStartTime ? (backup.startedNs ?? backup.modifiedNs) : backup.modifiedNs;
  return compareNs(time, point.ns) >= 0;
}
