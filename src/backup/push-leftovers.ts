// What a failed push left in the store: removed by the push itself, or by the next of the same name.

import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { backupPrefix, sentinelKey } from "./backup-name.ts";

export interface LeftoverTools {
  readonly store: Pick<ObjectStore, "head" | "list" | "delete">;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * A backup of the same name must not be written over (AppError `BACKUP_EXISTS`), and a failed run's parts must not be
 * taken for ours: they are removed.
 */
export async function clearLeftovers(name: string, { store, log, signal }: LeftoverTools): Promise<void> {
  if ((await store.head(sentinelKey(name), signal)) !== null)
    throw new AppError(`backup "${name}" exists already`, {
      code: "BACKUP_EXISTS",
      hint: "on a standby wait for its next restart point; a new checkpoint on the primary brings one",
    });
  const keys: string[] = [];
  for await (const { key } of store.list(backupPrefix(name), signal)) keys.push(key);
  if (keys.length === 0) return;
  log.warn("removing what a failed backup of this name left", { name, objects: keys.length });
  await store.delete(keys, signal);
}

/** Removes what a push that failed has stored, as far as the store can be reached in 15 s. Never throws. */
export async function removeParts(
  name: string,
  { store, log }: Omit<LeftoverTools, "signal">,
): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    const keys: string[] = [];
    for await (const { key } of store.list(backupPrefix(name), signal)) keys.push(key);
    await store.delete(keys, signal);
  } catch (error) {
    log.warn("what the failed backup stored could not be removed; `delete garbage` will", {
      name,
      because: error,
    });
  }
}

/** Cleaning up after a failure must not hang on the store that failed. */
const CLEAN_UP_MS = 15_000;
