// `wal-g delete`: retain, before, target, everything, garbage. A dry run unless --confirm is given.

import type { BackupFacts } from "../../backup/backup-facts.ts";
import { announceDeletion } from "../../backup/delete.ts";
import {
  planBackups,
  planBefore,
  planEverything,
  planGarbage,
  deletionMark,
  unfinishedDeletions,
} from "../../backup/delete-plan.ts";
import {
  beforeTarget,
  byUserData,
  DeleteError,
  garbageTarget,
  retainTarget,
  targetFamily,
} from "../../backup/delete-target.ts";
import { segmentName } from "../../wal/segment-name.ts";
import { readBackupFacts } from "../../backup/read-facts.ts";
import { sameJson } from "./backups.ts";
import type { Call, WalgCommand } from "./command.ts";
import {
  checkBefore,
  checkTarget,
  modified,
  modifierOnly,
  pointOf,
  retainArguments,
} from "./delete-arguments.ts";
import { type Archive, finish, readArchiveKeys } from "./delete-finish.ts";
import { type Flag, UsageError } from "./flags.ts";

const RETAIN_EXAMPLES = [
  "retain 5                      keep 5 backups",
  "retain FULL 5                 keep 5 full backups and all deltas of them",
  "retain FIND_FULL 5            find necessary full for 5th and keep everything after it",
  "retain 5 --after 2019-12-12T12:12:12   keep 5 most recent backups and backups made after 2019-12-12 12:12:12",
];

/** Flags of `delete` that all its words take. */
export const DELETE_FLAGS: readonly Flag[] = [
  { name: "confirm", kind: "bool", usage: "Confirms backup deletion" },
  {
    name: "use-sentinel-time",
    kind: "bool",
    usage: "Use backup creation time from sentinel for backups ordering.",
  },
];

export const DELETE: WalgCommand = {
  path: "delete",
  summary: "Clears old backups and WALs",
  use: "delete",
  examples: [],
  flags: DELETE_FLAGS,
  check: () => undefined,
  run: () => Promise.resolve(0),
};

export const DELETE_RETAIN: WalgCommand = {
  path: "delete retain",
  summary: "Keeps the newest backups and removes the rest",
  use: "retain [FULL|FIND_FULL] backup_count",
  examples: RETAIN_EXAMPLES,
  flags: [{ name: "after", short: "a", kind: "string", usage: "Set the time after which retain backups" }],
  check: (args) => void retainArguments(args),
  run: (call) => withArchive(call, retain),
};

export const DELETE_BEFORE: WalgCommand = {
  path: "delete before",
  summary: "Removes everything before a backup or a time",
  use: "before [FIND_FULL] backup_name|timestamp",
  examples: [
    "before base_0123              keep everything after base_0123 including itself",
    "before FIND_FULL base_0123    keep everything after the base of base_0123",
  ],
  flags: [],
  check: checkBefore,
  run: (call) => withArchive(call, before),
};

export const DELETE_TARGET: WalgCommand = {
  path: "delete target",
  summary: "Removes one backup and all deltas that are built on it",
  use: "target [FIND_FULL] backup_name | --target-user-data <data>",
  examples: [
    "target base_0000000100000000000000C4                 delete base backup by name",
    "target FIND_FULL base_0000000100000000000000C9_D_0000000100000000000000C4    delete delta backup and all related backups",
    'target --target-user-data "{ \\"x\\": [3], \\"y\\": 4 }"     delete backup specified by user data',
  ],
  flags: [
    {
      name: "target-user-data",
      kind: "string",
      usage: "Delete the backup which has the specified user data",
    },
  ],
  check: checkTarget,
  run: (call) => withArchive(call, target),
};

