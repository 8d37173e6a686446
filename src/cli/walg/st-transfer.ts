// `wal-g st copy` and `st transfer`: objects from one storage to another.

import { backupOf } from "../../backup/delete-plan.ts";
import { AppError } from "../../base/errors.ts";
import type { Codec } from "../../codec/seal.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { openCodec, settingsWorld } from "../wiring.ts";
import { readStoreSettings } from "../settings.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { copyAll, type CopyItem, copyOne, type CopyTools, listAll, missingAt } from "./copy-objects.ts";
import { type Flag, UsageError } from "./flags.ts";
import { memberNamed, settingsOfFile, storeOfFile, environmentOfStore } from "./storages.ts";

export const ST_COPY: WalgCommand = {
  path: "st copy",
  summary: "Copies objects by prefix between the storages of two configuration files",
  use: "copy",
  examples: ["wal-g st copy --from a.json --to b.json --prefix basebackups_005/"],
  flags: [
    { name: "from", kind: "string", usage: "Configuration file of the source" },
    { name: "to", kind: "string", usage: "Configuration file of the target" },
    { name: "prefix", short: "p", kind: "string", usage: "Beginning of the keys to copy" },
    { name: "decrypt-source", short: "d", kind: "bool", usage: "Decrypt with the source's key" },
    { name: "encrypt-source", short: "e", kind: "bool", usage: "Encrypt with the target's key" },
  ],
  check: (args, flags, clock) => {
    argumentCount(0, 0)(args, flags, clock);
    for (const name of ["from", "to"]) {
      if (!flags.has(name)) throw new UsageError(`required flag(s) "${name}" not set`);
    }
  },
  run: copyPrefix,
};

async function copyPrefix(call: Call): Promise<number> {
  const { flags, settings, log, signal } = call;
  const files = [flags.text("from")!, flags.text("to")!] as const;
  const [from, to] = await Promise.all(files.map((path) => storeOfFile(path, settings, call)));
  const prefix = flags.text("prefix") ?? "";
  const items = (await listAll(from!, prefix, signal)).filter(({ key }) => !key.startsWith("tail_v1/"));
  const tools = { from: from!, to: to!, log, signal };
  if (!flags.isOn("decrypt-source") && !flags.isOn("encrypt-source")) {
    await copyAll(await missingAt(to!, items, signal), tools);
  } else {
    const [source, target] = await Promise.all(files.map((path) => codecOf(path, call)));
    for (const item of items)
      await recrypt(
        item,
        tools,
        flags.isOn("decrypt-source") ? source! : null,
        flags.isOn("encrypt-source") ? target! : null,
      );
  }
  log.info(`copied ${items.length} objects`);
  return 0;
}

async function codecOf(path: string, { settings }: Call): Promise<Codec> {
  const { env } = await settingsOfFile(path, settings);
  return openCodec(readStoreSettings(environmentOfStore(env), settingsWorld).codec);
}

/** JSON objects are never encrypted and are copied as they are. */
async function recrypt(
  { key, bytes }: CopyItem,
  tools: CopyTools,
  source: Codec | null,
  target: Codec | null,
): Promise<void> {
  if (key.endsWith(".json")) return copyOne({ key, bytes }, tools);
  const object = await tools.from.get(key, tools.signal);
  if (object === null) throw vanished(key);
  const plain = source === null ? object.body : source.cipher.decrypt(object.body);
  await tools.to.put(key, target === null ? plain : target.cipher.encrypt(plain), tools.signal);
}

const vanished = (key: string): AppError =>
  new AppError(`"${key}" vanished while it was copied`, { code: "COPY_SOURCE", hint: "copy again" });

const TRANSFER_FLAGS: readonly Flag[] = [
  {
    name: "source",
    short: "s",
    kind: "string",
    usage: "Storage to move from: default, all, or a failover storage's name",
  },
  { name: "overwrite", short: "o", kind: "bool", usage: "Replace objects that exist at the target" },
  { name: "preserve", short: "p", kind: "bool", usage: "Keep the objects at the source" },
  { name: "fail-fast", kind: "bool", usage: "Stop at the first object that cannot be moved" },
  { name: "concurrency", short: "c", kind: "int", usage: "Objects moved at once" },
  { name: "max-files", short: "m", kind: "int", usage: "Move at most so many objects" },
  { name: "appearance-checks", kind: "int", usage: "Accepted; the stores show an object at once" },
  { name: "appearance-checks-interval", kind: "duration", usage: "Accepted; see appearance-checks" },
];

