// May this standby begin the gate? Evidence only: safety is the fence's, the licence's and the roster's (G1, G2).

import { type Candidate, type StoreEnd, bestCandidate } from "./candidates.ts";
import type { Sight } from "./detection.ts";
import type { Report } from "./report.ts";
import type { Timers } from "./timers.ts";

/** What this node knows of one other member. */
export interface MemberView {
  readonly name: string;
  readonly sight: Sight;
  /** The newest report, however old; null when it never answered. */
  readonly report: Report | null;
  /** When that report came. */
  readonly reportMs: number | null;
}

/** The store's signs of life of a primary: the log grew, or the hint changed. */
export interface LogLife {
  /** When the last look that succeeded was begun. */
  readonly readMs: number;
  /** Since when nothing changed, as far as this node saw. */
  readonly sameSinceMs: number;
}

/** Is this member in sight, and does it say that it leads? */
export function leads(views: readonly MemberView[], name: string | null): boolean {
  const view = views.find((candidate) => candidate.name === name);
  return view?.sight.kind === "alive" && view.report?.standing === "primary";
}

/** A member that has said that it leads since `sinceMs`. */
export const leaderSince = (views: readonly MemberView[], sinceMs: number): MemberView | undefined =>
  views.find(({ sight, report, reportMs }) => {
    const isFresh = sight.kind === "alive" && (reportMs ?? -Infinity) > sinceMs;
    return isFresh && report?.standing === "primary";
  });

export interface EvidenceFacts {
  readonly nowMs: number;
  /** This standby, as a candidate. */
  readonly self: Candidate;
  /** In the roster, as last seen; the gate checks it again with its claim. */
  readonly inRoster: boolean;
  /** Synchronous modes: who in sight is known to hold everything acknowledged; nobody else is promoted. Null where the mode does not ask. */
  readonly holders: readonly string[] | null;
  /** An operator switched automatic failover off. */
  readonly isPaused: boolean;
  /** The store honours conditional writes (protocol section 13, U4). */
  readonly canFence: boolean;
  /** The primary this node follows or last knew; null after a cold start. */
  readonly primary: string | null;
  readonly members: readonly MemberView[];
  readonly logLife: LogLife | null;
  readonly storeEnd: StoreEnd | null;
  /** Since when everything else allowed the gate while a better candidate did not act; null when that is new. */
  readonly passedOverSinceMs: number | null;
  /** When this process began. */
  readonly startedMs: number;
  /** The primary handed over to this node. */
  readonly isHandedOver: boolean;
}

export type Evidence = { readonly because: string } & (
  | { readonly kind: "begin" }
  /** Look again; `log` asks for another look at the log's life. */
  | { readonly kind: "wait"; readonly waitsForBetter: boolean }
  /** Not as things stand: nothing that time alone will change. */
  | { readonly kind: "never" }
);

/** Decides from facts alone. */
export function decideEvidence(facts: EvidenceFacts, timers: Timers): Evidence {
  const { self, members, nowMs } = facts;
  if (!facts.canFence) return never("the store cannot fence: only an operator promotes here");
  if (!facts.inRoster) return never("this node is not in the roster");
  if (!facts.isHandedOver) {
    if (facts.isPaused) return never("automatic failover is paused");
    if (!self.eligible) return never("its region or priority forbids that this node leads");
  }
  if (!mayLead(facts, self.name)) return never("this standby may lack acknowledged commits");
  if (facts.isHandedOver) return { kind: "begin", because: "the primary handed over" };

  const lead = livingPrimary(facts, timers);
  if (lead !== null) return wait(lead);
  const other = members.find(({ sight, report }) => runsGate(report, sight, timers));
  if (other !== undefined) return wait(`${other.name} runs the gate`);
  const still = decideStill(facts, timers);
  if (still !== null) return wait(still);
  const best = bestCandidate([self, ...rivals(facts)], facts.storeEnd);
  if (best !== null && best.name !== self.name) {
    const overdue =
      facts.passedOverSinceMs !== null && nowMs - facts.passedOverSinceMs >= timers.candidateGraceMs;
    if (!overdue) return { ...wait(`${best.name} is the better candidate`), waitsForBetter: true };
  }
  return { kind: "begin", because: goneBecause(facts) };
}

