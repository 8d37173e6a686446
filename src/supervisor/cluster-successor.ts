// Who takes over from this primary: the members in sight, as the choice needs them.

import { FULL_BYTES } from "../cluster/full-volume.ts";
import { chooseSuccessor, type Heir } from "../cluster/successor.ts";
import type { Cluster } from "./cluster.ts";

/** The member that shall lead; null with the reason when there is none. */
export function pickSuccessor(
  cluster: Cluster,
  asked: string | null,
  leastFreeBytes: number = FULL_BYTES,
): { readonly name: string | null; readonly because: string } {
  const { mind, settings, local } = cluster;
  const inSync = mind.roster?.inSync ?? null;
  const heirs = mind.views(cluster.nowMs).flatMap(({ sight, report }): Heir[] => {
    if (sight.kind !== "alive" || report === null) return [];
    const isIn = inSync?.some(({ name, volume }) => name === report.name && volume === report.volume);
    return [{ ...report, inSync: isIn ?? null, flushed: report.recordEnd }];
  });
  const choice = chooseSuccessor({
    heirs,
    ownBuild: settings.self.build,
    ownUpSeconds: mind.report(cluster.nowMs).upSeconds,
    flushed: local.recordEnd,
    lagLimitBytes: settings.lagLimitBytes,
    leastFreeBytes,
    asked,
  });
  return { name: choice.kind === "successor" ? choice.name : null, because: choice.because };
}
