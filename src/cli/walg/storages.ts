// The storages of the settings: the default one and those of WALG_FAILOVER_STORAGES.

import { resolve } from "node:path";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { openFolderStore } from "../../storage/folder-store.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { readStoreSettings } from "../settings.ts";
import { openStore, settingsWorld } from "../wiring.ts";
import { Settings } from "./command.ts";
import { readConfigFile } from "./config-file.ts";
import { FailoverStore, type NamedStore } from "../../storage/failover-store.ts";
import { parseDuration, UsageError } from "./flags.ts";

export interface StorageTools {
  readonly clock: Clock;
  readonly log: Log;
}

/** The store that a command works with: the one asked for by name, or all of them as one. */
export async function openTarget(
  settings: Settings,
  asked: string | undefined,
  tools: StorageTools,
): Promise<ObjectStore> {
  const members = await openStorages(settings, tools);
  if (asked !== undefined && asked !== "all") return memberNamed(members, asked).store;
  if (members.length === 1) return members[0]!.store;
  const text = settings.text("WALG_FAILOVER_STORAGES_CHECK_TIMEOUT") ?? "30s";
  const checkTimeoutMs = parseDuration(text);
  if (checkTimeoutMs === null)
    throw new UsageError(`WALG_FAILOVER_STORAGES_CHECK_TIMEOUT: "${text}" is no duration`);
  return new FailoverStore(members, { ...tools, checkTimeoutMs });
}

/** `default` first, then the failover storages in order of their names. */
export async function openStorages(settings: Settings, tools: StorageTools): Promise<readonly NamedStore[]> {
  const names = Object.entries(failovers(settings)).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const members = [{ name: "default", store: await openOne(settings.env, tools) }];
  for (const [name, own] of names) {
    members.push({ name, store: await openOne({ ...withoutPlace(settings.env), ...own }, tools) });
  }
  return members;
}

export function memberNamed(members: readonly NamedStore[], name: string): NamedStore {
  const member = members.find((other) => other.name === name);
  if (member !== undefined) return member;
  throw new UsageError(
    `there is no storage "${name}"`,
    `the storages are ${members.map((other) => other.name).join(", ")}`,
  );
}

/** The store of a configuration file, for copies; what the file does not say, keys for instance, the environment does. */
export async function storeOfFile(
  path: string,
  settings: Settings,
  tools: StorageTools,
): Promise<ObjectStore> {
  const file = await readConfigFile(path, undefined);
  return openOne({ ...withoutPlace(settings.env), ...file?.values }, tools);
}

/** The settings of a configuration file over the environment. */
export async function settingsOfFile(path: string, settings: Settings): Promise<Settings> {
  const file = await readConfigFile(path, undefined);
  return new Settings({ ...withoutPlace(settings.env), ...file?.values });
}

async function openOne(env: Settings["env"], tools: StorageTools): Promise<ObjectStore> {
  const { store } = readStoreSettings(environmentOfStore(env), settingsWorld);
  // The folder must be there: one that is not mounted must not look like an empty archive.
  if (store.kind === "folder") return openFolderStore(store.path);
  const limit = new Settings(env).count("WALG_NETWORK_RATE_LIMIT", 0);
  return openStore(store, {
    ...tools,
    bytesPerSecond: limit === 0 ? null : limit,
  });
}

/** As the settings of one store are read: WAL-G takes a folder relative to where it runs, and the other storages are no concern of one. */
export function environmentOfStore(env: Settings["env"]): Settings["env"] {
  const { WALG_FAILOVER_STORAGES: _, ...own } = env;
  const folder = new Settings(own).text("WALG_FILE_PREFIX");
  if (folder === undefined) return own;
  return { ...own, WALG_FILE_PREFIX: resolve(folder.replace(/^file:\/\/(localhost)?/, "")) };
}

/** Without what says where the store is. */
function withoutPlace(env: Settings["env"]): Settings["env"] {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^WAL[GE]_\w+_PREFIX$|^BUCKET_NAME$/.test(name)),
  );
}

function failovers(settings: Settings): Readonly<Record<string, Readonly<Record<string, string>>>> {
  const text = settings.text("WALG_FAILOVER_STORAGES");
  if (text === undefined) return {};
  try {
    const parsed = JSON.parse(text) as Record<string, Record<string, unknown>>;
    return Object.fromEntries(
      Object.entries(parsed).map(([name, own]) => [
        name,
        Object.fromEntries(
          Object.entries(own).map(([key, value]) => [
            key.toUpperCase(),
            typeof value === "string" ? value : JSON.stringify(value),
          ]),
        ),
      ]),
    );
  } catch {
    throw new UsageError(
      "WALG_FAILOVER_STORAGES is not a map of names to settings",
      "write it in the configuration file: NAME: {WALG_S3_PREFIX: …}",
    );
  }
}
