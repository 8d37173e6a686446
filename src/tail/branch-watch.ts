// Looking for a second owner where the store cannot refuse one (rule U3).

import type { Cipher } from "../codec/encryption.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { SlotHeader } from "./slot.ts";
import { type Contender, foreignFence } from "./branch.ts";
import { FencedError, LogDamagedError } from "./errors.ts";
import { type InsistTools, insist } from "./insist.ts";
import { LOG_PREFIX, keyBefore, parseLogKey } from "./keys.ts";
import { getObject } from "./live-slot.ts";
import { SLOT_BYTES_MOST } from "./slot.ts";
import type { Claim } from "./take-over.ts";

export interface BranchWatchTools extends InsistTools {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly codec: { readonly cipher: Cipher };
}

/** Lists from this claim's fence every 10 s; calls `onForeign` once, when another owner's fence is found on its run. */
export async function watchBranches(
  claim: Claim,
  firstFree: () => number,
  tools: BranchWatchTools,
  onForeign: (error: FencedError) => void,
): Promise<void> {
  for (;;) {
    await tools.clock.sleep(LOOK_EVERY_MS, tools.signal);
    const found = await insist("look for another owner", () => findForeign(claim, firstFree(), tools), tools);
    if (found === null) continue;
    onForeign(new FencedError(`node "${found.header.node}" put a fence at ${found.header.seq}`));
    return;
  }
}

/** One look (U3). */
export async function findForeign(
  claim: Claim,
  firstFree: number,
  { store, signal }: Pick<BranchWatchTools, "store" | "signal">,
): Promise<Contender<SlotHeader> | null> {
  const own = claim.token.slice(0, 16);
  const contenders: Contender<SlotHeader>[] = [];
  for await (const { key } of store.list(LOG_PREFIX, signal, keyBefore(claim.epoch))) {
    const name = parseLogKey(key, LOG_PREFIX);
    if (name === null || name.branch === own) continue;
    const header = await headerOf(store, key, signal);
    if (header !== null) contenders.push({ name, header });
  }
  return foreignFence({ epoch: claim.epoch, token: claim.token, firstFree }, contenders);
}

async function headerOf(
  store: Pick<ObjectStore, "get">,
  key: string,
  signal: AbortSignal,
): Promise<SlotHeader | null> {
  try {
    const object = await getObject(store, key, SLOT_BYTES_MOST, signal);
    return object === null || object.header.kind === "base" ? null : object.header;
  } catch (error) {
    if (error instanceof LogDamagedError) return null;
    throw error;
  }
}

const LOOK_EVERY_MS = 10_000;
