// DURABILITY=standby: whom a commit waits for, and who may be promoted. One small step at a time, in an order without a gap.

import type { Lsn } from "../wal/lsn.ts";
import type { Roster } from "./roster.ts";

/** A standby as pg_stat_replication shows it. */
export interface StreamingStandby {
  readonly name: string;
  readonly flushed: Lsn;
  /** Postgres counts it as one of those it waits for. */
  readonly isSync: boolean;
}

export interface SynchronousFacts {
  readonly nowMs: number;
  /** Commits wait for every one of these (`FIRST n`), as Postgres has it in force. */
  readonly configured: readonly string[];
  /** The roster's `inSync`, as it was written last. */
  readonly recorded: readonly string[];
  readonly streaming: readonly StreamingStandby[];
  /** In sight now, in the roster, and may be promoted: worth waiting for. */
  readonly wanted: readonly string[];
  /** From `CatchUpMark`: who flushed this has everything acknowledged; null until it is known. */
  readonly configuredAt: Lsn | null;
  /** Since when a standby in `configured` is out of sight or not streaming; null when all are there. */
  readonly missingSinceMs: number | null;
  /** `strict`: commits wait as long as it takes. `bounded`: after `degradeMs` they go on without a standby, and say so. */
  readonly policy: "strict" | "bounded";
  readonly degradeMs: number;
}

export type SynchronousStep = { readonly because: string } & (
  | { readonly kind: "none" }
  /** Set synchronous_standby_names; `configuredAt` is null until it is in force. */
  | { readonly kind: "configure"; readonly names: readonly string[] }
  /** Swap the roster's `inSync`. */
  | { readonly kind: "record"; readonly names: readonly string[] }
);

/**
 * The next step. What must always hold: everybody in `recorded` is in `configured` for every acknowledgement, so each of them has
 * everything. A name is recorded only when commits wait for it *and* it has what was acknowledged before; it is no longer waited for
 * only after it left the record.
 */
export function planSynchronous(facts: SynchronousFacts): SynchronousStep {
  const { configured, recorded, streaming } = facts;
  const isThere = (name: string): boolean =>
    facts.wanted.includes(name) && streaming.some((standby) => standby.name === name);

  const unprotected = recorded.filter((name) => !configured.includes(name));
  if (unprotected.length > 0)
    return configure(unique([...configured, ...recorded]), `the record names ${unprotected.join(", ")}`);

  const target = recorded.find(isThere) ?? configured.find(isThere) ?? bestStandby(facts, isThere);
  if (target === undefined) return withoutStandby(facts);
  if (!configured.includes(target))
    return configure(unique([...configured, target]), `commits wait for ${target} from now on`);
  if (!recorded.includes(target)) {
    if (!hasCaughtUp(facts, target)) return none(`${target} is catching up`);
    return { kind: "record", names: [target], because: `${target} has everything acknowledged` };
  }
  const spare = recorded.filter((name) => name !== target);
  if (spare.length > 0)
    return { kind: "record", names: [target], because: `${spare.join(", ")} left: ${target} is enough` };
  if (configured.length > 1) return configure([target], `commits wait for ${target} alone`);
  return none(`${target} has everything acknowledged`);
}

/** Nobody to wait for: hang, or go on and say so, in that order: the record first. */
function withoutStandby(facts: SynchronousFacts): SynchronousStep {
  const { configured, recorded, missingSinceMs, nowMs } = facts;
  if (configured.length === 0 && recorded.length === 0) return none("no standby is there");
  if (facts.policy === "strict") return none("commits wait for a standby to come");
  const waitedMs = missingSinceMs === null ? 0 : nowMs - missingSinceMs;
  if (waitedMs < facts.degradeMs) return none(`commits wait for a standby since ${Math.round(waitedMs)} ms`);
  if (recorded.length > 0)
    return { kind: "record", names: [], because: "no standby is there: nobody may be promoted from now on" };
  return configure([], "no standby is there: commits go on without one");
}

/** Only when Postgres itself counts it in and it passed the position read after that was in force. */
function hasCaughtUp({ streaming, configuredAt }: SynchronousFacts, name: string): boolean {
  const standby = streaming.find((candidate) => candidate.name === name);
  return standby !== undefined && standby.isSync && configuredAt !== null && standby.flushed >= configuredAt;
}

function bestStandby(
  { streaming }: SynchronousFacts,
  isThere: (name: string) => boolean,
): string | undefined {
  const there = streaming.filter(({ name }) => isThere(name));
  there.sort((a, b) =>
    a.flushed === b.flushed ? (a.name < b.name ? -1 : 1) : a.flushed > b.flushed ? -1 : 1,
  );
  return there[0]?.name;
}

/**
 * What a new primary sets before its doors open: no window without protection. A member in sight will follow within a second;
 * `strict` waits for somebody even when none is in sight.
 */
export function firstSynchronousNames(
  inSight: readonly string[],
  members: readonly string[],
  policy: SynchronousFacts["policy"],
): readonly string[] {
  const first = [...inSight].sort()[0];
  if (first !== undefined) return [first];
  return policy === "strict" ? [...members].sort().slice(0, 1) : [];
}

/** Whom the commits of a primary wait for that starts again: who is recorded, or under `strict` whoever may come; nobody where the mode does not ask. */
export function synchronousNamesAtStart(
  { inSync, members }: Pick<Roster, "inSync" | "members">,
  self: string,
  policy: SynchronousFacts["policy"] | null,
): readonly string[] {
  const recorded = (inSync ?? []).map(({ name }) => name);
  if (inSync === null || recorded.length > 0 || policy === null) return recorded;
  return firstSynchronousNames([], others(members, self), policy);
}

/**
 * What a standby has in its configuration, where it means nothing: promoted, it makes commits wait from the first on. Nothing under `bounded`: there
 * nobody may be in sight, and commits shall go on.
 */
export function synchronousNamesOfStandby(
  members: readonly string[],
  self: string,
  policy: SynchronousFacts["policy"] | null,
): readonly string[] {
  return policy === "strict" ? others(members, self) : [];
}

const others = (members: readonly string[], self: string): readonly string[] =>
  members.filter((name) => name !== self).sort();

/** The value of synchronous_standby_names: every name, quoted; empty for none. */
export function formatSynchronousNames(names: readonly string[]): string {
  if (names.length === 0) return "";
  return `FIRST ${names.length} (${names.map((name) => `"${name.replaceAll('"', '""')}"`).join(", ")})`;
}

const unique = (names: readonly string[]): readonly string[] => [...new Set(names)].sort();
const configure = (names: readonly string[], because: string): SynchronousStep => ({
  kind: "configure",
  names,
  because,
});
const none = (because: string): SynchronousStep => ({ kind: "none", because });
