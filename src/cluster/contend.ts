// A node whose volume held a primary comes up: lead again, come back as a standby, or wait (section 5, T7, G7).

import type { Candidate } from "./candidates.ts";
import type { LogLife, MemberView } from "./evidence.ts";
import type { Timers } from "./timers.ts";

export interface ContendFacts {
  readonly nowMs: number;
  readonly startedMs: number;
  /** Since when it contends, and so looks at the log: what it saw before is forgotten. */
  readonly sinceMs: number;
  /** The roster as last known, without this node. */
  readonly counted: readonly string[];
  readonly members: readonly MemberView[];
  readonly logLife: LogLife | null;
  /** The newest fence was put for a promotion or a restore, and no history slot follows it yet. */
  readonly promotionPending: boolean;
  /** What this node holds. */
  readonly self: Candidate;
}

export type Contend = { readonly because: string } &
  /** Fence, then the junction: the log decides. */
  (
    | { readonly kind: "contend" }
    /** G7: the store is away, and everybody is in sight. */
    | { readonly kind: "lead-without-store" }
    | { readonly kind: "rejoin"; readonly primary: string }
    | { readonly kind: "wait" }
  );

/** Decides from facts alone. Whatever it says, the junction and the licence decide about acknowledging. */
export function decideContend(facts: ContendFacts, timers: Timers): Contend {
  const { members, nowMs, logLife } = facts;
  const alive = members.filter(({ sight }) => sight.kind === "alive");
  const lead = alive.find(({ report }) => report?.standing === "primary");
  if (lead !== undefined) return { kind: "rejoin", primary: lead.name, because: `${lead.name} leads` };
  const gate = alive.find(({ report }) => isRecent(report?.gateForMs ?? null, timers));
  if (gate !== undefined) return wait(`${gate.name} runs the gate`);
  const unseen = facts.counted.filter((name) => !alive.some((member) => member.name === name));
  const storeAnswers = logLife !== null && nowMs - logLife.readMs <= 2 * timers.signMs;
  if (unseen.length > 0 && nowMs - facts.startedMs < timers.closedMs)
    return wait(`${unseen.join(", ")} not heard yet`);
  if (!storeAnswers) {
    if (unseen.length > 0) return wait(`the store does not answer, and ${unseen.join(", ")} is out of sight`);
    if (nowMs - facts.sinceMs < STORE_GRACE_MS) return wait("the store does not answer yet");
    const ahead = alive.find((member) => isAhead(member, facts.self));
    if (ahead !== undefined)
      return wait(`the store does not answer, and ${ahead.name} may hold more than this node`);
    return { kind: "lead-without-store", because: "the store does not answer, and every member is in sight" };
  }
  if (unseen.length > 0 && facts.promotionPending && nowMs - logLife.sameSinceMs < timers.gateStaleMs)
    return wait("a promotion was fenced, and its history may still follow");
  return {
    kind: "contend",
    because:
      unseen.length === 0 ? "no member leads" : `${unseen.join(", ")} is out of sight; the log decides`,
  };
}

/** Without the log only the members' own words say who has the newest history. */
function isAhead({ report }: MemberView, self: Candidate): boolean {
  if (report === null || report.standing === "joining") return true;
  if (report.timeline !== self.timeline) return report.timeline > self.timeline;
  if (report.recordEnd !== self.recordEnd) return report.recordEnd > self.recordEnd;
  return report.standing === "contender" && report.name < self.name;
}

const isRecent = (gateForMs: number | null, timers: Timers): boolean =>
  gateForMs !== null && gateForMs < timers.gateStaleMs;

const wait = (because: string): Contend => ({ kind: "wait", because });

/** A store that was not asked yet, or is slow to answer, is not away. */
const STORE_GRACE_MS = 5_000;
