// What the steps of a gate need to know of the members: whom the new primary's commits wait for from the first on.

import type { MemberView } from "./evidence.ts";
import type { GatePlan } from "./mind-types.ts";
import { type SynchronousFacts, firstSynchronousNames } from "./synchronous.ts";

/** Standbys in sight that may lead come first; `counted` is the roster without this node. */
export function planGate(
  views: readonly MemberView[],
  counted: readonly string[],
  policy: SynchronousFacts["policy"] | null,
): Pick<GatePlan, "synchronousNames"> {
  if (policy === null) return { synchronousNames: null };
  const inSight = views
    .filter(({ sight, report }) => {
      const isThere = sight.kind === "alive" && report !== null;
      return isThere && report.standing !== "primary" && report.eligible;
    })
    .map(({ name }) => name);
  return { synchronousNames: firstSynchronousNames(inSight, counted, policy) };
}
