// What the steps of a gate need to know of the members: is anybody left who holds more, and whom will commits wait for from the first on?

import type { MemberView } from "./evidence.ts";
import type { GatePlan } from "./mind-types.ts";
import { type Holder, type Roster, isOrphaned } from "./roster.ts";
import { type SynchronousFacts, firstSynchronousNames } from "./synchronous.ts";

/** Standbys in sight that may lead come first; `counted` is the roster without this node. */
export function planGate(
  views: readonly MemberView[],
  self: Holder,
  roster: Roster | null,
  counted: readonly string[],
  policy: SynchronousFacts["policy"] | null,
): Pick<GatePlan, "synchronousNames" | "isOrphaned"> {
  if (policy === null) return { synchronousNames: null, isOrphaned: false };
  const reports = views.flatMap(({ sight, report }) => (sight.kind === "alive" ? (report ?? []) : []));
  const inSight = views
    .filter(({ sight, report }) => {
      const isThere = sight.kind === "alive" && report !== null;
      return isThere && report.standing !== "primary" && report.eligible;
    })
    .map(({ name }) => name);
  return {
    isOrphaned: roster !== null && isOrphaned(roster, [...reports, self]),
    synchronousNames: firstSynchronousNames(inSight, counted, policy),
  };
}
