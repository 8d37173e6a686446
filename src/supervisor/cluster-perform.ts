// What a boot decision means for a node that has others: joining, following, contending, and a restore while the others wait.

import type { BootDecision } from "./boot-decision.ts";
import type { Cluster } from "./cluster.ts";
import { type MemberEnd, runMember } from "./cluster-member.ts";
import { seedStandby } from "./cluster-seed.ts";
import type { Verbs } from "./front.ts";
import type { NodeContext } from "./node-context.ts";

/** Null: a member does here what a lone node does. */
export async function performAsMember(
  decision: BootDecision,
  node: NodeContext,
  verbs: Verbs,
  cluster: Cluster,
): Promise<MemberEnd | null> {
  const { kind } = decision;
  if (kind === "contend" || kind === "follow") return await runMember(node, verbs, cluster);
  if (kind === "join" || kind === "restore-latest") {
    // A standby of the store's history first; the gate promotes it when no member leads.
    await seedStandby(node, cluster, kind === "join" ? decision.primary : null);
    return { kind: "again" };
  }
  // The others wait: this node was told to bring another history.
  if (kind === "restore-asked" || kind === "replay") cluster.became({ kind: "leaving" });
  return null;
}