export const DELETE_EVERYTHING: WalgCommand = {
  path: "delete everything",
  summary: "Removes all backups and WAL",
  use: "everything [FORCE]",
  examples: [
    "everything                \n\tdelete every backup only if there is no permanent backups",
    "everything FORCE          delete every backup include permanents",
  ],
  flags: [],
  check: (args) => void modifierOnly(args, ["FORCE"]),
  run: (call) => withArchive(call, everything),
};

export const DELETE_GARBAGE: WalgCommand = {
  path: "delete garbage",
  summary: "Removes leftovers that no backup needs",
  use: "garbage [ARCHIVES|BACKUPS]",
  examples: [
    "garbage           Deletes outdated WAL archives and leftover backups files from storage",
    "garbage ARCHIVES  Deletes only outdated WAL archives from storage",
    "garbage BACKUPS   Deletes only leftover backups files from storage",
  ],
  flags: [
    { name: "without-backup-check", kind: "bool", usage: "skip check for existing non-permanent backups" },
  ],
  check: (args) => void modifierOnly(args, ["ARCHIVES", "BACKUPS"]),
  run: (call) => withArchive(call, garbage),
};

async function withArchive(
  call: Call,
  work: (call: Call, archive: Archive) => Promise<number>,
): Promise<number> {
  const { log, settings, signal } = call;
  const store = await call.openStore();
  const { segmentBytes } = settings;
  log.info("Backup to delete will be searched in storages: [default]");
  log.info("retrieving permanent objects");
  const backups = await readBackupFacts(store, segmentBytes, signal);
  logPermanent(call, backups);
  const keys = await readArchiveKeys(store, signal);
  return work(call, { store, backups, keys, segmentBytes });
}

function logPermanent({ log, settings }: Call, backups: readonly BackupFacts[]): void {
  const permanent = backups.filter((backup) => backup.permanent);
  if (permanent.length === 0) return;
  const names = permanent.map(({ name }) => `{${name} default}:true`);
  const segments = permanent.flatMap((backup) => segmentsOf(backup, settings.segmentBytes));
  const wals = [...new Set(segments)].map((segment) => `{${segment} default}:true`);
  log.info(`Found permanent objects: backups=map[${names.join(" ")}], wals=map[${wals.join(" ")}]`);
}

function segmentsOf({ startLsn, finishLsn, timeline }: BackupFacts, segmentBytes: number): string[] {
  if (startLsn === null || finishLsn === null) return [];
  const size = BigInt(segmentBytes);
  const names: string[] = [];
  for (let number = (startLsn - 1n) / size; number <= (finishLsn - 1n) / size; number += 1n) {
    names.push(segmentName({ timeline, number }, segmentBytes));
  }
  return names;
}

async function retain(call: Call, archive: Archive): Promise<number> {
  const { modifier, count } = retainArguments(call.args);
  const byStartTime = call.flags.isOn("use-sentinel-time");
  const after = call.flags.text("after");
  const found = retainTarget(
    archive.backups,
    count,
    modifier,
    after === undefined ? null : pointOf(after, "--after"),
    { byStartTime },
  );
  return removeBefore(call, archive, found, byStartTime);
}

async function before(call: Call, archive: Archive): Promise<number> {
  const { modifier, rest } = modified(call.args, ["FIND_FULL"], 1);
  const byStartTime = call.flags.isOn("use-sentinel-time");
  const point = pointOf(rest[0]!, "the argument");
  const found = beforeTarget(archive.backups, point, modifier, { byStartTime });
  return removeBefore(call, archive, found, byStartTime);
}

async function removeBefore(
  call: Call,
  archive: Archive,
  found: BackupFacts | null,
  byStartTime: boolean,
): Promise<number> {
  if (found === null) {
    call.log.info("No backup found for deletion");
    return 0;
  }
  call.log.info("Start delete");
  return finish(call, archive, planBefore(found, archive, { byStartTime }));
}

