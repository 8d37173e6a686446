// Whose WAL is longest? Then priority, then name. Region and priority 0 exclude.

import { type Lsn, maxLsn } from "../wal/lsn.ts";

/** What counts when members are compared (design section 6, protocol T6 last line). */
export interface Candidate {
  readonly name: string;
  readonly eligible: boolean;
  readonly timeline: number;
  /** Record end of greatest(receive, replay): receive alone is low after a restart, and null when fed from the archive. */
  readonly recordEnd: Lsn;
  readonly priority: number;
}

/** What the store holds of the winner's history, if it was read: everybody can fetch up to there. */
export interface StoreEnd {
  readonly timeline: number;
  readonly end: Lsn;
}

/** Negative when `a` is the better one. */
export function compareCandidates(a: Candidate, b: Candidate, store: StoreEnd | null): number {
  if (a.eligible !== b.eligible) return a.eligible ? -1 : 1;
  const [reachA, reachB] = [reachOf(a, store), reachOf(b, store)];
  if (reachA.timeline !== reachB.timeline) return reachB.timeline - reachA.timeline;
  if (reachA.end !== reachB.end) return reachA.end > reachB.end ? -1 : 1;
  if (a.priority !== b.priority) return b.priority - a.priority;
  if (a.name === b.name) return 0;
  return a.name < b.name ? -1 : 1;
}

/** The best of those who may lead, or null. */
export function bestCandidate(candidates: readonly Candidate[], store: StoreEnd | null): Candidate | null {
  const eligible = candidates.filter((candidate) => candidate.eligible);
  return eligible.sort((a, b) => compareCandidates(a, b, store))[0] ?? null;
}

/** How far the candidate comes once it has fetched what the log has. */
function reachOf(candidate: Candidate, store: StoreEnd | null): StoreEnd {
  const own = { timeline: candidate.timeline, end: candidate.recordEnd };
  if (store === null || store.timeline < own.timeline) return own;
  if (store.timeline > own.timeline) return store;
  return { timeline: own.timeline, end: maxLsn(own.end, store.end) };
}
