// To whom does a primary hand over, when it must stop or is told to?

import type { Lsn } from "../wal/lsn.ts";
import { bytesBetween } from "../wal/lsn.ts";

/** A member in sight, as far as a hand-over cares. */
export interface Heir {
  readonly name: string;
  readonly eligible: boolean;
  readonly standing: string;
  readonly streaming: boolean;
  /** null where the mode does not ask. */
  readonly inSync: boolean | null;
  readonly priority: number;
  /** Names the software it runs. */
  readonly build: string;
  readonly upSeconds: number;
  readonly flushed: Lsn;
  /** Room on its volume; null: not known. */
  readonly freeBytes: number | null;
}

export interface SuccessorFacts {
  readonly heirs: readonly Heir[];
  readonly ownBuild: string;
  readonly ownUpSeconds: number;
  readonly flushed: Lsn;
  readonly lagLimitBytes: number;
  /** With less room on its volume nobody takes over. */
  readonly leastFreeBytes: number;
  /** An operator named one. */
  readonly asked: string | null;
}

export type Successor =
  | { readonly kind: "successor"; readonly name: string; readonly because: string }
  | { readonly kind: "nobody"; readonly because: string };

/**
 * A roll restarts members in any order. A member that started after this one did, or runs other software, has been renewed in this
 * roll and will not be restarted again: handing over to it means the last switchover. Otherwise the one with the highest name, which
 * Fly restarts last. An operator's choice is taken, if it can lead.
 */
export function chooseSuccessor(facts: SuccessorFacts): Successor {
  const { heirs, asked } = facts;
  if (asked !== null) {
    const heir = heirs.find(({ name }) => name === asked);
    if (heir === undefined) return { kind: "nobody", because: `${asked} is not in sight` };
    const reason = unfit(heir, facts);
    if (reason !== null && reason !== INELIGIBLE)
      return { kind: "nobody", because: `${asked} cannot lead: ${reason}` };
    return { kind: "successor", name: asked, because: "it was asked for" };
  }
  const fit = heirs.filter((heir) => unfit(heir, facts) === null);
  if (fit.length === 0) {
    const reasons = heirs.map((heir) => `${heir.name}: ${unfit(heir, facts)}`);
    return { kind: "nobody", because: reasons.length === 0 ? "no member is in sight" : reasons.join("; ") };
  }
  const isRenewed = (heir: Heir): boolean =>
    heir.build !== facts.ownBuild || heir.upSeconds < Math.min(ROLL_SECONDS, facts.ownUpSeconds);
  const best = fit.sort((a, b) => {
    if (isRenewed(a) !== isRenewed(b)) return isRenewed(a) ? -1 : 1;
    if (a.priority !== b.priority) return b.priority - a.priority;
    return a.name > b.name ? -1 : 1;
  })[0]!;
  return {
    kind: "successor",
    name: best.name,
    because: isRenewed(best) ? "it was renewed in this roll" : "it is likely to be renewed last",
  };
}

const INELIGIBLE = "its region or priority forbids it";

/** Why this member cannot take over; null when it can. */
function unfit(heir: Heir, { flushed, lagLimitBytes, leastFreeBytes }: SuccessorFacts): string | null {
  if (heir.standing !== "standby") return `it is ${heir.standing}`;
  if (!heir.streaming) return "it does not stream";
  if (heir.inSync === false) return "it may lack acknowledged commits";
  const lag = heir.flushed >= flushed ? 0 : bytesBetween(heir.flushed, flushed);
  if (lag > lagLimitBytes) return `it is ${lag} bytes behind, more than ${lagLimitBytes}`;
  if (heir.freeBytes !== null && heir.freeBytes < leastFreeBytes)
    return `its volume has only ${heir.freeBytes} bytes left`;
  if (!heir.eligible) return INELIGIBLE;
  return null;
}

/** A member younger than this started in the roll that is going on. */
const ROLL_SECONDS = 1_800;
