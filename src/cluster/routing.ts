// Where HAProxy shall send clients: the primary that accepts, and standbys that are close behind it. Pure.

import type { MemberView } from "./evidence.ts";
import type { Report } from "./report.ts";

export interface Target {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface ClusterRoute {
  readonly primary: Target | null;
  readonly standbys: readonly Target[];
}

export interface RoutingFacts {
  /** What this node says of itself now. */
  readonly self: Report;
  readonly views: readonly MemberView[];
  /** The address that a member's last answer came from; null when it never answered. */
  readonly addressOf: (name: string) => string | null;
  readonly port: number;
  /** A standby further behind than this gets no readers. */
  readonly lagLimitBytes: number;
  /** Where a silent primary's sessions go on waiting: the route as it is. */
  readonly current: ClusterRoute;
}

/** This node itself is reached over the loopback. */
export function decideRoute(facts: RoutingFacts): ClusterRoute {
  const { self, views, addressOf, port, current } = facts;
  const target = (name: string): Target | null => {
    const host = name === self.name ? "127.0.0.1" : addressOf(name);
    return host === null ? null : { name, host, port };
  };
  const alive = views.filter(({ sight, report }) => sight.kind === "alive" && report !== null);
  const reports = [self, ...alive.map(({ report }) => report!)];
  const leaders = reports.filter(({ accepting }) => accepting);
  leaders.sort((a, b) => (b.epoch ?? -1) - (a.epoch ?? -1));
  const leader = leaders[0];
  const primary = leader === undefined ? keepSilent(facts) : target(leader.name);
  const readers = reports.filter((report) => isReader(report, leader, facts.lagLimitBytes));
  const standbys = readers.flatMap(({ name }) => target(name) ?? []);
  // Readers are better off with the primary than with nobody.
  if (standbys.length === 0 && primary !== null) return { primary, standbys: [primary] };
  return { primary, standbys: standbys.length > 0 ? standbys : leader === undefined ? current.standbys : [] };
}

/** Nobody accepts. A primary that is only silent, or frozen for a moment, keeps its sessions; one that is gone or stepped down does not. */
function keepSilent({ self, views, current }: RoutingFacts): Target | null {
  const { primary } = current;
  if (primary === null) return null;
  if (primary.name === self.name) return self.standing === "primary" ? primary : null;
  const view = views.find(({ name }) => name === primary.name);
  if (view === undefined || view.sight.kind === "gone") return null;
  return view.report?.standing === "primary" ? primary : null;
}

function isReader(report: Report, leader: Report | undefined, lagLimitBytes: number): boolean {
  if (report.standing !== "standby" || !report.streaming) return false;
  if (leader === undefined) return true;
  if (report.timeline !== leader.timeline) return false;
  return leader.recordEnd - report.replayed <= BigInt(lagLimitBytes);
}

export const sameRoute = (a: ClusterRoute, b: ClusterRoute): boolean =>
  JSON.stringify(a) === JSON.stringify(b);
