// `wal-g st get`, `cat`, `put`, `rm`: single objects, sealed and opened on the way.

import { createReadStream } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { AppError, messageOf } from "../../base/errors.ts";
import { extensionOf, methodOfExtension, type ReadMethod } from "../../codec/compression.ts";
import { noCipher } from "../../codec/encryption.ts";
import { openStream, sealStream } from "../../codec/seal.ts";
import type { ObjectBody, ObjectStore } from "../../storage/object-store.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { UsageError } from "./flags.ts";
import { absentObject, keyOf, matching } from "./st.ts";

export const ST_GET: WalgCommand = {
  path: "st get",
  summary: "Downloads an object",
  use: "get relative_object_path destination_path",
  examples: ["wal-g st get wal_005/000000010000000000000001.lz4 ./segment"],
  flags: [
    { name: "no-decompress", kind: "bool", usage: "Do not decompress the object" },
    { name: "no-decrypt", kind: "bool", usage: "Do not decrypt the object" },
  ],
  check: argumentCount(2, 2),
  run: get,
};

export const ST_CAT: WalgCommand = {
  path: "st cat",
  summary: "Prints an object",
  use: "cat relative_object_path",
  examples: ["wal-g st cat --decrypt --decompress wal_005/00000002.history.lz4"],
  flags: [
    { name: "decompress", kind: "bool", usage: "Decompress the object" },
    { name: "decrypt", kind: "bool", usage: "Decrypt the object" },
  ],
  check: argumentCount(1, 1),
  run: cat,
};

export const ST_PUT: WalgCommand = {
  path: "st put",
  summary: "Uploads a file",
  use: "put local_path destination_path",
  examples: ["wal-g st put ./notes.txt notes.txt --no-compress", "tar c . | wal-g st put -s backup.tar"],
  flags: [
    { name: "force", short: "f", kind: "bool", usage: "Overwrite the object if it exists" },
    { name: "no-compress", kind: "bool", usage: "Do not compress the object" },
    { name: "no-encrypt", kind: "bool", usage: "Do not encrypt the object" },
    { name: "read-stdin", short: "s", kind: "bool", usage: "Read the object from standard input" },
  ],
  check: (args, flags, clock) => {
    const count = flags.isOn("read-stdin") ? 1 : 2;
    argumentCount(count, count)(args, flags, clock);
  },
  run: put,
};

export const ST_RM: WalgCommand = {
  path: "st rm",
  summary: "Removes an object, or with a slash at the end everything below",
  use: "rm prefix",
  examples: ["wal-g st rm notes.txt.lz4", "wal-g st rm old/"],
  flags: [
    { name: "all-versions", kind: "bool", usage: "Accepted; what a versioned bucket keeps stays there" },
    { name: "version-id", kind: "string", usage: "Refused: versions are the bucket's own affair" },
  ],
  check: argumentCount(1, 1),
  run: remove,
};

async function get(call: Call): Promise<number> {
  const { args, flags } = call;
  const key = keyOf(args[0]!);
  const body = await opened(call, key, !flags.isOn("no-decrypt"), !flags.isOn("no-decompress"));
  const target = args[1]!;
  const file = await open(target, "wx").catch((error: unknown) => {
    throw new AppError(`could not create "${target}": ${messageOf(error)}`, {
      code: "DESTINATION",
      hint: "an existing file is never overwritten: remove it or choose another name",
    });
  });
  try {
    await pipeline(body, file.createWriteStream({ flush: true }));
  } catch (error) {
    await rm(target, { force: true });
    throw error;
  }
  return 0;
}

async function cat(call: Call): Promise<number> {
  const { args, flags } = call;
  const body = await opened(call, keyOf(args[0]!), flags.isOn("decrypt"), flags.isOn("decompress"));
  await pipeline(body, process.stdout, { end: false });
  return 0;
}