/** Why a primary may still live; null when nothing speaks for it. */
function livingPrimary(facts: EvidenceFacts, timers: Timers): string | null {
  const { members, nowMs, primary } = facts;
  for (const { name, sight, report, reportMs } of members) {
    if (sight.kind === "gone") continue;
    const standing = report?.standing;
    const isFresh = sight.kind === "alive" && reportMs !== null;
    if (standing === "primary" && name !== primary && sight.kind === "alive") return `${name} leads`;
    if (name === primary && standing === "primary")
      return sight.kind === "alive" ? `${name} leads` : `${name} has been silent for ${sight.forMs} ms only`;
    if (name === primary && standing === "leaving" && sight.kind === "alive") return `${name} hands over`;
    if (name === primary && sight.kind === "silent")
      return `${name} has been silent for ${sight.forMs} ms only`;
    if (standing === "contender" && isFresh && report !== null) {
      const ageMs = report.upSeconds * 1000;
      const knowsMs = nowMs - facts.startedMs;
      if (Math.min(ageMs, knowsMs) < timers.contenderGraceMs)
        return `${name} held a primary and asks the log whether it still leads`;
    }
    // Another member still hears the primary: this node is the one that is cut off.
    const seen = sight.kind === "alive" ? (report?.primary ?? null) : null;
    if (seen !== null && reportMs !== null && seen.name === (primary ?? seen.name)) {
      const agoMs = Math.round(seen.heardAgoMs + (nowMs - reportMs));
      const target = members.find((member) => member.name === seen.name);
      const steppedDown = target?.sight.kind === "alive" && target.report?.standing !== "primary";
      if (agoMs < timers.closedMs && !steppedDown) return `${name} heard from ${seen.name} ${agoMs} ms ago`;
    }
  }
  const unheard = members.find(({ sight }) => sight.kind === "silent" && sight.because === "not heard yet");
  if (primary === null && unheard !== undefined) return `${unheard.name} was not heard yet`;
  return null;
}

const runsGate = (report: Report | null, sight: Sight, timers: Timers): boolean =>
  sight.kind !== "gone" &&
  report !== null &&
  report.gateForMs !== null &&
  report.gateForMs < timers.gateStaleMs;

/** Has the log stopped growing? Null when it has; else what is missing. */
function decideStill({ logLife, nowMs, members, primary }: EvidenceFacts, timers: Timers): string | null {
  if (logLife === null) return "the log was not looked at yet";
  if (nowMs - logLife.readMs > 2 * timers.signMs) return "the store does not answer";
  // Everybody is in sight and nobody leads: nothing else could make the log grow.
  if (members.every(({ sight }) => sight.kind === "alive")) return null;
  const target = members.find(({ name }) => name === primary);
  const closed = target?.sight.kind === "gone" && target.sight.how === "closed";
  const neededMs = closed ? timers.stillAfterCloseMs : timers.stillAfterSilenceMs;
  const stillMs = logLife.readMs - logLife.sameSinceMs;
  return stillMs >= neededMs ? null : `the log has been still for ${Math.round(stillMs)} ms only`;
}

/** Members in sight that could lead instead. */
function rivals(facts: EvidenceFacts): Candidate[] {
  return facts.members
    .filter(({ sight, report }) => sight.kind === "alive" && report?.standing === "standby")
    .filter(({ name }) => mayLead(facts, name))
    .map(({ report }) => report!);
}

const mayLead = ({ holders }: EvidenceFacts, name: string): boolean =>
  holders === null || holders.includes(name);

function goneBecause({ primary, members }: EvidenceFacts): string {
  if (primary === null) return "no member leads";
  const sight = members.find(({ name }) => name === primary)?.sight;
  if (sight === undefined) return `${primary} is no member any more`;
  return sight.kind === "gone" ? `${primary} is gone: ${sight.because}` : `${primary} does not lead any more`;
}

const wait = (because: string): Evidence & { kind: "wait" } => ({
  kind: "wait",
  waitsForBetter: false,
  because,
});
const never = (because: string): Evidence => ({ kind: "never", because });
