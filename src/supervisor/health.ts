// Checks: a view of the node in, verdicts with their sentences out.

import { takesNoWrites } from "./disk-pressure.ts";
import type { NodeView } from "./node-view.ts";

export interface Check {
  readonly name: string;
  readonly passing: boolean;
  readonly sentence: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

/** How old may an archive that is behind become before its check fails. */
export const LIMITS = {
  archiveLagSeconds: 30,
  /** What archive_command is not allowed to let go for so long fills the disk. */
  archiveWaitSeconds: 60,
  diskFreeShare: 0.1,
  backupAgeSeconds: 3 * 24 * 3600,
} as const;

/** The supervisor answers and gets on: true in every phase but `failed`. A restore is alive; a restart would only interrupt it. */
export function liveCheck(view: NodeView): Check {
  return { name: "live", passing: view.phase !== "failed", sentence: `${view.phase}: ${view.because}` };
}

/** Clients are let in: a primary takes writes, a standby reads. */
export function readyCheck(view: NodeView): Check {
  const passing = view.phase === "running" && view.doorsOpen && view.postgresUp;
  return {
    name: "ready",
    passing,
    sentence: passing ? `${view.role} on timeline ${view.timeline}` : `${view.phase}: ${view.because}`,
  };
}

/** The word that HAProxy, flyctl and people read. */
export function roleWord(view: NodeView): string {
  if (view.phase !== "running" || !view.doorsOpen) return view.phase === "running" ? "closed" : view.phase;
  return view.role === "standby" ? "replica" : view.role;
}

/** WAL reaches the store. */
export function archiveCheck(view: NodeView): Check {
  const { streamer } = view;
  if (streamer === null)
    return {
      name: "archive",
      passing: view.role !== "primary",
      sentence: "no streamer runs on this node now",
    };
  const trouble = streamer.store ?? streamer.connection;
  const late = streamer.lagSeconds > LIMITS.archiveLagSeconds;
  const fenced = streamer.phase === "fenced";
  const stuck = stuckFile(view);
  const last = trouble === null ? "" : `; last error: ${trouble.lastError}`;
  return {
    name: "archive",
    passing: !late && !fenced && stuck === null && streamer.alarms.length === 0,
    sentence: [
      `${streamer.phase}, ${streamer.lagBytes} bytes and ${streamer.lagSeconds.toFixed(1)} s behind${last}`,
      ...(stuck === null ? [] : [stuck]),
      ...streamer.alarms,
    ].join("; "),
  };
}

/** What keeps WAL on the disk; null while archive_command gets on. */
export function stuckFile({ nextToArchive, readySegments, atMs }: NodeView): string | null {
  if (nextToArchive === null) return null;
  const seconds = (atMs - nextToArchive.sinceMs) / 1000;
  return seconds <= LIMITS.archiveWaitSeconds
    ? null
    : `"${nextToArchive.name}" waits for archive_command since ${Math.round(seconds)} s, and ${readySegments} segments stay on the disk`;
}

export function postgresCheck(view: NodeView): Check {
  return {
    name: "postgres",
    passing: view.postgresUp && view.phase === "running",
    sentence: view.postgresUp
      ? `accepts connections as ${view.role}`
      : `does not accept connections: ${view.because}`,
  };
}

/**
 * What gates a deploy: a member that fills its volume, rewinds or waits while another one serves must not stop the roll half-way. Null
 * where the ordinary checks decide.
 */
export function deployCheck({ member, phase, role, because }: NodeView): Check | null {
  if (member === null || !member.isServed || role === "primary") return null;
  if (phase === "failed" || phase === "running") return null;
  return {
    name: "member",
    passing: true,
    sentence: `${member.primary} serves; this node is ${phase}: ${because}`,
  };
}

export function backupCheck(view: NodeView): Check {
  const { archive, schedule } = view;
  const trouble = schedule?.trouble ?? null;
  if (trouble !== null)
    return {
      name: "backup",
      passing: false,
      sentence: `${trouble.failures} runs failed in a row: ${trouble.lastError}`,
    };
  if (archive?.lastBackup === null || archive === null)
    return { name: "backup", passing: view.phase !== "running", sentence: "no base backup is known yet" };
  const ageSeconds = (view.atMs - archive.lastBackup.finishedMs) / 1000;
  return {
    name: "backup",
    passing: ageSeconds < LIMITS.backupAgeSeconds,
    sentence: `${archive.lastBackup.name} is ${Math.round(ageSeconds)} s old`,
  };
}

export function diskCheck(view: NodeView): Check {
  if (view.disk === null) return { name: "disk", passing: true, sentence: "not measured yet" };
  const share = view.disk.freeBytes / Math.max(1, view.disk.totalBytes);
  return {
    name: "disk",
    passing: share > LIMITS.diskFreeShare && !takesNoWrites(view.disk.pressure),
    sentence: `${(share * 100).toFixed(1)} % free of ${(view.disk.totalBytes / 1e9).toFixed(1)} GB${takesNoWrites(view.disk.pressure) ? "; no writes are taken" : ""}`,
  };
}

/** The answer to GET `path`, or null for a path that is no check. */
export function answerCheck(path: string, view: NodeView): HttpAnswer | null {
  switch (path) {
    case "/health/live":
      return report([liveCheck(view)]);
    case "/health/ready":
      return report([readyCheck(view)]);
    case "/health":
      return report([
        liveCheck(view),
        readyCheck(view),
        postgresCheck(view),
        archiveCheck(view),
        backupCheck(view),
        diskCheck(view),
      ]);
    case "/flycheck/pg":
      return report([deployCheck(view) ?? postgresCheck(view), deployCheck(view) ?? readyCheck(view)]);
    case "/flycheck/vm":
      return report([diskCheck(view)]);
    case "/flycheck/archive":
    case "/health/archive":
      return report([archiveCheck(view), backupCheck(view)]);
    case "/flycheck/role":
      return { status: isServing(view) ? 200 : 503, text: roleWord(view) };
    case "/primary":
      return { status: isServing(view) && view.role === "primary" ? 200 : 503, text: roleWord(view) };
    case "/replica":
      return { status: isServing(view) && view.role === "standby" ? 200 : 503, text: roleWord(view) };
    default:
      return null;
  }
}

const isServing = (view: NodeView): boolean => view.phase === "running" && view.doorsOpen && view.postgresUp;

function report(checks: readonly Check[]): HttpAnswer {
  return {
    status: checks.every(({ passing }) => passing) ? 200 : 503,
    text: checks
      .map(({ name, passing, sentence }) => `[${passing ? "ok" : "failing"}] ${name}: ${sentence}`)
      .join("\n"),
  };
}
