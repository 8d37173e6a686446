// Puts one WAL file into `wal_005`, as WAL-G does but create-only: what is there is compared, never replaced unless asked.

import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { WAL_FOLDER, WalCatalog } from "../../archive/wal-catalog.ts";
import { checkSegment } from "../../archive/wal-file-check.ts";
import type { Clock } from "../../base/clock.ts";
import { AppError, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { retry } from "../../base/retry.ts";
import { formatGoJson, formatInstant } from "../../backup/go-json.ts";
import { type Codec, seal, walObjectName } from "../../codec/seal.ts";
import { type ObjectStore, StoreError } from "../../storage/object-store.ts";
import { parseWalName } from "../../wal/segment-name.ts";

export interface WalPushTools {
  readonly store: ObjectStore;
  readonly codec: Codec;
  readonly segmentBytes: number;
  /** WALG_PREVENT_WAL_OVERWRITE; history files are protected in any case. */
  readonly preventsOverwrite: boolean;
  /** WALG_UPLOAD_WAL_METADATA=INDIVIDUAL. */
  readonly writesMetadata: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** What became of a file. */
export type WalPushOutcome = "stored" | "there already";

/**
 * Stores the file at `path` under its base name; when it resolves the object is durable. Throws AppError `WAL_CONFLICT` when
 * other bytes are there, `WAL_FILE` when the file is no whole segment, StoreError when the store does not take it.
 */
export async function pushWalFile(path: string, tools: WalPushTools): Promise<WalPushOutcome> {
  const name = basename(path);
  const bytes = await readWal(path);
  const outcome = await pushWalBytes(name, bytes, tools);
  if (outcome === "stored" && tools.writesMetadata) await pushMetadata(path, name, tools);
  return outcome;
}

/** As `pushWalFile`, for a file in memory. */
export async function pushWalBytes(
  name: string,
  bytes: Uint8Array,
  tools: WalPushTools,
): Promise<WalPushOutcome> {
  const { store, codec, segmentBytes, log, signal } = tools;
  checkWhole(name, bytes, segmentBytes);
  const catalog = new WalCatalog({
    store,
    cipher: codec.cipher,
    segmentBytes,
    likely: codec.compression.method,
  });
  const isProtected = tools.preventsOverwrite || name.endsWith(".history");
  const found = await withPatience(`look for ${name}`, (limit) => catalog.find(name, limit), tools);
  if (found.length > 0 && isProtected) return compare(name, bytes, catalog, tools);
  const key = `${WAL_FOLDER}${walObjectName(name, codec.compression.method)}`;
  const sealed = await seal(bytes, codec);
  if (!isProtected) await store.put(key, sealed, signal, { bytes: sealed.byteLength });
  else if ((await create(key, sealed, tools)) === "exists") return compare(name, bytes, catalog, tools);
  log.debug("WAL file stored", { name, bytes: sealed.byteLength });
  return "stored";
}

async function readWal(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new AppError(`could not read "${path}": ${messageOf(error)}`, {
      code: "WAL_FILE",
      hint: "archive_command hands over %p, which is relative to the data directory: check the working directory",
    });
  }
}

/** A segment must be whole and its own; other files are taken as they are, but never empty. */
function checkWhole(name: string, bytes: Uint8Array, segmentBytes: number): void {
  const meaning = parseWalName(name, segmentBytes);
  if (bytes.byteLength === 0) {
    throw new AppError(`"${name}" is empty: it is not archived`, {
      code: "WAL_FILE",
      hint: "an empty file would end every later restore at it",
    });
  }
  if (meaning?.kind !== "segment") return;
  if (bytes.byteLength !== segmentBytes) {
    throw new AppError(`"${name}" has ${bytes.byteLength} bytes, a segment has ${segmentBytes}`, {
      code: "WAL_FILE",
      hint: "set WALG_PG_WAL_SIZE (MiB) to the server's wal_segment_size",
    });
  }
  try {
    checkSegment(bytes, meaning.segment, { segmentBytes, systemId: null, magic: null });
  } catch (error) {
    throw new AppError(`the file "${name}" is not what its name says: ${messageOf(error)}`, {
      code: "WAL_FILE",
      hint: "look at the server's disk; the archive was not touched",
    });
  }
}

async function compare(
  name: string,
  bytes: Uint8Array,
  catalog: WalCatalog,
  tools: WalPushTools,
): Promise<WalPushOutcome> {
  const there = await catalog.read(name, tools.signal);
  if (there !== null && Buffer.compare(there.bytes, bytes) === 0) {
    tools.log.info(`WAL file '${name}' already archived with equal content, skipping`);
    return "there already";
  }
  throw new AppError(`WAL file '${name}' already archived, contents differ, unable to overwrite`, {
    code: "WAL_CONFLICT",
    hint: "another server archives into this prefix, or this one went back in time: give each cluster a prefix of its own",
  });
}

/** The same bytes again while the outcome is unknown: "exists" then means that an earlier try succeeded, or another's object. */
function create(key: string, sealed: Uint8Array, tools: WalPushTools): Promise<"created" | "exists"> {
  return retry(
    `create ${key}`,
    () => tools.store.create(key, sealed, tools.signal),
    isPassing,
    { firstMs: 200, mostMs: 3_000, tries: 8, totalMs: 15_000 },
    tools,
  );
}

/** Asks with a limit, so that a dead endpoint is told within half a minute. */
export function withPatience<T>(
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
  tools: { readonly clock: Clock; readonly log: Log; readonly signal: AbortSignal },
): Promise<T> {
  const limit = AbortSignal.timeout(DEAD_AFTER_MS);
  const signal = AbortSignal.any([tools.signal, limit]);
  return work(signal).catch((error: unknown) => {
    tools.signal.throwIfAborted();
    if (!limit.aborted) throw error;
    throw new StoreError("unknown", `the store did not answer within ${DEAD_AFTER_MS / 1000} s: ${what}`);
  });
}

async function pushMetadata(path: string, name: string, { store, signal }: WalPushTools): Promise<void> {
  const { mtimeNs } = await stat(path, { bigint: true });
  const body = { [name]: { created_time: formatInstant(mtimeNs), date_fmt: "%Y-%m-%dT%H:%M:%S.%fZ" } };
  await store.put(`${WAL_FOLDER}${name}.json`, new TextEncoder().encode(formatGoJson(body)), signal);
}

const isPassing = (error: unknown): boolean => error instanceof StoreError && error.kind === "unknown";
const DEAD_AFTER_MS = 20_000;
