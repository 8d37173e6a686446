// Marks the backups under a permanent delta as permanent, so that no deletion takes them from under it.

import type { Log } from "../base/log.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { readBackupMetadata, readSentinel } from "./catalog.ts";
import { writeMark } from "./mark.ts";
import { readChain } from "./restore-chain.ts";

/** `name` and all that it is built on. */
export async function markChainPermanent(
  name: string,
  tools: { readonly store: ObjectStore; readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  const { store, log, signal } = tools;
  const chain = await readChain(name, (backup) => readSentinel(store, backup, signal));
  for (const link of chain) {
    const metadata = await readBackupMetadata(store, link.name, signal);
    if (metadata === null || metadata.isPermanent) continue;
    await writeMark(link.name, true, store, signal);
    log.info("marked as permanent, because a permanent delta is built on it", { name: link.name });
  }
}
