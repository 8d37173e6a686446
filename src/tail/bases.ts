// Bases and deletion (D1 to D3): a snapshot of the log below a position, then, and only then, the slots below it go.

import { messageOf } from "../base/errors.ts";
import type { Codec } from "../codec/seal.ts";
import { noCipher } from "../codec/encryption.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { segmentFloor } from "../wal/segment-name.ts";
import { LogDamagedError } from "./errors.ts";
import { type InsistTools, insist } from "./insist.ts";
import { BASE_PREFIX, LOG_PREFIX, baseKey, parseLogKey } from "./keys.ts";
import { type LiveBase, type LiveSlot, getObject } from "./live-slot.ts";
import { mapPool } from "./pool.ts";
import type { LogState } from "./run.ts";
import { type BaseHeader, type HeaderDraft, SLOT_BYTES_MOST, buildObject } from "./slot.ts";
import type { Claim } from "./take-over.ts";

export interface BaseTools extends InsistTools {
  readonly store: Pick<ObjectStore, "get" | "list" | "create" | "put" | "delete">;
  readonly codec: Codec;
}

/** Live slots and bytes at which a base is due (D1). */
export const BASE_DUE = { slots: 1_000, bytes: 256 * 1024 * 1024 } as const;
const NEWEST_KEPT = 1_000;

/** The header of a base at the first free position of `state`, whose complete segments and histories all stand in wal_005 (D1). */
export function draftBase(state: LogState, claim: Claim): HeaderDraft<BaseHeader> {
  const { tip, identity } = state;
  if (tip === null) throw new LogDamagedError("a base of a log that holds no WAL");
  return {
    kind: "base",
    systemId: identity.systemId,
    seq: state.firstFree,
    epoch: claim.epoch,
    token: claim.token,
    previous: state.previous,
    node: claim.node,
    timeline: tip.timeline,
    promotion: tip.promotion,
    line: tip.path,
    begin: tip.begin,
    end: tip.end,
    published: segmentFloor(tip.end, identity.segmentBytes),
    lastTimeline: state.lastTimeline,
    fences: state.fences.slice(-NEWEST_KEPT),
    histories: [...state.histories.values()]
      .toSorted((a, b) => a.timeline - b.timeline)
      .slice(-NEWEST_KEPT)
      .map(({ timeline, sha256 }) => [timeline, sha256]),
  };
}

/**
 * Puts the base, reads it back and returns it as it stands, or null when it is gone again. `body` is `[published, end)`. Repeats while the store does not answer. A base that is
 * there already is as true as ours when it follows the same slot; else LogDamagedError.
 */
export async function putBase(
  draft: HeaderDraft<BaseHeader>,
  body: Uint8Array,
  claim: Claim,
  tools: BaseTools,
): Promise<LiveBase | null> {
  const { store, codec, signal } = tools;
  const cipher = body.byteLength === 0 ? noCipher : codec.cipher;
  const built = await buildObject<BaseHeader>(draft, body, { ...codec, cipher });
  const key = baseKey(draft.seq, claim.fencing === "none" ? claim.token : null);
  const put = async (): Promise<void> => {
    if (claim.fencing === "conditional") await store.create(key, built.bytes, signal);
    else await store.put(key, built.bytes, signal, { bytes: built.bytes.byteLength });
  };
  await insist(`base ${key}`, put, tools);
  const most = Math.max(body.byteLength, SLOT_BYTES_MOST);
  const there = await insist(`read ${key}`, () => getObject(store, key, most, signal), tools);
  // A newer owner made a higher base and deleted this one: then nothing may be deleted for ours.
  if (there === null) return null;
  const { header } = there;
  if (header.kind !== "base" || header.seq !== draft.seq || header.previous !== draft.previous) {
    throw new LogDamagedError(`base "${key}" exists and follows another slot`);
  }
  return { ...there, key, header };
}

/** D2: deletes accepted slots below the base, never a fence (T4), and the base before. What fails is left to a later sweep. */
export async function deleteBelow(
  base: LiveBase,
  accepted: readonly LiveSlot[],
  olderBase: LiveBase | null,
  { store, log, signal }: BaseTools,
): Promise<void> {
  const keys = accepted
    .filter(({ header }) => header.kind !== "fence" && header.seq < base.header.seq)
    .map(({ key }) => key);
  if (olderBase !== null && olderBase.header.seq < base.header.seq) keys.push(olderBase.key);
  if (keys.length === 0) return;
  try {
    await store.delete(keys, signal);
  } catch (error) {
    log.warn("slots below the base were not all deleted, a later sweep will", { because: messageOf(error) });
  }
}

export interface SweepResult {
  readonly deleted: number;
  /** Fences that the base names and the listing lacks: someone deleted them (T4). */
  readonly missingFences: readonly number[];
}

/** D3: deletes what lies below `base` and is no fence by its own header, and older bases. Reads each name it does not know. */
export async function sweepBelow(base: LiveBase, tools: BaseTools): Promise<SweepResult> {
  const { store, log, signal } = tools;
  const fences = new Set(base.header.fences);
  const seen = new Set<number>();
  const unknown: string[] = [];
  for await (const { key } of store.list(LOG_PREFIX, signal)) {
    const name = parseLogKey(key, LOG_PREFIX);
    if (name === null) continue;
    if (name.seq >= base.header.seq) break;
    seen.add(name.seq);
    if (!fences.has(name.seq)) unknown.push(key);
  }
  const rubbish = await mapPool(unknown, SWEEP_IN_FLIGHT, async (key) =>
    (await isFence(key, tools)) ? null : key,
  );
  const keys = rubbish.filter((key) => key !== null);
  for await (const { key } of store.list(BASE_PREFIX, signal)) {
    const name = parseLogKey(key, BASE_PREFIX);
    if (name !== null && name.seq < base.header.seq) keys.push(key);
  }
  if (keys.length > 0) await store.delete(keys, signal);
  const missingFences = [...fences].filter((at) => !seen.has(at));
  if (missingFences.length > 0) {
    log.error("fences of the log are missing: something deletes from the store", {
      positions: missingFences,
    });
  }
  return { deleted: keys.length, missingFences };
}

/** What cannot be read as one of ours is kept: deleting is the one thing that cannot be taken back. */
async function isFence(key: string, { store, signal }: BaseTools): Promise<boolean> {
  try {
    const object = await getObject(store, key, SLOT_BYTES_MOST, signal);
    return object === null || object.header.kind === "fence";
  } catch (error) {
    if (error instanceof LogDamagedError) return true;
    throw error;
  }
}

const SWEEP_IN_FLIGHT = 8;
