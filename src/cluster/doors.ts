// May a primary acknowledge now? G5, G7 and the licence that ends before anyone else's doors open.

import type { Timers } from "./timers.ts";
import { doorsWaitMs } from "./timers.ts";

/** A member of the roster besides this node. */
export interface CountedMember {
  readonly name: string;
  /** When the newest ask that it granted was *sent*; null when it never granted. */
  readonly grantedMs: number | null;
}

export interface DoorsFacts {
  readonly nowMs: number;
  /** G5: the history slot is accepted (or the log was continued), and with DURABILITY=bucket the durable position arrived. */
  readonly settled: boolean;
  /** When this node's fence was created; null for a start with the store away (G7) and for a hand-over that needs no wait. */
  readonly fencedMs: number | null;
  /** A foreign object stands where this owner's next slot belongs. */
  readonly isFenced: boolean;
  /** A member that leads with a newer fence. */
  readonly outrankedBy: string | null;
  /** The roster without this node. Empty: it is alone. */
  readonly counted: readonly CountedMember[];
  /** When the newest look into the log that found it still ours was *begun*. */
  readonly logConfirmedMs: number | null;
  /** Were the doors open, or frozen, at the last decision? */
  readonly wereOpen: boolean;
  /** Since when they are frozen; null when they are not. */
  readonly frozenSinceMs: number | null;
}

export type Doors = { readonly because: string } & (
  | { readonly kind: "open" }
  /** Nothing is acknowledged: Postgres is stopped in its tracks and goes on when the licence is renewed. */
  | { readonly kind: "frozen" }
  /** Not opened yet; Postgres may run, clients and replication are not admitted. */
  | { readonly kind: "waiting" }
  /** Postgres is killed; the log decides what comes next. */
  | { readonly kind: "shut" }
);

/** Decides from facts alone. */
export function decideDoors(facts: DoorsFacts, timers: Timers): Doors {
  if (facts.isFenced) return { kind: "shut", because: "a newer fence stands in the log" };
  if (facts.outrankedBy !== null)
    return { kind: "shut", because: `${facts.outrankedBy} leads with a newer fence` };
  if (!facts.settled)
    return { kind: "waiting", because: "the log has not accepted this primary's history yet" };
  const licence = licenceOf(facts);
  const ageMs = licence.fromMs === null ? Infinity : facts.nowMs - licence.fromMs;
  if (!facts.wereOpen) return decideOpening(facts, licence, ageMs, timers);
  if (ageMs <= timers.freezeMs) return { kind: "open", because: licence.because };
  const because = `the licence was last renewed ${ageMs === Infinity ? "never" : `${Math.round(ageMs)} ms ago`}: ${licence.lacks}`;
  // Counted from the freezing: after a pause of this node nothing was tried yet, and nothing is acknowledged meanwhile.
  const frozenMs = facts.frozenSinceMs === null ? 0 : facts.nowMs - facts.frozenSinceMs;
  return frozenMs < timers.quitMs ? { kind: "frozen", because } : { kind: "shut", because };
}

function decideOpening(facts: DoorsFacts, licence: Licence, ageMs: number, timers: Timers): Doors {
  if (ageMs > timers.freezeMs) return { kind: "waiting", because: `no licence yet: ${licence.lacks}` };
  // Another may hold a licence that began just before this fence; everybody's grant excludes that.
  const mayOpenMs =
    licence.by === "log" && facts.fencedMs !== null ? facts.fencedMs + doorsWaitMs(timers) : 0;
  if (facts.nowMs < mayOpenMs)
    return {
      kind: "waiting",
      because: `an unseen primary may hold a licence for ${Math.ceil(mayOpenMs - facts.nowMs)} ms more`,
    };
  return { kind: "open", because: licence.because };
}

/** What allows a primary to acknowledge, and since when. */
export interface Licence {
  readonly by: "alone" | "everyone" | "log" | "none";
  readonly fromMs: number | null;
  readonly because: string;
  readonly lacks: string;
}

/** The newest of the three grounds: it is alone, every member granted it, or the log was found to be its own. */
export function licenceOf({
  nowMs,
  counted,
  logConfirmedMs,
}: Pick<DoorsFacts, "nowMs" | "counted" | "logConfirmedMs">): Licence {
  if (counted.length === 0)
    return { by: "alone", fromMs: nowMs, because: "it is the only member", lacks: "" };
  const everyoneMs = counted.reduce<number | null>(
    (least, { grantedMs }) => (least === null || grantedMs === null ? null : Math.min(least, grantedMs)),
    Infinity,
  );
  const missing = counted
    .filter(({ grantedMs }) => grantedMs === null || grantedMs === everyoneMs)
    .map(({ name }) => name);
  const lacks = `no word from ${missing.join(", ")} and none from the store`;
  if (everyoneMs !== null && (logConfirmedMs === null || everyoneMs >= logConfirmedMs))
    return { by: "everyone", fromMs: everyoneMs, because: "every member is in sight", lacks };
  if (logConfirmedMs !== null)
    return { by: "log", fromMs: logConfirmedMs, because: "the log is this node's own", lacks };
  return { by: "none", fromMs: null, because: "nothing allows it", lacks };
}
