// Taking over the log: read, fence, look again (T1 to T5).

import { randomBytes } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Cipher } from "../codec/encryption.ts";
import { noCipher } from "../codec/encryption.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { claimIdentity } from "./cluster-identity.ts";
import { LogUseError } from "./errors.ts";
import { insist } from "./insist.ts";
import { BASE_PREFIX, parseLogKey, slotKey } from "./keys.ts";
import { type LiveSlot, getBytes } from "./live-slot.ts";
import { type LogView, emptyLog, readLog } from "./read.ts";
import { type ClusterIdentity, acceptSlot } from "./run.ts";
import {
  type BuiltObject,
  type FenceHeader,
  type FencePurpose,
  SLOT_BYTES_MOST,
  buildObject,
  decodeObject,
} from "./slot.ts";

/** `none`: the store ignores preconditions and branches lie side by side (section 13). */
export type Fencing = "conditional" | "none";

export interface TakeOverOptions {
  readonly identity: ClusterIdentity;
  readonly purpose: FencePurpose;
  /** This node's name, for people. */
  readonly node: string;
  readonly fencing: Fencing;
  readonly cipher: Cipher;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the attempt at any instant (T5); an orphaned fence costs one takeover, no data. */
  readonly signal: AbortSignal;
  /** 0 ≤ r < 1; spreads the pauses. */
  readonly random: () => number;
  /** 32 lower-case hex digits; by default 128 random bits. */
  readonly drawToken?: () => string;
  /** An earlier view, to save requests. */
  readonly known?: LogView | null;
  /** Asked of each view before a fence is put: why it would be put in vain (T7), or null. Another node may have taken over meanwhile. */
  readonly objection?: (view: LogView) => string | null;
}

/** The log has moved on: a fence would only disturb its owner. None was put. */
export class TakeOverRefusedError extends AppError {
  constructor(because: string) {
    super(because, { code: "TAKE_OVER_REFUSED", hint: "look at `holdfast cluster status` for who leads" });
  }
}

/** The ownership of the log, until someone makes a newer fence. */
export interface Claim {
  readonly epoch: number;
  readonly token: string;
  readonly node: string;
  readonly fencing: Fencing;
  readonly identity: ClusterIdentity;
  /** The log up to and with this claim's fence; `firstFree` is the first data position. */
  readonly view: LogView;
  /** The owner before, as this claim found it; null in an empty log. */
  readonly before: LogView["owner"];
}

export type TakeOverStore = Pick<ObjectStore, "get" | "list" | "create" | "put">;

/** Takes the log over. Repeats without end until it owns the log or the signal aborts. Throws LogDamagedError, ForeignLogError. */
export async function takeOver(store: TakeOverStore, options: TakeOverOptions): Promise<Claim> {
  const { identity, signal } = options;
  await insist("cluster.json", () => claimIdentity(store, identity, signal), options);
  return await fenceLog(store, options);
}

/** T1 to T3 on a log that is there, or on none; cluster.json is the caller's. Throws as `takeOver`, and TakeOverRefusedError. */
export async function fenceLog(store: TakeOverStore, options: TakeOverOptions): Promise<Claim> {
  const { identity, node, purpose, fencing, log } = options;
  let known = options.known ?? null;
  for (;;) {
    const read = { ...options, identity, known };
    const view = (await insist("read the log", () => readLog(store, read), options)) ?? emptyLog(identity); // T1
    requireOneMode(view, fencing);
    known = view;
    const objection = options.objection?.(view) ?? null;
    if (objection !== null) throw new TakeOverRefusedError(objection);
    const fence = await buildFence(view, options);
    const key = slotKey(view.firstFree, fencing === "none" ? fence.header.token : null);
    const isMine = await putFence(store, key, fence, options); // T2
    if (!isMine) {
      log.info("another node took the log's next position first, taking over again", { key });
      continue;
    }
    if (await isCovered(store, view.firstFree, options)) {
      log.warn("a base stands above this fence, taking over again", { key });
      continue; // T3
    }
    const { header, headerBytes, headerHash } = fence;
    const slot: LiveSlot = { key, header, headerBytes, headerHash, sealedBody: null };
    const owned = acceptSlot(view, { key, header, headerHash, body: null });
    log.info("took over the log", { epoch: header.epoch, purpose, node, before: view.owner?.node });
    return {
      epoch: header.epoch,
      token: header.token,
      node,
      fencing,
      identity,
      view: { ...owned, base: view.base, slots: [...view.slots, slot] },
      before: view.owner,
    };
  }
}

/** A fence for the first free position of this view; a new token each, never a node's name (X5). */
async function buildFence(view: LogView, options: TakeOverOptions): Promise<BuiltObject<FenceHeader>> {
  const { identity, node, purpose, drawToken = randomToken } = options;
  const draft = {
    kind: "fence" as const,
    systemId: identity.systemId,
    seq: view.firstFree,
    epoch: view.firstFree,
    token: drawToken(),
    previous: view.previous,
    node,
    purpose,
  };
  const plain = { compression: { method: "none" as const }, cipher: noCipher };
  return buildObject<FenceHeader>(draft, new Uint8Array(0), plain);
}

/** T2: true when the fence stands there as this process built it. Not knowing is never success (X4). */
async function putFence(
  store: TakeOverStore,
  key: string,
  fence: BuiltObject<FenceHeader>,
  options: TakeOverOptions,
): Promise<boolean> {
  const { signal } = options;
  const outcome = await insist(
    `fence ${key}`,
    async () => {
      if (options.fencing === "conditional") return store.create(key, fence.bytes, signal);
      await store.put(key, fence.bytes, signal, { bytes: fence.bytes.byteLength }); // U1: the name is this process's own
      return "created" as const;
    },
    options,
  );
  if (outcome === "created") return true;
  const there = await insist(`read ${key}`, () => getBytes(store, key, SLOT_BYTES_MOST, signal), options);
  return there !== null && Buffer.compare(there, fence.bytes) === 0;
}

/** T3: a base above the fence means that the fence landed on a freed key, or that someone took over since (X2). */
async function isCovered(store: TakeOverStore, fence: number, options: TakeOverOptions): Promise<boolean> {
  return insist(
    "list the bases again",
    async () => {
      for await (const { key } of store.list(BASE_PREFIX, options.signal)) {
        const name = parseLogKey(key, BASE_PREFIX);
        if (name !== null && name.seq > fence) return true;
      }
      return false;
    },
    options,
  );
}

/** A store that once had no conditional writes and now has them, or the reverse, holds names of the other kind. */
function requireOneMode(view: LogView, fencing: Fencing): void {
  const newest = view.slots.at(-1)?.key ?? view.base?.key;
  if (newest === undefined) return;
  const isBranched = /-[0-9a-f]{16}$/.test(newest);
  if (isBranched === (fencing === "none")) return;
  throw new LogUseError(
    isBranched
      ? "the log was written on a store without conditional writes, this store has them"
      : "the log was written on a store with conditional writes, this store has none",
    "use the store the log was written on, or start a new prefix from a base backup",
  );
}

/** 128 random bits. */
export const randomToken = (): string => randomBytes(16).toString("hex");

/** Takes apart what a rival put, for messages. */
export function describeRival(key: string, bytes: Uint8Array): string {
  try {
    const { header } = decodeObject(key, bytes);
    return `"${key}" holds a ${header.kind} of node "${header.node}"`;
  } catch {
    return `"${key}" holds something else`;
  }
}
