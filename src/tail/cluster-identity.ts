// tail_v1/cluster.json: whose log this is. Create-only, put by the founder before any slot.

import type { ObjectStore } from "../storage/object-store.ts";
import { readWhole } from "../storage/object-store.ts";
import { PAGE_BYTES } from "../wal/page.ts";
import { ForeignLogError, LogDamagedError } from "./errors.ts";
import { IDENTITY_KEY } from "./keys.ts";
import type { ClusterIdentity } from "./run.ts";

/** The identity, or null when the store holds none: then no log was ever founded there. Throws StoreError, LogDamagedError. */
export async function readIdentity(
  store: Pick<ObjectStore, "get">,
  signal: AbortSignal,
): Promise<ClusterIdentity | null> {
  const object = await store.get(IDENTITY_KEY, signal);
  return object === null ? null : parseIdentity(await readWhole(object, IDENTITY_BYTES_MOST));
}

/** Puts the identity unless one is there. Throws ForeignLogError when another system's stands there; StoreError as `create` does. */
export async function claimIdentity(
  store: Pick<ObjectStore, "get" | "create">,
  identity: ClusterIdentity,
  signal: AbortSignal,
): Promise<void> {
  const there = await readIdentity(store, signal);
  if (there === null && (await store.create(IDENTITY_KEY, formatIdentity(identity), signal)) === "created")
    return;
  const found = there ?? (await readIdentity(store, signal));
  if (found === null) throw new LogDamagedError(`object "${IDENTITY_KEY}" exists and cannot be found`);
  requireSameSystem(found, identity);
}

/**
 * Puts ours in the place of `former`'s, whose founding was given up: only if it is still that one. Does nothing where ours stands already. Throws
 * ForeignLogError when a third one stands there; StoreError as `replace` does.
 */
export async function succeedIdentity(
  store: Pick<ObjectStore, "get" | "replace">,
  former: bigint,
  identity: ClusterIdentity,
  signal: AbortSignal,
): Promise<void> {
  const object = await store.get(IDENTITY_KEY, signal);
  if (object === null) throw new LogDamagedError(`object "${IDENTITY_KEY}" is gone`);
  const found = parseIdentity(await readWhole(object, IDENTITY_BYTES_MOST));
  if (found.systemId === identity.systemId) return;
  const isFormer = found.systemId === former;
  if (
    isFormer &&
    (await store.replace(IDENTITY_KEY, formatIdentity(identity), object.etag, signal)) === "replaced"
  )
    return;
  // An earlier attempt of ours may have come through, or another founder was faster.
  const there = isFormer ? await readIdentity(store, signal) : found;
  if (there?.systemId !== identity.systemId)
    throw new ForeignLogError(`object "${IDENTITY_KEY}"`, there?.systemId ?? former, identity.systemId);
}

/** Throws unless both name one system and one segment size. */
export function requireSameSystem(found: ClusterIdentity, ours: ClusterIdentity): void {
  if (found.systemId !== ours.systemId) {
    throw new ForeignLogError(`object "${IDENTITY_KEY}"`, found.systemId, ours.systemId);
  }
  if (found.segmentBytes !== ours.segmentBytes) {
    throw new LogDamagedError(
      `object "${IDENTITY_KEY}" names segments of ${found.segmentBytes} bytes, the server has ${ours.segmentBytes}`,
    );
  }
}

export function formatIdentity({ systemId, segmentBytes }: ClusterIdentity): Uint8Array {
  const fields = { format: 1, systemId: systemId.toString(), segmentSize: segmentBytes };
  return Buffer.from(`${JSON.stringify(fields)}\n`, "utf8");
}

/** Throws LogDamagedError. */
export function parseIdentity(bytes: Uint8Array): ClusterIdentity {
  const bad = (what: string): LogDamagedError => new LogDamagedError(`object "${IDENTITY_KEY}" ${what}`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    throw bad("is not JSON");
  }
  if (typeof value !== "object" || value === null) throw bad("is not a JSON object");
  const { format, systemId, segmentSize } = value as Record<string, unknown>;
  if (format !== 1) throw bad("has a format that this version does not know");
  if (typeof systemId !== "string" || !/^\d{1,20}$/.test(systemId)) throw bad("has no valid systemId");
  if (typeof segmentSize !== "number" || !isWholePages(segmentSize)) throw bad("has no valid segmentSize");
  return { systemId: BigInt(systemId), segmentBytes: segmentSize };
}

/** Whether the server has this size too is compared by `requireSameSystem`; here it must only be one that arithmetic can bear. */
const isWholePages = (bytes: number): boolean =>
  Number.isInteger(bytes) && bytes >= PAGE_BYTES && bytes <= 1 << 30 && (bytes & (bytes - 1)) === 0;

const IDENTITY_BYTES_MOST = 64 * 1024;
