// What a member asks of the store besides the log itself: is the log still mine, does it grow, who is in the roster.

import { type ArchiveSource, readSourceLog } from "../archive/archive-source.ts";
import { readRoster } from "../cluster/roster-store.ts";
import type { LogLook } from "../cluster/mind-types.ts";
import { slotKey } from "../tail/keys.ts";
import { getObject } from "../tail/live-slot.ts";
import type { LogView } from "../tail/read.ts";
import { SLOT_BYTES_MOST, WINDOW } from "../tail/slot.ts";
import type { Claim } from "../tail/take-over.ts";
import type { ObjectStore } from "../storage/object-store.ts";

/** A hint for who cannot see the primary; no rule reads it for safety. */
const LEASE_KEY = "tail_v1/lease.json";

/**
 * Is the owner's next position still free of anybody else's fence? Own slots that are under way are stepped over: a taker would fence
 * behind them. True proves that no newer fence stood when this was begun. Throws StoreError when nothing is known.
 */
export async function isLogOurs(
  store: Pick<ObjectStore, "get">,
  { epoch, token, fencing }: Claim,
  firstFree: number,
  signal: AbortSignal,
): Promise<boolean> {
  for (let seq = firstFree; seq <= firstFree + WINDOW; seq += 1) {
    const key = slotKey(seq, fencing === "none" ? token : null);
    const object = await getObject(store, key, SLOT_BYTES_MOST, signal);
    if (object === null) return true;
    const { header } = object;
    if (header.epoch !== epoch || header.token !== token) return false;
  }
  // Everything that may be in flight is there already: what was first free has moved on meanwhile.
  return true;
}

/** Leaves a sign of life for members that cannot see this node. */
export async function signLife(
  store: Pick<ObjectStore, "put">,
  node: string,
  epoch: number | null,
  nowMs: number,
  signal: AbortSignal,
): Promise<void> {
  const text = JSON.stringify({ node, epoch, at: new Date(nowMs).toISOString() });
  await store.put(LEASE_KEY, Buffer.from(`${text}\n`), signal);
}

/** Looks at the log as somebody who does not own it; what was seen before is not fetched again. */
export class LogWatch {
  readonly #store: ObjectStore;
  readonly #sourceFor: (systemId: bigint | null) => ArchiveSource;
  readonly #limits: LookLimits;
  #view: LogView | null = null;
  #isBusy = false;
  #limitMs: number;

  constructor(
    store: ObjectStore,
    sourceFor: (systemId: bigint | null) => ArchiveSource,
    limits: LookLimits = LOOK_LIMITS,
  ) {
    this.#store = store;
    this.#sourceFor = sourceFor;
    this.#limits = limits;
    this.#limitMs = limits.firstMs;
  }

  /** The log as of the last look; null when there is none or none was made. */
  get view(): LogView | null {
    return this.#view;
  }

  /**
   * Null while another look is under way. Throws StoreError and the log's errors. A look that was cut short leaves nothing behind, so the
   * next one gets twice the time: a log of many slots is read once, and quickly from then on.
   */
  async look(systemId: bigint | null, begunMs: number, over: AbortSignal): Promise<LogLook | null> {
    if (this.#isBusy) return null;
    this.#isBusy = true;
    const store = this.#store;
    const limit = AbortSignal.timeout(this.#limitMs);
    const signal = AbortSignal.any([over, limit]);
    try {
      const [view, lease, stored] = await Promise.all([
        readSourceLog(this.#sourceFor(systemId), signal, this.#view),
        store.head(LEASE_KEY, signal),
        readRoster(store, signal),
      ]);
      this.#view = view;
      this.#limitMs = this.#limits.usualMs;
      const tip = view?.tip ?? null;
      return {
        begunMs,
        mark: `${view?.firstFree ?? 0} ${lease?.etag ?? ""} ${lease?.modifiedMs ?? ""}`,
        storeEnd: tip === null ? null : { timeline: tip.timeline, end: tip.end },
        promotionPending: view !== null && isPromotionPending(view),
        roster: stored?.roster ?? null,
      };
    } catch (error) {
      if (limit.aborted) this.#limitMs = Math.min(this.#limits.mostMs, this.#limitMs * 2);
      throw error;
    } finally {
      this.#isBusy = false;
    }
  }
}

/** How long a look may take: the first one, one behind a look that succeeded, and at most. */
export interface LookLimits {
  readonly firstMs: number;
  readonly usualMs: number;
  readonly mostMs: number;
}

const LOOK_LIMITS: LookLimits = { firstMs: 10_000, usualMs: 2_000, mostMs: 60_000 };

/** The newest fence was put for a promotion or a restore, and its history slot has not come yet. */
export function isPromotionPending({ slots }: Pick<LogView, "slots">): boolean {
  for (const { header } of slots.toReversed()) {
    if (header.kind === "history") return false;
    if (header.kind === "fence") return header.purpose !== "start";
  }
  return false;
}
