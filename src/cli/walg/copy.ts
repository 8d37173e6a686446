// `wal-g copy`: backups with the WAL that they need, from one store to another, byte for byte.

import { segmentRuns } from "../../archive/gaps.ts";
import { listWal, type WalObject } from "../../archive/wal-catalog.ts";
import { type BackupFacts, comparePlaces, withBases } from "../../backup/backup-facts.ts";
import { backupOf } from "../../backup/delete-plan.ts";
import { readBackupFacts } from "../../backup/read-facts.ts";
import { AppError } from "../../base/errors.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { segmentName } from "../../wal/segment-name.ts";
import { argumentCount, type Call, type FlagValues, type WalgCommand } from "./command.ts";
import { copyAll, type CopyItem, listAll, missingAt } from "./copy-objects.ts";
import { UsageError } from "./flags.ts";
import { hasTailLog } from "./st-objects.ts";
import { settingsOfFile, storeOfFile } from "./storages.ts";

export const COPY: WalgCommand = {
  path: "copy",
  summary: "Copies backups and the WAL that they need to another storage",
  use: "copy",
  examples: [
    "wal-g copy --from old.json --to new.json",
    "wal-g copy --from old.json --to new.json --backup-name LATEST --with-history",
  ],
  flags: [
    { name: "backup-name", short: "b", kind: "string", usage: "Copy this backup (or LATEST) instead of all" },
    { name: "from", short: "f", kind: "string", usage: "Configuration file of the storage to copy from" },
    { name: "to", short: "t", kind: "string", usage: "Configuration file of the storage to copy to" },
    { name: "with-history", short: "w", kind: "bool", usage: "Copy all WAL from the backup on" },
  ],
  check: (args, flags, clock) => {
    argumentCount(0, 0)(args, flags, clock);
    for (const name of ["from", "to"]) {
      if (!flags.has(name)) throw new UsageError(`required flag(s) "${name}" not set`);
    }
  },
  run: copy,
};

async function copy(call: Call): Promise<number> {
  const { flags, settings, log, signal } = call;
  const tools = { clock: call.clock, log };
  const from = await storeOfFile(flags.text("from")!, settings, tools);
  const to = await storeOfFile(flags.text("to")!, settings, tools);
  const { segmentBytes } = await settingsOfFile(flags.text("from")!, settings);
  if (await hasTailLog(to, signal)) {
    throw new AppError(`${to.name} has a tail log: only its owner writes there`, {
      code: "TAIL_LOG",
      hint: "copy to a prefix of its own and restore from it with RESTORE_FROM",
    });
  }
  const backups = await readBackupFacts(from, segmentBytes, signal);
  const chosen = chosenBackups(backups, flags);
  const items = [
    ...(await backupItems(from, chosen, signal)),
    ...(await walItems(from, chosen, flags.isOn("with-history"), segmentBytes, signal)),
  ];
  const missing = await missingAt(to, items, signal);
  log.info(`copying ${missing.length} of ${items.length} objects`, { from: from.name, to: to.name });
  await copyAll(missing, { from, to, log, signal });
  log.info(`Success copied ${chosen.length} backups`);
  return 0;
}

/** The asked backups with their bases, oldest first. */
function chosenBackups(backups: readonly BackupFacts[], flags: FlagValues): readonly BackupFacts[] {
  const asked = flags.text("backup-name");
  const newest = backups.toSorted((a, b) => (a.modifiedNs < b.modifiedNs ? -1 : 1)).at(-1);
  const start = asked?.toUpperCase() === "LATEST" ? newest : backups.find(({ name }) => name === asked);
  if (asked !== undefined && start === undefined) {
    throw new AppError(`Backup '${asked}' does not exist.`, {
      code: "BACKUP_MISSING",
      hint: "give a name from `backup-list`",
    });
  }
  const names = withBases(start === undefined ? backups.map(({ name }) => name) : [start.name], backups);
  const chosen = backups.filter(({ name }) => names.has(name));
  const broken = chosen.find(({ base }) => base !== null && !names.has(base));
  if (broken !== undefined) {
    throw new AppError(`"${broken.name}" is built on "${broken.base}", which is missing`, {
      code: "BACKUP_MISSING",
      hint: "such a delta cannot be restored; name another backup",
    });
  }
  return chosen.toSorted(comparePlaces);
}

/** Objects of the backups; sentinels in order of the backups, so that bases come first and LATEST stays the latest. */
async function backupItems(
  from: ObjectStore,
  chosen: readonly BackupFacts[],
  signal: AbortSignal,
): Promise<CopyItem[]> {
  const byName = Map.groupBy(
    await listAll(from, "basebackups_005/", signal),
    ({ key }) => backupOf(key) ?? "",
  );
  const inTime = chosen.toSorted((a, b) => (a.modifiedNs < b.modifiedNs ? -1 : 1));
  return inTime.flatMap(({ name }) => byName.get(name) ?? []);
}

async function walItems(
  from: ObjectStore,
  chosen: readonly BackupFacts[],
  withHistory: boolean,
  segmentBytes: number,
  signal: AbortSignal,
): Promise<CopyItem[]> {
  const objects: WalObject[] = [];
  for await (const object of listWal(from, segmentBytes, signal)) objects.push(object);
  const segments = objects.flatMap((object) =>
    object.meaning.kind === "segment" ? [object.meaning.segment] : [],
  );
  const runs = segmentRuns(segments);
  const isPresent = (timeline: number, number: bigint): boolean =>
    runs.some((run) => run.timeline === timeline && run.first <= number && number <= run.last);
  for (const backup of chosen) {
    const { first, last } = spanOf(backup, segmentBytes);
    for (let number = first; number <= last; number += 1n) {
      if (isPresent(backup.timeline, number)) continue;
      throw new AppError(
        `backup "${backup.name}" needs segment "${segmentName({ timeline: backup.timeline, number }, segmentBytes)}", which is missing`,
        { code: "WAL_MISSING", hint: "`wal-verify integrity` shows what is missing; nothing was copied" },
      );
    }
  }
  return objects.filter((object) => isNeeded(object, chosen, withHistory, segmentBytes));
}

function isNeeded(
  { meaning }: WalObject,
  chosen: readonly BackupFacts[],
  withHistory: boolean,
  segmentBytes: number,
): boolean {
  if (meaning.kind === "history") return true;
  const { timeline, number } = meaning.segment;
  return chosen.some((backup) => {
    const { first, last } = spanOf(backup, segmentBytes);
    if (withHistory) return number >= first && timeline >= backup.timeline;
    return timeline === backup.timeline && number >= first && number <= last;
  });
}

/** From the segment that holds the byte before the start to that of the end, as WAL-G copies it. */
function spanOf(
  { startLsn, finishLsn, segment }: BackupFacts,
  segmentBytes: number,
): { readonly first: bigint; readonly last: bigint } {
  const size = BigInt(segmentBytes);
  const first = startLsn === null || startLsn === 0n ? segment : (startLsn - 1n) / size;
  return { first, last: finishLsn === null ? first : finishLsn / size };
}