async function opened(
  call: Call,
  key: string,
  decrypts: boolean,
  decompresses: boolean,
): Promise<AsyncIterable<Uint8Array>> {
  const store = await call.openStore();
  const object = await store.get(key, call.signal);
  if (object === null) throw absentObject(key);
  const cipher = decrypts ? (await call.openCodec()).cipher : noCipher;
  return openStream(object.body, decompresses ? methodOf(object, call) : "none", cipher);
}

/** By the name's ending; what is unknown stays as it is, as in WAL-G. */
function methodOf({ key }: ObjectBody, { log }: Call): ReadMethod {
  const name = key.slice(key.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  const method = dot < 0 ? "none" : methodOfExtension(name.slice(dot + 1));
  if (method === null)
    log.warn(`decompressor for extension '${name.slice(dot + 1)}' was not found (uncompressed)`);
  return method ?? "none";
}

async function put(call: Call): Promise<number> {
  const { args, flags, signal, log } = call;
  const store = await call.openStore();
  const { compression, cipher } = await call.openCodec();
  const isFromStdin = flags.isOn("read-stdin");
  const method = flags.isOn("no-compress") ? "none" : compression.method;
  const extension = extensionOf(method);
  const bare = keyOf(args[isFromStdin ? 0 : 1]!);
  const key = extension === "" ? bare : `${bare}.${extension}`;
  await refuseOfLog(store, key, signal);
  if (!flags.isOn("force") && (await store.head(key, signal)) !== null) {
    throw new AppError(`object ${key} already exists`, {
      code: "OBJECT_EXISTS",
      hint: "give --force to overwrite it",
    });
  }
  const source = isFromStdin ? process.stdin : createReadStream(await readable(args[0]!));
  const codec = {
    compression: method === "none" ? ({ method } as const) : compression,
    cipher: flags.isOn("no-encrypt") ? noCipher : cipher,
  };
  await store.put(key, sealStream(source as AsyncIterable<Uint8Array>, codec), signal);
  log.info(`uploaded ${key}`);
  return 0;
}

async function readable(path: string): Promise<string> {
  try {
    if ((await stat(path)).isFile()) return path;
  } catch (error) {
    throw new AppError(`open local file: ${messageOf(error)}`, { code: "SOURCE", hint: "check the path" });
  }
  throw new UsageError(`"${path}" is not a file`);
}

async function remove(call: Call): Promise<number> {
  const { args, flags, signal, log } = call;
  if (flags.has("version-id")) throw new UsageError("--version-id: single versions are not removed");
  const store = await call.openStore();
  const keys = await chosenKeys(store, args[0]!, flags.isOn("glob"), signal);
  if (keys.length === 0) throw absentObject(args[0]!);
  for (const key of keys) await refuseOfLog(store, key, signal);
  await store.delete(keys, signal);
  log.info(`removed ${keys.length} objects`);
  return 0;
}

async function chosenKeys(
  store: ObjectStore,
  path: string,
  isPattern: boolean,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (isPattern) return (await matching(store, path, signal)).map(({ key }) => key);
  const key = path.replace(/^\/+/, "");
  if (!key.endsWith("/") && key !== "") return (await store.head(key, signal)) === null ? [] : [key];
  const keys: string[] = [];
  for await (const info of store.list(key, signal)) keys.push(info.key);
  return keys;
}

/** The tail log, and WAL where there is one, belong to the log's owner: nothing goes around it. */
async function refuseOfLog(
  store: Pick<ObjectStore, "list">,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  const isLog = key.startsWith(TAIL_FOLDER);
  if (!isLog && !(key.startsWith("wal_005/") && (await hasTailLog(store, signal)))) return;
  throw new AppError(`"${key}" belongs to the tail log of this prefix and is not touched by hand`, {
    code: "TAIL_LOG",
    hint: "the log's owner writes and removes these objects; to be rid of a whole cluster, empty the prefix with the store's own tools",
  });
}

/** True when a Holdfast cluster streams into this prefix, or has done so. */
export async function hasTailLog(store: Pick<ObjectStore, "list">, signal: AbortSignal): Promise<boolean> {
  for await (const _ of store.list(TAIL_FOLDER, signal)) return true;
  return false;
}

const TAIL_FOLDER = "tail_v1/";
