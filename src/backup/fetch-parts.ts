// Fetches and unpacks parts, several at once, in bounded memory.

import { freePiece } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { AppError, asError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ProgressMeter } from "../base/progress.ts";
import { retry } from "../base/retry.ts";
import type { CipherKey } from "../codec/encryption.ts";
import { type ObjectStore, StoreError } from "../storage/object-store.ts";
import type { FetchPart, FetchStep } from "./fetch-plan.ts";
import { setOf } from "./fetch-plan.ts";
import type { Owner } from "./fetch-target.ts";
import type { FileTable } from "./files-metadata.ts";
import { BackupFormatError } from "./format-error.ts";
import { WorkerError } from "./thread-channel.ts";
import { ThreadPool } from "./thread-pool.ts";
import type { UnpackJob, UnpackNote, UnpackResult, WantedMember } from "./unpack-part.ts";

export interface FetchPartsTools {
  readonly store: Pick<ObjectStore, "get">;
  readonly cipherKey: CipherKey;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly meter: ProgressMeter;
  readonly owner: Owner | null;
  /** Tries more for a part; null: BACKOFF's own. */
  readonly retries: number | null;
  /** Keys of the parts that an earlier fetch brought through. */
  readonly done: ReadonlySet<string>;
  /** Notes that a part is through. */
  readonly onDone: (key: string) => Promise<void>;
}

/** A worker pool for fetches; dispose of it when the last step is done. */
export const makeUnpackPool = (size: number): ThreadPool<UnpackJob> =>
  new ThreadPool<UnpackJob>(new URL("./unpack-worker.ts", import.meta.url), size);

/**
 * Unpacks the parts of one backup into `root`, several at once, and tells `arrivals` which files came. A part that could
 * not be read to its end is tried again; a full disk, damage to an increment and whatever will not mend end the work.
 */
export async function fetchParts(
  root: string,
  step: FetchStep,
  parts: readonly FetchPart[],
  { pool, concurrency }: { readonly pool: ThreadPool<UnpackJob>; readonly concurrency: number },
  tools: FetchPartsTools,
  arrivals: Arrivals,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([tools.signal, failed.signal]);
  const waiting = parts.toSorted((a, b) => b.bytes - a.bytes).values();
  const lane = async (): Promise<void> => {
    for (const part of waiting) {
      signal.throwIfAborted();
      const listed = setOf(part.name, step.backup.files.tarFileSets);
      if (listed !== undefined && tools.done.has(part.key)) {
        arrivals.add(listed);
        tools.meter.add(part.bytes);
        continue;
      }
      await fetchWithRetry(root, step, part, pool, { ...tools, signal }, arrivals);
      if (listed !== undefined && arrivals.hasAll(listed)) await tools.onDone(part.key);
    }
  };
  const lanes = Array.from({ length: concurrency }, () =>
    lane().catch((error: unknown) => {
      failed.abort(error); // the other lanes must not go on for nothing
      throw error;
    }),
  );
  await Promise.allSettled(lanes);
  tools.signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
}

/** Which of the wanted files are still missing. */
export class Arrivals {
  readonly #wanted: ReadonlySet<string> | null;
  readonly #backup: string;
  readonly #arrived = new Set<string>();

  constructor({ wanted, backup }: FetchStep) {
    this.#wanted = wanted;
    this.#backup = backup.name;
  }

