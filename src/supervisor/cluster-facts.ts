// What the boot decision asks of the other members, after everybody answered or had time to.

import type { MembersFacts } from "./boot-decision.ts";
import type { Cluster } from "./cluster.ts";

/** `isEmpty`: this volume holds nothing. */
export async function gatherMembers(
  cluster: Cluster,
  isEmpty: boolean,
  sleep: (ms: number) => Promise<void>,
): Promise<MembersFacts> {
  for (let waitedMs = 0; ; waitedMs += POLL_MS) {
    const facts = look(cluster, isEmpty);
    if (facts.primary !== null || facts.allSeen || waitedMs >= FIRST_ANSWERS_MS) return facts;
    await sleep(POLL_MS);
  }
}

function look({ mind, nowMs, settings }: Cluster, isEmpty: boolean): MembersFacts {
  const views = mind.views(nowMs);
  const lead = views.find(({ sight, report }) => sight.kind === "alive" && report?.standing === "primary");
  const unheard = views.filter(({ sight, report }) => report === null && sight.kind === "silent");
  const alive = views.flatMap(({ sight, report }) =>
    sight.kind === "alive" && report !== null ? report : [],
  );
  const holder = alive.find(({ standing }) => standing !== "joining");
  const { self } = settings;
  const joiners = alive.filter(({ standing }) => standing === "joining");
  const first = [self, ...joiners].sort(
    (a, b) => Number(b.eligible) - Number(a.eligible) || (a.name < b.name ? -1 : 1),
  )[0]!;
  return {
    primary: lead?.name ?? null,
    // A node with data decides with its mind; who is out of sight matters to it there.
    allSeen: !isEmpty || unheard.length === 0,
    mayFound: true,
    better: holder?.name ?? (first.name === self.name ? null : first.name),
  };
}

const POLL_MS = 100;
/** At the start: the others may just be starting too. */
const FIRST_ANSWERS_MS = 3_000;
