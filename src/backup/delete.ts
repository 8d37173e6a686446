// Carries out a deletion, stage by stage, so that a stop at any instant leaves no backup that looks whole and is not.

import type { Log } from "../base/log.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { deletionMark, type DeletePlan } from "./delete-plan.ts";
import { type RacingStore, RemovedSentinels } from "./delete-race.ts";

/**
 * Removes what `plan` says: sentinels first (deltas before their bases, one by one), then parts and metadata, then WAL from
 * the oldest on. Returns the number of objects. Throws StoreError with the keys that could not be deleted; what a stopped
 * deletion left is found again by the same command. Throws AppError `DELETE_RACE` when a delta of a removed backup was taken
 * meanwhile: its bases are put back then.
 */
export async function executeDeletion(
  plan: DeletePlan,
  store: RacingStore,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<number> {
  const removed = new RemovedSentinels(store, signal);
  for (const sentinel of plan.sentinels) await removed.remove(sentinel);
  await removed.check();
  await inBatches(plan.objects, store, signal);
  await inBatches(plan.marks, store, signal);
  await inBatches(plan.wal, store, signal);
  const count = plan.sentinels.length + plan.objects.length + plan.wal.length;
  log.debug("deletion done", { sentinels: plan.sentinels.length, wal: plan.wal.length });
  return count;
}

async function inBatches(
  keys: readonly string[],
  store: Pick<ObjectStore, "delete">,
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < keys.length; at += BATCH_KEYS) {
    signal.throwIfAborted();
    await store.delete(keys.slice(at, at + BATCH_KEYS), signal);
  }
}

/**
 * Says on the store that this backup is being deleted, so that the next deletion of any kind finishes the work. Without it
 * the parts of a half-deleted backup look like those of one that is still being taken.
 */
export async function announceDeletion(
  name: string,
  store: Pick<ObjectStore, "put">,
  signal: AbortSignal,
): Promise<void> {
  await store.put(deletionMark(name), new TextEncoder().encode("{}"), signal);
}

const BATCH_KEYS = 1000;
