// `wal-g backup-push`: a full or delta backup of a running server.

import { hostname } from "node:os";
import { resolve } from "node:path";
import { type Json, parseLossless } from "../../base/lossless-json.ts";
import type { BackupSelector } from "../../backup/catalog.ts";
import type { PushResult, PushSettings, PushTools } from "../../backup/push.ts";
import { TARGET_STORAGE } from "./backup-list.ts";
import { argumentCount, type Call, type FlagValues, type Settings, type WalgCommand } from "./command.ts";
import { parseDuration, UsageError } from "./flags.ts";

export const BACKUP_PUSH: WalgCommand = {
  path: "backup-push",
  summary: "Makes backup and uploads it to storage",
  use: "backup-push [db_directory]",
  examples: [
    "wal-g backup-push $PGDATA",
    "wal-g backup-push $PGDATA --full --permanent",
    "wal-g backup-push                # over the replication protocol, without access to the files",
  ],
  flags: [
    {
      name: "add-user-data",
      kind: "string",
      usage: "Write the provided user data to the backup sentinel and metadata files.",
    },
    {
      name: "copy-composer",
      short: "c",
      kind: "bool",
      usage: "Accepted; a full backup is made without copying old parts",
    },
    { name: "database-composer", short: "b", kind: "bool", usage: "Accepted; parts are composed as always" },
    {
      name: "delta-from-name",
      kind: "string",
      usage: "Select the backup specified by name as the target for the delta backup",
    },
    {
      name: "delta-from-user-data",
      kind: "string",
      usage: "Select the backup specified by UserData as the target for the delta backup",
    },
    { name: "full", short: "f", kind: "bool", usage: "Make full backup-push" },
    { name: "permanent", short: "p", kind: "bool", usage: "Pushes permanent backup" },
    { name: "rating-composer", short: "r", kind: "bool", usage: "Accepted; parts are composed as always" },
    {
      name: "store-all-corrupt",
      short: "s",
      kind: "bool",
      usage: "Store all corrupt blocks found during page checksum verification",
    },
    TARGET_STORAGE,
    { name: "verify", short: "v", kind: "bool", usage: "Verify page checksums" },
    {
      name: "without-files-metadata",
      kind: "bool",
      usage: "Do not track files metadata, significantly reducing memory usage",
    },
  ],
  check: argumentCount(0, 1),
  run: push,
};

async function push(call: Call): Promise<number> {
  const { args, settings, log } = call;
  const store = await call.openStore();
  const { compression } = await call.openCodec();
  const cipherKey = await call.openKey();
  const [{ serverOf }, { progressShower }] = await Promise.all([
    import("./server.ts"),
    import("./progress.ts"),
  ]);
  const server = await serverOf(settings);
  const tools = {
    ...call,
    store,
    compression,
    cipherKey,
    server,
    onProgress: progressShower(call, "backup"),
  };
  const directory = args[0];
  const result =
    directory === undefined
      ? await pushRemotely(call, tools)
      : await (
          await import("../../backup/push.ts")
        ).pushBackup(pushSettings(call, resolve(directory)), tools);
  if (result.corrupt.size > 0)
    log.warn("pages with wrong checksums are in the backup as they are", { files: result.corrupt.size });
  log.info(`Wrote backup with name ${result.name} to storage default`);
  return 0;
}

/** Without a directory: everything comes from the server over the replication protocol. */
async function pushRemotely(call: Call, tools: PushTools): Promise<PushResult> {
  const settings = pushSettings(call, "");
  const { log } = call;
  if (settings.candidate.kind !== "latest")
    throw new UsageError(
      "a base for a delta is named, and no data directory is given",
      "a backup over the replication protocol is always full",
    );
  log.info("Running remote backup through Postgres connection.");
  if (settings.maxSteps > 0 && !settings.isForcedFull)
    log.info("a backup over the replication protocol is always full; with [db_directory] it may be a delta");
  const { pushRemoteBackup } = await import("../../backup/push-remote.ts");
  return pushRemoteBackup({ ...settings, uploadQueue: call.settings.count("WALG_UPLOAD_QUEUE", 2) }, tools);
}

