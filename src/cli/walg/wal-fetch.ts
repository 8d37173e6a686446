// `wal-g wal-fetch`: restore_command. 0: the file is there, whole and durable. 74: the archive proves that it has none. 255: doubt, Postgres must stop.

import { access, realpath, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { WalCatalog } from "../../archive/wal-catalog.ts";
import { AppError, EXIT, messageOf } from "../../base/errors.ts";
import { retry } from "../../base/retry.ts";
import { StoreError } from "../../storage/object-store.ts";
import { parseWalName } from "../../wal/segment-name.ts";
import { TARGET_STORAGE } from "./backup-list.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { hasTailLog } from "./st-objects.ts";
import { PrefetchFolder } from "./prefetch-folder.ts";

export const WAL_FETCH: WalgCommand = {
  path: "wal-fetch",
  summary: "Fetches a WAL file from storage",
  use: "wal-fetch wal_name destination_filename",
  examples: ["restore_command = 'wal-g wal-fetch %f %p'"],
  flags: [TARGET_STORAGE],
  check: argumentCount(2, 2),
  run: (call) => doubtUnlessAbsent(call, fetchWal),
};

export const WAL_PREFETCH: WalgCommand = {
  path: "wal-prefetch",
  summary: "Fetches the WAL files that follow one ahead of need",
  use: "wal-prefetch wal_name destination_filename",
  examples: [],
  flags: [TARGET_STORAGE],
  hidden: true,
  check: argumentCount(2, 2),
  run: async (call) => (await import("./wal-prefetch.ts")).prefetch(call),
};

/** Whatever goes wrong but a proven absence ends with 255: with 1 Postgres would take the archive for ended and might promote. */
async function doubtUnlessAbsent(call: Call, work: (call: Call) => Promise<number>): Promise<number> {
  try {
    return await work(call);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (error.exitStatus === EXIT.absent) throw error;
    throw new AppError(messageOf(error), {
      code: error.code,
      hint: error.hint,
      exitStatus: EXIT.doubt,
    });
  }
}

/** Fetches one file to its place. Throws AppError with status 74 where the archive proves that it has none. */
export async function fetchWal(call: Call): Promise<number> {
  const name = call.args[0]!;
  const target = await resolveTarget(call.args[1]!);
  await refuseExisting(target);
  const folder = PrefetchFolder.of(call.settings, target);
  const { segmentBytes } = call.settings;
  const meaning = parseWalName(name, segmentBytes);
  const { checkSegment } = await import("../../archive/wal-file-check.ts");
  const check = (bytes: Uint8Array): void => {
    if (meaning?.kind === "segment")
      checkSegment(bytes, meaning.segment, { segmentBytes, systemId: null, magic: null });
  };
  if (meaning?.kind === "segment" && (await folder.take(name, target, check))) {
    call.log.debug("served from the prefetched files", { name });
  } else await download(call, name, target, check);
  if (meaning?.kind === "segment") await startPrefetch(call, folder, name, target);
  return 0;
}

/** Links among the folders are followed, so that a rename stays on one file system. */
async function resolveTarget(given: string): Promise<string> {
  const path = resolve(given);
  return join(await realpath(dirname(path)).catch(() => dirname(path)), basename(path));
}

async function refuseExisting(target: string): Promise<void> {
  const exists = await access(target).then(
    () => true,
    () => false,
  );
  if (!exists) return;
  throw new AppError(`"${target}" exists already`, {
    code: "DESTINATION",
    hint: "an existing file is never overwritten: remove it first",
  });
}

async function download(
  call: Call,
  name: string,
  target: string,
  check: (bytes: Uint8Array) => void,
): Promise<void> {
  const { settings, clock, log, signal } = call;
  const store = await call.openStore();
  const { cipher, compression } = await call.openCodec();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
  const tools = { clock, log, signal: limit };
  const backoff = { firstMs: 200, mostMs: 3_000, tries: 6, totalMs: 20_000 };
  const { WalCatalog: Catalog } = await import("../../archive/wal-catalog.ts");
  const catalog = new Catalog({
    store,
    cipher,
    segmentBytes: settings.segmentBytes,
    likely: compression.method,
  });
  const file = await retry(
    `fetch ${name}`,
    () => readAny(catalog, store, name, limit, check),
    isPassing,
    backoff,
    tools,
  ).catch((error: unknown) => {
    signal.throwIfAborted();
    if (limit.aborted)
      throw new StoreError("unknown", `the store did not answer within ${LIMIT_MS / 1000} s`);
    throw error;
  });
  if (file === null) return await fromLog(call, name, target);
  const { serveBytes } = await import("../../archive/serve-file.ts");
  await serveBytes(file, target);
}

/** A file by its name; one that Postgres does not name so is looked for as it stands. */
async function readAny(
  catalog: Pick<WalCatalog, "read">,
  store: Awaited<ReturnType<Call["openStore"]>>,
  name: string,
  signal: AbortSignal,
  check: (bytes: Uint8Array) => void,
): Promise<Uint8Array | null> {
  if (/[/\\]/.test(name) || name === "" || name.startsWith(".")) {
    throw new AppError(`"${name}" is not the name of a WAL file`, { code: "USAGE", hint: "give %f" });
  }
  const file = await catalog.read(name, signal, check);
  if (file !== null) return file.bytes;
  // The listing has proven the absence; the store itself must be there too, or nothing is proven.
  for await (const _ of store.list("", signal)) break;
  return null;
}

/** What wal_005 lacks the tail log may hold: then the same rules as for the node's own restore_command apply. */
async function fromLog(call: Call, name: string, target: string): Promise<void> {
  const { settings, clock, log, signal } = call;
  const store = await call.openStore();
  if (!(await hasTailLog(store, signal))) throw absent(name);
  const { RestoreCommand } = await import("../../archive/restore-command.ts");
  const { cipher, compression } = await call.openCodec();
  const dataDirectory = dirname(dirname(target));
  const isStandby = await access(join(dataDirectory, "standby.signal")).then(
    () => true,
    () => false,
  );
  const spool = join(PrefetchFolder.of(settings, target).path, "log");
  const command = new RestoreCommand({
    source: {
      store,
      cipher,
      likely: compression.method,
      segmentBytes: settings.segmentBytes,
      systemId: null,
      magic: null,
      clock,
      log,
    },
    target: "latest",
    situation: isStandby ? "standby" : "restore",
    dataDirectory,
    spool,
    signal,
    patience: { firstMs: 200, mostMs: 2_000, tries: 8, totalMs: 20_000 },
  });
  const answer = await command.answer({ name, path: target }, signal);
  await command.close();
  await rm(spool, { recursive: true, force: true });
  if (answer.exit === 0) return;
  if (answer.exit === 1) throw absent(name, answer.sentence);
  throw new AppError(answer.sentence, {
    code: "WAL_DOUBT",
    hint: "Postgres must not go on without this file",
    exitStatus: EXIT.doubt,
  });
}

const absent = (name: string, because?: string): AppError =>
  new AppError(`Archive '${name}' does not exist.${because === undefined ? "" : ` (${because})`}`, {
    code: "WAL_ABSENT",
    hint: "at the end of the archive this is how it must be",
    exitStatus: EXIT.absent,
  });

/** Starts the look-ahead as a process of its own, unless one is at work or enough is there. */
async function startPrefetch(
  call: Call,
  folder: PrefetchFolder,
  name: string,
  target: string,
): Promise<void> {
  const depth = call.settings.count("WALG_DOWNLOAD_CONCURRENCY", 10);
  if (depth <= 1 || call.context.program !== "wal-g") return;
  if ((await folder.readyCount()) * 2 >= depth || (await folder.isBusy())) return;
  const { spawn } = await import("node:child_process");
  const child = spawn(process.execPath, [process.argv[1]!, "wal-prefetch", name, target], {
    detached: true,
    stdio: "ignore",
    env: call.settings.env,
  });
  child.on("error", () => undefined);
  child.unref();
}

const isPassing = (error: unknown): boolean => error instanceof StoreError && error.kind === "unknown";
const LIMIT_MS = 28_000;
