// Packs and uploads the parts of a backup, several at once, in bounded memory.

import type { Clock } from "../base/clock.ts";
import { asError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ProgressMeter } from "../base/progress.ts";
import { retry } from "../base/retry.ts";
import { extensionOf } from "../codec/compression.ts";
import { type ObjectStore, StoreError } from "../storage/object-store.ts";
import { partsPrefix } from "./backup-name.ts";
import type { ManifestPart } from "./manifest.ts";
import type { PackResult } from "./pack-blocks.ts";
import type { PackJob, PackNote, PackedMember } from "./pack-part.ts";
import type { PlannedPart } from "./part-plan.ts";
import { ThreadPool } from "./thread-pool.ts";

export interface PartsTools {
  readonly store: Pick<ObjectStore, "put">;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly meter: ProgressMeter;
}

/** A part that is stored, and what went into it. */
export interface PushedPart {
  readonly part: ManifestPart;
  readonly members: readonly PackedMember[];
}

/** Everything of a job but the part's own files. */
export type PackTemplate = Omit<PackJob, "root" | "directories" | "files"> & { readonly root: string };

/**
 * Pushes the parts, `concurrency` at once. A part whose upload failed is packed again: what its files hold by then is
 * as good, as long as the backup has not ended on the server. Throws when a part fails for good.
 */
export async function pushParts(
  backup: string,
  parts: readonly PlannedPart[],
  template: PackTemplate,
  concurrency: number,
  tools: PartsTools,
  onPushed: (pushed: PushedPart) => void,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([tools.signal, failed.signal]);
  await using pool = new ThreadPool<PackJob>(new URL("./pack-worker.ts", import.meta.url), concurrency);
  const waiting = parts.values();
  const lane = async (): Promise<void> => {
    for (const part of waiting) {
      signal.throwIfAborted();
      onPushed(await pushWithRetry(backup, part, template, pool, { ...tools, signal }));
    }
  };
  const lanes = Array.from({ length: concurrency }, () =>
    lane().catch((error: unknown) => {
      failed.abort(error); // the other lanes must not go on for nothing
      throw error;
    }),
  );
  const outcomes = await Promise.allSettled(lanes);
  tools.signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}

async function pushWithRetry(
  backup: string,
  part: PlannedPart,
  template: PackTemplate,
  pool: ThreadPool<PackJob>,
  tools: PartsTools,
): Promise<PushedPart> {
  return retry(
    `upload ${part.tarName}`,
    () => pushOne(backup, part, template, pool, tools),
    (error) => error instanceof StoreError && error.kind !== "refused",
    { firstMs: 1_000, mostMs: 10_000, tries: 4 },
    tools,
  );
}

async function pushOne(
  backup: string,
  planned: PlannedPart,
  template: PackTemplate,
  pool: ThreadPool<PackJob>,
  { store, signal, meter, log }: PartsTools,
): Promise<PushedPart> {
  const name = withExtension(planned.tarName, extensionOf(template.compression.method));
  const members: PackedMember[] = [];
  let countedBytes = 0;
  const count = (bytes: number): void => {
    countedBytes += bytes;
    meter.add(bytes);
  };
  const onNote = (note: unknown): void => {
    const { members: more, readBytes } = note as PackNote;
    for (const member of more) members.push(member);
    count(readBytes);
  };
  const job: PackJob = { ...template, directories: planned.directories, files: planned.files };
  try {
    return await pool.run(
      job,
      async (channel) => {
        const onAbort = (): void => channel.abort(asError(signal.reason));
        signal.addEventListener("abort", onAbort, { once: true });
        try {
          const body = channel.receive({ givesBack: true });
          await store.put(`${partsPrefix(backup)}${name}`, body, signal);
          const { storedBytes, sha256 } = (await channel.result()) as PackResult;
          log.debug("stored a part", { name, bytes: storedBytes });
          return { part: { name, bytes: storedBytes, sha256 }, members };
        } finally {
          signal.removeEventListener("abort", onAbort);
        }
      },
      onNote,
    );
  } catch (error) {
    meter.add(-countedBytes);
    throw error;
  }
}

/** `none` has no extension, and then no dot. */
export const withExtension = (tarName: string, extension: string): string =>
  extension === "" ? tarName : `${tarName}.${extension}`;