  add(names: readonly string[]): void {
    if (this.#wanted === null) return;
    for (const name of names) if (this.#wanted.has(name)) this.#arrived.add(name);
  }

  /** Has everything that is wanted of these names arrived? */
  hasAll(names: readonly string[]): boolean {
    return (
      this.#wanted === null || names.every((name) => !this.#wanted?.has(name) || this.#arrived.has(name))
    );
  }

  /** Throws BackupFormatError when a wanted file was in no part. */
  check(): void {
    if (this.#wanted === null || this.#arrived.size === this.#wanted.size) return;
    const missing = [...this.#wanted].filter((name) => !this.#arrived.has(name));
    const some = missing
      .slice(0, 3)
      .map((name) => `"${name}"`)
      .join(", ");
    throw new BackupFormatError(this.#backup, `no part holds ${missing.length} of its files: ${some}`);
  }
}

async function fetchWithRetry(
  root: string,
  step: FetchStep,
  part: FetchPart,
  pool: ThreadPool<UnpackJob>,
  tools: FetchPartsTools,
  arrivals: Arrivals,
): Promise<void> {
  const job = jobOf(root, step, part, tools);
  const holdsIncrements = job.take === null || job.take.some(({ isIncremented }) => isIncremented);
  let damages = 0;
  await retry(
    `fetch ${part.key}`,
    () => fetchOne(job, part, pool, tools, arrivals),
    (error) => {
      if (!isDamage(error)) return error instanceof StoreError && error.kind === "unknown";
      damages += 1;
      return !holdsIncrements && damages < DAMAGES_MOST;
    },
    tools.retries === null ? BACKOFF : { ...PATIENT, tries: tools.retries + 1 },
    tools,
  );
}

/** Damage may have happened under way; but an increment that was applied wrongly cannot be taken back. */
function isDamage(error: unknown): boolean {
  if (error instanceof StoreError) return error.kind === "damaged";
  return error instanceof WorkerError && error.code === "BACKUP_DAMAGED";
}

async function fetchOne(
  job: UnpackJob,
  part: FetchPart,
  pool: ThreadPool<UnpackJob>,
  { store, signal, meter, log }: FetchPartsTools,
  arrivals: Arrivals,
): Promise<void> {
  let countedBytes = 0;
  try {
    const result = await pool.run(
      job,
      async (channel) => {
        const object = await store.get(part.key, signal);
        if (object === null) throw new BackupFormatError(part.key, "vanished while it was to be fetched");
        const onAbort = (): void => channel.abort(asError(signal.reason));
        signal.addEventListener("abort", onAbort, { once: true });
        try {
          for await (const piece of object.body) {
            const { byteLength } = piece;
            await channel.write(piece); // which copies it
            freePiece(piece);
            countedBytes += byteLength;
            meter.add(byteLength);
          }
          channel.finish();
          return (await channel.result()) as UnpackResult;
        } finally {
          signal.removeEventListener("abort", onAbort);
        }
      },
      (note) => arrivals.add((note as UnpackNote).arrived),
    );
    for (const warning of result.warnings) log.warn(warning, { part: part.key });
  } catch (error) {
    meter.add(-countedBytes);
    throw isDiskFull(error) ? diskFull(job.root, error) : error;
  }
}

function jobOf(root: string, step: FetchStep, part: FetchPart, tools: FetchPartsTools): UnpackJob {
  const { backup, wanted, isNewest } = step;
  const { files, tarFileSets } = backup.files;
  const isListing = part.role !== "files" || tarFileSets.size > 0;
  const listed = part.role === "files" ? setOf(part.name, tarFileSets) : [];
  const names = listed ?? (isListing ? [] : null); // null: the backup does not tell which part holds what
  const expected =
    part.expected === null ? null : { bytes: part.expected.bytes, sha256: part.expected.sha256 };
  return {
    root,
    object: part.key,
    method: part.method,
    cipherKey: tools.cipherKey,
    expected,
    take: wanted === null ? null : members(names ?? wanted, wanted, files),
    known: names ?? [...files.names()],
    takesUtilities: isNewest,
    owner: tools.owner,
  };
}

function members(names: Iterable<string>, wanted: ReadonlySet<string>, files: FileTable): WantedMember[] {
  const list: WantedMember[] = [];
  for (const name of names) {
    const entry = wanted.has(name) ? files.get(name) : undefined;
    if (entry === undefined) continue;
    const mtimeSeconds =
      entry.mtime === 0n ? null : Number((entry.mtime + HALF_SECOND_NS) / (2n * HALF_SECOND_NS));
    list.push({ name, isIncremented: entry.isIncremented, mtimeSeconds });
  }
  return list;
}

const isDiskFull = (error: unknown): boolean =>
  ["ENOSPC", "EDQUOT"].includes((error as { code?: string } | null)?.code ?? "");

const diskFull = (directory: string, cause: unknown): AppError =>
  new AppError(`the disk under "${directory}" is full`, {
    code: "BACKUP_NO_SPACE",
    hint: "make room; the same command goes on or starts over",
    cause,
  });

/** The second time the same part is damaged, the store has it so. */
const DAMAGES_MOST = 2;
/** An unrecoverable restore is reported within two minutes. */
const BACKOFF = { firstMs: 500, mostMs: 10_000, tries: 4, totalMs: 60_000 } as const;
/** Whoever sets the number of retries decides how long it may take. */
const PATIENT = { firstMs: 500, mostMs: 60_000 } as const;
const HALF_SECOND_NS = 500_000_000n;
