// The roster in the store: read with its tag, written by compare-and-swap; an unknown outcome is read back until it is known.

import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Claim, ROSTER_KEY, type Roster, parseRoster } from "./roster.ts";

/** The slice of a store that the roster needs; every method may throw when nothing is known. */
export interface RosterObjects {
  get(
    key: string,
    signal: AbortSignal,
  ): Promise<{ readonly etag: string; readonly body: AsyncIterable<Uint8Array> } | null>;
  create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists">;
  replace(key: string, body: Uint8Array, etag: string, signal: AbortSignal): Promise<"replaced" | "changed">;
}

export interface StoredRoster {
  readonly roster: Roster;
  readonly etag: string;
}

/** The roster, or null where there is none. Throws the store's errors; what is no roster is an error too: nobody may be promoted by it. */
export async function readRoster(store: RosterObjects, signal: AbortSignal): Promise<StoredRoster | null> {
  const object = await store.get(ROSTER_KEY, signal);
  if (object === null) return null;
  const pieces: Uint8Array[] = [];
  for await (const piece of object.body) pieces.push(piece);
  const roster = parseRoster(Buffer.concat(pieces).toString("utf8"));
  if (roster === null) throw new Error(`"${ROSTER_KEY}" holds something else than a roster`);
  return { roster, etag: object.etag };
}

export type SwapOutcome =
  | { readonly kind: "written"; readonly roster: Roster }
  /** Another one stands there: this node's fence may be outdated. */
  | { readonly kind: "lost"; readonly roster: Roster | null };

export interface SwapTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Reads, asks `next` what to write, writes; begins again when somebody else was faster or the outcome is unknown. Resolves when it is
 * known what the store holds; rejects only when the signal aborts.
 */
export async function changeRoster(
  store: RosterObjects,
  next: (found: Roster | null) => Claim | { readonly kind: "right" },
  { clock, log, signal }: SwapTools,
): Promise<SwapOutcome & { readonly because: string }> {
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      const found = await readRoster(store, signal);
      const wish = next(found?.roster ?? null);
      if (wish.kind === "refused")
        return { kind: "lost", roster: found?.roster ?? null, because: wish.because };
      if (wish.kind === "right")
        return { kind: "written", roster: found!.roster, because: "it is so already" };
      const body = Buffer.from(`${JSON.stringify(wish.roster)}\n`);
      const outcome =
        found === null
          ? await store.create(ROSTER_KEY, body, signal)
          : await store.replace(ROSTER_KEY, body, found.etag, signal);
      if (outcome === "created" || outcome === "replaced")
        return { kind: "written", roster: wish.roster, because: "written" };
    } catch (error) {
      signal.throwIfAborted();
      log[attempt < 4 ? "info" : "warn"]("the roster could not be changed yet", {
        attempt,
        because: messageOf(error),
      });
      await clock.sleep(Math.min(3_000, 100 * 2 ** attempt), signal);
    }
  }
}
