// How a node whose data may have left the winner's history comes back: follow, rewind, or re-seed (G8, G9).

import { type Lsn, formatLsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";

/** A stretch of a path: `timeline` from `begin` on, made by the promotion with this id (null for the first timeline, or unknown). */
export interface PathPart {
  readonly timeline: TimelineId;
  readonly begin: Lsn;
  readonly promotion: string | null;
}

export interface RejoinFacts {
  readonly localSystemId: string;
  readonly systemId: string;
  /** Oldest first. */
  readonly local: readonly PathPart[];
  readonly accepted: readonly PathPart[];
  /** Record end of the local WAL. */
  readonly recordEnd: Lsn;
  /** The accepted end, or the living primary's position when that is further. */
  readonly acceptedEnd: Lsn;
  /** Local bytes against R3's, from the start of the segment that holds the comparison's end up to there. */
  readonly bytes: "equal" | "different" | "unknown";
  /** A primary that pg_rewind could read from is in sight. */
  readonly hasSource: boolean;
  /** No file is missing between the last checkpoint and the end: `recordEnd` is how far the data may have been changed. */
  readonly isWhole: boolean;
}

export type Rejoin = { readonly because: string } & (
  | { readonly kind: "follow" }
  | {
      readonly kind: "rewind";
      readonly fork: Lsn;
      readonly diverged: { readonly from: Lsn; readonly to: Lsn };
    }
  | { readonly kind: "re-seed"; readonly diverged: { readonly from: Lsn; readonly to: Lsn } | null }
  | { readonly kind: "wait" }
  | { readonly kind: "refuse" }
);

/**
 * Decides from facts alone. pg_rewind compares timelines, not bytes, and finds "no rewind required" where it must not (X19, X20), so
 * it is allowed only where every local timeline up to the fork is the accepted one, local WAL reaches the fork, and the bytes below
 * it are equal.
 */
export function decideRejoin(facts: RejoinFacts): Rejoin {
  const { local, accepted, recordEnd, acceptedEnd } = facts;
  if (facts.localSystemId !== facts.systemId)
    return {
      kind: "refuse",
      because: `the volume holds system ${facts.localSystemId} and the cluster is ${facts.systemId}`,
    };
  if (!facts.isWhole) return reseed("WAL files are missing: how far its data went cannot be told", null);
  const shared = sharedParts(local, accepted);
  if (shared === 0) return reseed("the first timelines differ", null);
  const foreign = foreignPromotion(local, accepted);
  if (foreign !== null)
    return reseed(`timeline ${foreign} was made by another promotion than the accepted one`, null);
  const fork = leavesAt(local, accepted, recordEnd);
  if (fork === null) {
    if (recordEnd > acceptedEnd && local.length === accepted.length)
      return reseed(
        `its WAL ends at ${formatLsn(recordEnd)}, ahead of the accepted ${formatLsn(acceptedEnd)} on the same timeline`,
        { from: acceptedEnd, to: recordEnd },
      );
    return byBytes(facts, { kind: "follow", because: "its WAL is a prefix of the accepted history" }, null);
  }
  const diverged = { from: fork, to: recordEnd };
  if (!facts.hasSource && facts.bytes !== "different")
    return { kind: "wait", because: "no primary to rewind from is in sight" };
  return byBytes(
    facts,
    {
      kind: "rewind",
      fork,
      diverged,
      because: `its WAL left the accepted history at ${formatLsn(fork)}`,
    },
    diverged,
  );
}

function byBytes(
  { bytes }: RejoinFacts,
  allowed: Rejoin,
  diverged: { readonly from: Lsn; readonly to: Lsn } | null,
): Rejoin {
  if (bytes === "equal") return allowed;
  if (bytes === "different") return reseed("its bytes differ from the accepted ones", diverged);
  return { kind: "wait", because: "its bytes could not be compared with the log's yet" };
}

type Step = Pick<PathPart, "timeline" | "begin">;

/** How many parts are the same timeline with the same begin. */
function sharedParts(local: readonly Step[], accepted: readonly Step[]): number {
  let count = 0;
  while (
    count < local.length &&
    count < accepted.length &&
    local[count]!.timeline === accepted[count]!.timeline &&
    local[count]!.begin === accepted[count]!.begin
  )
    count += 1;
  return count;
}

/** A timeline that both sides have by number, made by two promotions: X11, X19. */
function foreignPromotion(local: readonly PathPart[], accepted: readonly PathPart[]): TimelineId | null {
  for (const part of local) {
    const other = accepted.find(({ timeline }) => timeline === part.timeline);
    if (other === undefined) continue;
    const isOther = other.promotion !== null && part.promotion !== null && other.promotion !== part.promotion;
    if (other.begin !== part.begin || isOther) return part.timeline;
  }
  return null;
}

/** Where WAL that ends at `recordEnd` leaves the accepted path; null when it does not. */
export function leavesAt(local: readonly Step[], accepted: readonly Step[], recordEnd: Lsn): Lsn | null {
  const shared = sharedParts(local, accepted);
  const acceptedLeaves = accepted[shared]?.begin;
  const localLeaves = local[shared]?.begin;
  if (acceptedLeaves === undefined) return localLeaves ?? null;
  if (localLeaves !== undefined) return localLeaves < acceptedLeaves ? localLeaves : acceptedLeaves;
  return recordEnd > acceptedLeaves ? acceptedLeaves : null;
}

const reseed = (because: string, diverged: { readonly from: Lsn; readonly to: Lsn } | null): Rejoin => ({
  kind: "re-seed",
  diverged,
  because,
});