/** What flags and settings ask of a backup. */
export function pushSettings({ flags, settings }: Call, dataDirectory: string): PushSettings {
  const diskLimit = settings.count("WALG_DISK_RATE_LIMIT", 0);
  const isTurbo = flags.isOn("turbo");
  return {
    dataDirectory,
    hostname: hostname(),
    thresholdBytes: settings.count("WALG_TAR_SIZE_THRESHOLD", 1_073_741_823),
    concurrency: isTurbo ? 4 : Math.max(1, settings.count("WALG_UPLOAD_DISK_CONCURRENCY", 1)),
    verifiesPages: flags.isOn("verify") || isOnUnlessSet(settings, "WALG_VERIFY_PAGE_CHECKSUMS"),
    keepsAllCorrupt: flags.isOn("store-all-corrupt") || settings.isOn("WALG_STORE_ALL_CORRUPT_BLOCKS"),
    hasFilesMetadata: !flags.isOn("without-files-metadata") && !settings.isOn("WALG_WITHOUT_FILES_METADATA"),
    hasDatabaseNames: !settings.isOn("WALG_DISABLE_PARTIAL_RESTORE"),
    diskBytesPerSecond: diskLimit === 0 || isTurbo ? null : diskLimit,
    userData:
      jsonOf(flags.text("add-user-data") ?? settings.text("WALG_SENTINEL_USER_DATA"), "user data") ?? null,
    archiveTimeoutMs: durationOf(settings, "WALG_STOP_BACKUP_TIMEOUT", null),
    aliveCheckMs: durationOf(settings, "WALG_ALIVE_CHECK_INTERVAL", 60_000) ?? 60_000,
    ...baseSettings(flags, settings),
  };
}

function baseSettings(
  flags: FlagValues,
  settings: Settings,
): Pick<PushSettings, "candidate" | "maxSteps" | "origin" | "isForcedFull" | "isPermanent"> {
  const origin = settings.text("WALG_DELTA_ORIGIN") ?? "LATEST";
  if (origin !== "LATEST" && origin !== "LATEST_FULL") {
    throw new UsageError(`unknown WALG_DELTA_ORIGIN: ${origin}`, "LATEST or LATEST_FULL");
  }
  const isComposed =
    ["copy-composer"].some((name) => flags.isOn(name)) || settings.isOn("WALG_USE_COPY_COMPOSER");
  return {
    candidate: candidateOf(flags, settings),
    maxSteps: settings.count("WALG_DELTA_MAX_STEPS", 0),
    origin,
    isForcedFull: flags.isOn("full") || isComposed,
    isPermanent: flags.isOn("permanent"),
  };
}

function candidateOf(flags: FlagValues, settings: Settings): BackupSelector {
  const name = flags.text("delta-from-name") ?? settings.text("WALG_DELTA_FROM_NAME");
  const userData = flags.text("delta-from-user-data") ?? settings.text("WALG_DELTA_FROM_USER_DATA");
  if (name !== undefined && userData !== undefined) {
    throw new UsageError(
      "only one delta target should be specified",
      "name the base or its user data, not both",
    );
  }
  if (name !== undefined)
    return name.toUpperCase() === "LATEST" ? { kind: "latest" } : { kind: "name", name };
  const wanted = jsonOf(userData, "user data of the delta's base");
  return wanted === undefined ? { kind: "latest" } : { kind: "user-data", userData: wanted };
}

/** Parsed JSON. Throws UsageError. */
export function jsonOf(text: string | undefined, what: string): Json | undefined {
  if (text === undefined) return undefined;
  try {
    return parseLossless(text);
  } catch {
    throw new UsageError(`the ${what} ${text} is not JSON`, "a text needs quotes of its own: '\"nightly\"'");
  }
}

const isOnUnlessSet = (settings: Settings, name: string): boolean =>
  settings.text(name) === undefined || settings.isOn(name);

function durationOf(settings: Settings, name: string, otherwise: number | null): number | null {
  const text = settings.text(name);
  if (text === undefined) return otherwise;
  const ms = parseDuration(text);
  if (ms === null) throw new UsageError(`${name}: "${text}" is no duration, such as 60s or 5m`);
  return ms;
}
