// The cluster on one screen: who is what, where it stands, who counts, and why. For people and as JSON.

import type { MemberView } from "../cluster/evidence.ts";
import type { Report } from "../cluster/report.ts";
import { formatLsn } from "../wal/lsn.ts";
import type { Cluster } from "./cluster.ts";
import type { MemberView as NodeMemberView } from "./node-view.ts";

interface Row {
  readonly name: string;
  /** Where the others reach it. */
  readonly host: string;
  readonly role: string;
  readonly sight: string;
  readonly timeline: number | null;
  readonly position: string | null;
  readonly lagBytes: number | null;
  readonly region: string | null;
  readonly priority: number | null;
  readonly inRoster: boolean;
  readonly inSync: boolean | null;
}

/** For checks, metrics and status. */
export function memberView(cluster: Cluster): NodeMemberView {
  const { mind } = cluster;
  const now = cluster.nowMs;
  const views = mind.views(now);
  const alive = views.flatMap(({ sight, report }) =>
    sight.kind === "alive" && report !== null ? report : [],
  );
  return {
    standing: mind.standing,
    primary: mind.primary,
    isServed: [mind.report(now), ...alive].some(({ accepting }) => accepting),
    members: mind.roster?.members.length ?? views.length + 1,
    inSight: alive.length + 1,
    because: mind.because,
  };
}

/** Lines to print. */
export function describeCluster(cluster: Cluster, asJson: boolean): readonly string[] {
  const { mind } = cluster;
  const now = cluster.nowMs;
  const self = mind.report(now);
  const views = mind.views(now);
  const reports = [
    self,
    ...views.flatMap(({ sight, report }) => (sight.kind === "alive" ? (report ?? []) : [])),
  ];
  const lead = reports.find(({ standing }) => standing === "primary") ?? null;
  const roster = mind.roster;
  const rows = [
    rowOf(cluster, self, null, lead),
    ...views.map((view) => rowOf(cluster, view.report, view, lead)),
  ];
  if (asJson) {
    return [
      JSON.stringify({
        node: self.name,
        primary: lead?.name ?? null,
        accepting: lead?.accepting ?? false,
        paused: roster?.isPaused ?? false,
        because: mind.because,
        roster,
        members: rows,
      }),
    ];
  }
  const table = [
    ["NODE", "ROLE", "SEEN", "TIMELINE", "POSITION", "BEHIND", "REGION", "COUNTS"],
    ...rows.map((row) => [
      row.name === self.name ? `${row.name} *` : row.name,
      row.role,
      row.sight,
      row.timeline === null ? "-" : String(row.timeline),
      row.position ?? "-",
      row.lagBytes === null ? "-" : String(row.lagBytes),
      row.region === null || row.region === "" ? "-" : row.region,
      row.inRoster ? (row.inSync === true ? "yes, in sync" : "yes") : "no",
    ]),
  ];
  const widths = table[0]!.map((_cell, column) => Math.max(...table.map((row) => row[column]!.length)));
  return [
    ...table.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    ),
    "",
    lead === null
      ? "no member leads"
      : `${lead.name} leads${lead.accepting ? "" : ", and accepts nothing now"}`,
    `this node: ${mind.because}`,
    ...(roster?.isPaused === true ? ["automatic failover is paused: holdfast cluster resume"] : []),
  ];
}

function rowOf(cluster: Cluster, report: Report | null, view: MemberView | null, lead: Report | null): Row {
  const { mind, settings } = cluster;
  const name = report?.name ?? view?.name ?? settings.self.name;
  const inSync = mind.roster?.inSync ?? null;
  const isFollower = lead !== null && report !== null && report.name !== lead.name;
  return {
    name,
    host: cluster.hostOf(name),
    role: report === null ? "unknown" : describeRole(report),
    sight:
      view === null
        ? "itself"
        : view.sight.kind === "alive"
          ? "alive"
          : `${view.sight.kind}: ${view.sight.because}`,
    timeline: report?.timeline ?? null,
    position: report === null ? null : formatLsn(report.recordEnd),
    lagBytes: isFollower ? Math.max(0, Number(lead.recordEnd - report.replayed)) : null,
    region: report?.region ?? null,
    priority: report?.priority ?? null,
    inRoster: mind.roster?.members.includes(name) ?? false,
    inSync: inSync === null ? null : inSync.some((holder) => holder.name === name),
  };
}

const describeRole = ({ standing, accepting, streaming }: Report): string =>
  standing === "primary"
    ? accepting
      ? "primary"
      : "primary (closed)"
    : standing === "standby"
      ? streaming
        ? "standby"
        : "standby (not streaming)"
      : standing;
