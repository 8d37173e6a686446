// The settings of a member out of the node's settings; null for a node that is alone.

import {
  isEligible,
  flyMember,
  type Member,
  memberOf,
  parseFlyMachines,
  parseNodes,
} from "../cluster/members.ts";
import { newIncarnation } from "../cluster/member-wire.ts";
import { resolveTexts } from "../cluster/resolve.ts";
import { TIMERS } from "../cluster/timers.ts";
import type { ClusterSettings } from "../supervisor/cluster.ts";
import type { Settings } from "./settings.ts";

/** `build` names the software, so that a roll is recognised. Throws MembersError. */
export function clusterSettingsOf(settings: Settings, build: string): ClusterSettings | null {
  const { cluster, durability, node } = settings;
  const { nodeName, nodes, fly, priority, primaryRegion, forgetAfterMs } = cluster;
  if (node.releaseCommand || nodes.length === 0) return null;
  if (nodes.length === 1 && nodes[0] === nodeName) return null;
  const region = cluster.region ?? "";
  const isFly = fly !== null && nodes.length === 1 && nodes[0] === `${fly.app}.internal`;
  const members = isFly ? [flyMember(nodeName, fly.app)] : parseNodes(nodes.join(","), nodeName);
  const mode = durability.mode;
  return {
    self: {
      name: nodeName,
      region,
      priority,
      eligible: isEligible(region, priority, { primaryRegion, anyRegion: false }),
      incarnation: newIncarnation(),
      build,
    },
    members,
    discover: isFly ? () => discoverOnFly(fly.app, nodeName) : null,
    mind: {
      timers: { ...TIMERS, degradeMs: durability.graceMs, forgetMs: forgetAfterMs },
      synchronous: mode === "standby" || mode === "both" ? durability.policy : null,
      canFence: true,
    },
    lagLimitBytes: LAG_LIMIT_BYTES,
  };
}

/** Every started machine of the app is a member: `vms.<app>.internal` names them with their regions. */
async function discoverOnFly(app: string, own: string): Promise<readonly Member[]> {
  const machines = parseFlyMachines(await resolveTexts(`vms.${app}.internal`));
  return machines.map(({ id }) =>
    id === own ? memberOf(id, `${id}.vm.${app}.internal`) : flyMember(id, app),
  );
}

/** A standby further behind gets no readers and is no successor. */
const LAG_LIMIT_BYTES = 16 * 1024 * 1024;