async function target(call: Call, archive: Archive): Promise<number> {
  const { modifier, rest } = modified(call.args, ["FIND_FULL"], 0);
  const name = selectTarget(call, archive.backups, rest[0]);
  const isLeftover = !archive.backups.some((backup) => backup.name === name);
  const names = new Set(
    isLeftover && unfinishedDeletions(archive.keys).has(name)
      ? [name]
      : targetFamily(archive.backups, name, modifier).map((backup) => backup.name),
  );
  const plan = { ...planBackups(names, archive), marks: [...names].map(deletionMark) };
  if (call.flags.isOn("confirm")) {
    for (const gone of names) await announceDeletion(gone, archive.store, call.signal);
  }
  return finish(call, archive, plan, "basebackups_005/");
}

function selectTarget(
  { flags, log }: Call,
  backups: readonly BackupFacts[],
  name: string | undefined,
): string {
  const userData = flags.text("target-user-data");
  if (userData !== undefined) {
    log.info("Selecting the backup with the specified user data...");
    return byUserData(backups, jsonTest(userData), userData).name;
  }
  if (name?.toUpperCase() !== "LATEST") {
    log.info(`Selecting the backup with name ${name}...`);
    return name!;
  }
  log.info("Selecting the latest backup...");
  const latest = [...backups].sort((a, b) => (a.modifiedNs < b.modifiedNs ? 1 : -1))[0];
  if (latest === undefined) throw new DeleteError("No backups found", "there is nothing to delete");
  log.info(`LATEST backup is: '${latest.name}'`);
  return latest.name;
}

function jsonTest(userData: string): (value: unknown) => boolean {
  try {
    return sameJson(userData);
  } catch {
    throw new UsageError(`failed to unmarshal the provided UserData: "${userData}" is not JSON`);
  }
}

async function everything(call: Call, archive: Archive): Promise<number> {
  const isForced = modifierOnly(call.args, ["FORCE"]) !== null;
  const permanent = archive.backups.filter((backup) => backup.permanent).map((backup) => backup.name);
  if (permanent.length > 0) {
    const message = `Found permanent backups=[${permanent.join(" ")}]`;
    if (!isForced)
      throw new DeleteError(message, "`delete everything FORCE` removes them too", "PERMANENT_BACKUP");
    call.log.info(message);
  }
  return finish(call, archive, planEverything(archive));
}

async function garbage(call: Call, archive: Archive): Promise<number> {
  const { flags, log } = call;
  const word = modifierOnly(call.args, ["ARCHIVES", "BACKUPS"]);
  log.info(GARBAGE_MODES[word ?? ""]!);
  for (const { name, permanent } of archive.backups) {
    if (permanent)
      log.info(`Backup ${name} is permanent, it is not eligible to be selected as the oldest backup`);
  }
  const only = word === "ARCHIVES" ? "wal" : word === "BACKUPS" ? "backups" : undefined;
  const options = only === undefined ? {} : ({ only } as const);
  const oldest = garbageTarget(archive.backups) ?? (flags.isOn("without-backup-check") ? END_OF_ALL : null);
  if (oldest === null) {
    log.info("Couldn't find any non-permanent backups in storage.");
    log.info("Not doing anything.");
    return 0;
  }
  log.info("Start delete");
  return finish(call, archive, planGarbage(oldest, archive, options));
}

/** Without any backup to go by, everything that no permanent backup needs is garbage. */
const END_OF_ALL: BackupFacts = {
  name: "",
  timeline: 0xffff_ffff + 1,
  segment: 0n,
  modifiedNs: 0n,
  startedNs: null,
  finishedNs: null,
  startLsn: null,
  finishLsn: null,
  permanent: false,
  base: null,
  full: null,
  userData: null,
};

const GARBAGE_MODES: Readonly<Record<string, string>> = {
  "": "Running in default mode. Will remove outdated WAL files and leftover backup files.",
  ARCHIVES: "Archive-only mode selected. Will remove only outdated WAL files.",
  BACKUPS: "Backups-only mode selected. Will remove only leftover backup files.",
};
