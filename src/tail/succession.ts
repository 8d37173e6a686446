// A founder takes the place of one whose founding was given up (founding.ts). Nothing of the former is deleted or overwritten but its name in
// cluster.json: its log is fenced like any other, and ours begins above the dead zone, as an empty log.

import type { ObjectStore } from "../storage/object-store.ts";
import { succeedIdentity } from "./cluster-identity.ts";
import { ForeignLogError } from "./errors.ts";
import { readFounding } from "./founding.ts";
import { insist } from "./insist.ts";
import { BASE_PREFIX, LOG_PREFIX, parseLogKey } from "./keys.ts";
import { getObject } from "./live-slot.ts";
import { emptyLog } from "./read.ts";
import { SLOT_BYTES_MOST } from "./slot.ts";
import { type Claim, fenceLog, takeOver, type TakeOverOptions, type TakeOverStore } from "./take-over.ts";

export type SuccessionStore = TakeOverStore & Pick<ObjectStore, "replace">;

/**
 * As `takeOver`, for the system that succeeds `former`. The store must honour conditional writes. A log that a still earlier system left is
 * passed the same way. Throws ForeignLogError when another founder was faster, or when a system holds the log that was not given up.
 */
export async function takeOverAfter(
  store: SuccessionStore,
  former: bigint,
  options: TakeOverOptions,
): Promise<Claim> {
  const { identity, signal } = options;
  await insist("cluster.json", () => succeedIdentity(store, former, identity, signal), options);
  const holder = await insist("whose log it is", () => systemOfLog(store, signal), options);
  if (holder === null || holder === identity.systemId) return await takeOver(store, options);
  const outcome = await insist("its founding", () => readFounding(store, holder, signal), options);
  if (outcome !== "given-up") throw new ForeignLogError("the log", holder, identity.systemId);
  const theirs = { systemId: holder, segmentBytes: identity.segmentBytes };
  const claim = await fenceLog(store, { ...options, identity: theirs, known: null });
  const { firstFree, previous, owner, fences } = claim.view;
  return { ...claim, identity, view: { ...emptyLog(identity), firstFree, previous, owner, fences } };
}

/** The system that wrote the newest base, or the first fence; null where there is no log. Throws StoreError, LogDamagedError. */
export async function systemOfLog(
  store: Pick<ObjectStore, "get" | "list">,
  signal: AbortSignal,
): Promise<bigint | null> {
  let found: string | null = null;
  for await (const { key } of store.list(BASE_PREFIX, signal))
    if (parseLogKey(key, BASE_PREFIX) !== null) found = key;
  if (found === null) {
    for await (const { key } of store.list(LOG_PREFIX, signal)) {
      if (parseLogKey(key, LOG_PREFIX) === null) continue;
      found = key;
      break;
    }
  }
  if (found === null) return null;
  const object = await getObject(store, found, SLOT_BYTES_MOST, signal);
  return object?.header.systemId ?? null;
}
