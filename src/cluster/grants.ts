// A member's promise to a primary: "I keep my doors shut for the doors' wait from this answer on."

import type { GrantFacts } from "./mind-types.ts";

/** Never from one that leads, contends or runs a gate itself, and never to a primary that was outranked. */
export function mayGrant({ standing, runsGate, asker, known }: GrantFacts): boolean {
  if (runsGate) return false;
  if (standing === "primary" || standing === "candidate") return false;
  if (asker.standing !== "primary" && asker.standing !== "candidate" && asker.standing !== "contender")
    return false;
  return known === null || known.name === asker.name || known.epoch <= (asker.epoch ?? -1);
}