export const ST_TRANSFER: WalgCommand = {
  path: "st transfer",
  summary: "Moves objects between the storages of WALG_FAILOVER_STORAGES",
  use: "transfer",
  examples: [],
  flags: TRANSFER_FLAGS,
  check: () => undefined,
  run: () => Promise.resolve(0),
};

export const ST_TRANSFER_FILES: WalgCommand = {
  path: "st transfer files",
  summary: "Moves all objects below a prefix",
  use: "files prefix",
  examples: ["wal-g st transfer files wal_005/ --source failover --target default"],
  flags: [],
  check: argumentCount(1, 1),
  run: (call) => transfer(call, (from) => listAll(from, call.args[0]!.replace(/^\/+/, ""), call.signal)),
};

export const ST_TRANSFER_WALS: WalgCommand = {
  path: "st transfer pg-wals",
  summary: "Moves WAL segments and histories",
  use: "pg-wals",
  examples: ["wal-g st transfer pg-wals --source failover --target default"],
  flags: [],
  check: argumentCount(0, 0),
  run: (call) => transfer(call, (from) => listAll(from, "wal_005/", call.signal)),
};

export const ST_TRANSFER_BACKUPS: WalgCommand = {
  path: "st transfer backups",
  summary: "Moves backups, each whole",
  use: "backups [name]",
  examples: ["wal-g st transfer backups --source failover --target default --max-backups 2"],
  flags: [{ name: "max-backups", kind: "int", usage: "Move at most so many backups" }],
  check: argumentCount(0, 1),
  run: transferBackups,
};

/** Copies first, deletes after; of a backup the sentinel is copied last and deleted first. */
async function transfer(
  call: Call,
  list: (from: ObjectStore) => Promise<readonly CopyItem[]>,
): Promise<number> {
  const { from, to } = await ends(call);
  const limit = Number(call.flags.text("max-files") ?? Infinity);
  const items = (await list(from)).filter(({ key }) => !key.startsWith("tail_v1/")).slice(0, limit);
  const moved = await move(call, from, to, items);
  call.log.info(`${moved} objects moved`);
  return 0;
}

async function transferBackups(call: Call): Promise<number> {
  const { args, flags, log, signal } = call;
  const { from, to } = await ends(call);
  const byName = Map.groupBy(
    await listAll(from, "basebackups_005/", signal),
    ({ key }) => backupOf(key) ?? "",
  );
  const complete = [...byName]
    .filter(([name, items]) =>
      items.some(({ key }) => key === `basebackups_005/${name}_backup_stop_sentinel.json`),
    )
    .filter(([name]) => args[0] === undefined || args[0] === name)
    .slice(0, Number(flags.text("max-backups") ?? Infinity));
  for (const [, items] of complete) await move(call, from, to, items);
  log.info(`${complete.length} backups moved`);
  return 0;
}

async function ends(call: Call): Promise<{ readonly from: ObjectStore; readonly to: ObjectStore }> {
  const all = await call.openAllMembers();
  const [source, target] = [call.flags.text("source"), call.flags.text("target") ?? "default"];
  if (source === undefined) throw new UsageError('required flag(s) "source" not set');
  if (source === target) throw new UsageError("source and target must differ");
  return { from: memberNamed(all, source).store, to: memberNamed(all, target).store };
}

async function move(
  { flags, log, signal }: Call,
  from: ObjectStore,
  to: ObjectStore,
  items: readonly CopyItem[],
): Promise<number> {
  const tools = { from, to, log, signal };
  const wanted = flags.isOn("overwrite") ? items : await missingAt(to, items, signal);
  await copyAll(wanted, tools);
  if (!flags.isOn("preserve")) {
    const sentinels = items.filter(({ key }) => key.endsWith("_backup_stop_sentinel.json"));
    for (const { key } of sentinels) await from.delete([key], signal);
    await from.delete(
      items.map(({ key }) => key),
      signal,
    );
  }
  return wanted.length;
}
