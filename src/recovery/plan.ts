// From a target to what must be fetched and replayed, or why it cannot be reached. Pure: nothing is touched before this said yes.

import { segmentsOnPath } from "../archive/gaps.ts";
import { AppError, unreachable } from "../base/errors.ts";
import { formatLsn, type Lsn, maxLsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import { lastStep, type TimelinePath } from "../wal/timeline-path.ts";
import {
  describeTarget,
  formatTime,
  type Microseconds,
  type RestoreRequest,
  type RestoreTarget,
} from "./target.ts";
import { type BackupPoint, describeWindow, type Reach, type RecoveryWindow } from "./window.ts";

export interface RestorePlan {
  readonly request: RestoreRequest;
  readonly backup: BackupPoint;
  readonly path: TimelinePath;
  /**
   * recovery_target_timeline, always a number in a restore (R5): the one that holds the target. With a later one Postgres would write a history
   * in which the parents' forks lie behind the end.
   */
  readonly timeline: TimelineId;
  /**
   * `drain`: everything the path has, then checked and promoted (G2). `target`: Postgres's own recovery target ends the replay. `either`: a
   * time at or past the newest commit, so that the target may never come; then the drain ends it.
   */
  readonly ending: "drain" | "target" | "either";
  /** The new timeline leaves the winner's history before its end: its history slot says `cut`. */
  readonly isCut: boolean;
  /** Replayed from here to here, as far as it is known. */
  readonly from: Lsn;
  readonly to: Lsn;
  readonly segments: number;
  /** Backup and WAL, plain. */
  readonly bytes: number;
  /** Rough; there is no deadline anywhere. */
  readonly estimatedSeconds: number;
  readonly because: string;
}

/** Where the path leaves a timeline, and what tells whether a target lies before it. */
export interface ForkFacts {
  readonly timeline: TimelineId;
  readonly at: Lsn;
  /** Of the commits below it; null when unknown. */
  readonly newestCommitUs: Microseconds | null;
  /** Start of the last record below it; null when unknown. */
  readonly lastRecord: Lsn | null;
}

/** Where in the WAL an xid or a restore point was found, by reading it. */
export interface LocatedTarget {
  /** Start of the record. */
  readonly at: Lsn;
}

export interface PlanFacts {
  readonly window: RecoveryWindow;
  /** The path is that of T*, so that a drain ends at the winner's end. */
  readonly isWinners: boolean;
  readonly nowUs: Microseconds;
  /** The forks of the path, oldest first; those below the oldest backup may be left out. */
  readonly forks: readonly ForkFacts[];
  /** Newest commit below each end in `window.reaches` that a missing segment makes: what lies behind it cannot be reached. */
  readonly commitsAtStops: ReadonlyMap<Lsn, Microseconds>;
  /** For xid and name: the record, or null when the WAL from the oldest usable backup on was read and holds none. */
  readonly located: LocatedTarget | null;
}

/** The target cannot be reached. `window` says what can. Nothing was touched. */
export class TargetUnreachableError extends AppError {
  readonly window: readonly string[];

  constructor(request: RestoreRequest, because: string, window: readonly string[]) {
    super(`${describeTarget(request.target)} cannot be reached: ${because}; ${window.join("; ")}`, {
      code: "RESTORE_TARGET_UNREACHABLE",
      hint: "choose a target inside the reachable window, or another timeline",
    });
    this.window = window;
  }
}

/** Plans a restore. Throws TargetUnreachableError. */
export function planRestore(request: RestoreRequest, facts: PlanFacts): RestorePlan {
  const refuse = (because: string): never => {
    throw new TargetUnreachableError(request, because, describeWindow(facts.window));
  };
  const aim = aimOf(request.target, facts, refuse);
  const candidates = facts.window.reaches.filter(({ usable }) => usable);
  if (candidates.length === 0) refuse("no backup can be replayed to a consistent state on this timeline");
  const chosen = chooseBackup(request, candidates, aim, facts) ?? refuse(whyNone(request, candidates, aim));
  const { wal } = facts.window;
  const to =
    aim.kind === "backup" ? chosen.backup.finish : aim.kind === "end" ? wal.end : (aim.at ?? wal.end);
  if (aim.kind === "end" && chosen.stoppedBy !== null) refuse("segments on the way to the end are missing");
  const segments = count(
    segmentsOnPath(wal.path, chosen.backup.start, maxLsn(to, chosen.backup.finish), wal.segmentBytes),
  );
  const bytes = chosen.backup.restoredBytes + segments * wal.segmentBytes;
  return {
    request,
    backup: chosen.backup,
    path: wal.path,
    timeline: timelineOf(aim, chosen.backup, facts),
    ending: aim.kind === "end" ? "drain" : aim.mayNotCome ? "either" : "target",
    isCut: !(aim.kind === "end" && facts.isWinners),
    from: chosen.backup.start,
    to,
    segments,
    bytes,
    estimatedSeconds: Math.ceil(
      chosen.backup.storedBytes / FETCH_BYTES_PER_SECOND +
        (segments * wal.segmentBytes) / REPLAY_BYTES_PER_SECOND,
    ),
    because: `${describeTarget(request.target)} from backup "${chosen.backup.name}" over ${segments} segments up to timeline ${lastStep(wal.path).timeline}`,
  };
}

/** Where a target lies. `mayNotCome`: Postgres may replay everything without meeting it, and that is right too. */
type Aim =
  | { readonly kind: "end" }
  | { readonly kind: "backup"; readonly mayNotCome: false }
  | { readonly kind: "record"; readonly at: Lsn; readonly mayNotCome: boolean }
  /** A time: which record that is, only the replay shows. */
  | { readonly kind: "moment"; readonly us: Microseconds; readonly at: null; readonly mayNotCome: boolean };

function aimOf(target: RestoreTarget, facts: PlanFacts, refuse: (because: string) => never): Aim {
  const { wal } = facts.window;
  const end = wal.recordEnd ?? wal.end;
  switch (target.kind) {
    case "latest":
      return { kind: "end" };
    case "immediate":
      return { kind: "backup", mayNotCome: false };
    case "lsn":
      if (target.lsn > end) return refuse(`the WAL ends at ${formatLsn(end)}`);
      // Postgres stops behind the record that begins at or past the target; at the very end there is none.
      return { kind: "record", at: target.lsn, mayNotCome: true };
    case "time":
      if (target.us > facts.nowUs) return refuse(`that is in the future: it is ${formatTime(facts.nowUs)}`);
      return {
        kind: "moment",
        us: target.us,
        at: null,
        mayNotCome: wal.newestCommitUs === null || target.us >= wal.newestCommitUs,
      };
    case "xid":
      if (facts.located === null)
        return refuse("no commit or abort of it is in the WAL that can be replayed");
      return { kind: "record", at: facts.located.at, mayNotCome: false };
    case "name":
      if (facts.located === null)
        return refuse("no restore point of that name is in the WAL that can be replayed");
      return { kind: "record", at: facts.located.at, mayNotCome: false };
    default:
      return unreachable(target);
  }
}

/** The timeline that a replay is on when it meets the aim. */
function timelineOf(aim: Aim, backup: BackupPoint, { forks, window }: PlanFacts): TimelineId {
  const last = lastStep(window.wal.path).timeline;
  switch (aim.kind) {
    case "end":
      return last;
    case "backup":
      return backup.timeline;
    case "record":
      return forks.find(({ lastRecord }) => lastRecord !== null && aim.at <= lastRecord)?.timeline ?? last;
    case "moment":
      // The replay stops at the first commit past the target, and one stands before this fork.
      return forks.find(({ newestCommitUs: commit }) => commit !== null && aim.us < commit)?.timeline ?? last;
    default:
      return unreachable(aim);
  }
}

/** The newest backup from which the aim can be reached: finished at or before it, and no hole in between. */
function chooseBackup(
  request: RestoreRequest,
  candidates: readonly Reach[],
  aim: Aim,
  facts: PlanFacts,
): Reach | null {
  const named = request.backup.toUpperCase() !== "LATEST";
  const pool = named ? candidates.filter(({ backup }) => backup.name === request.backup) : candidates;
  return pool.findLast((reach) => fits(reach, aim, facts)) ?? null;
}

function fits({ backup, end, stoppedBy }: Reach, aim: Aim, { commitsAtStops }: PlanFacts): boolean {
  switch (aim.kind) {
    case "end":
      return stoppedBy === null;
    case "backup":
      return true;
    case "record":
      return backup.finish <= aim.at && aim.at <= end;
    case "moment": {
      if (backup.finishedUs !== null && backup.finishedUs > aim.us) return false;
      // Behind a hole only a commit past the target proves that the replay ends before it.
      const proof = stoppedBy === null ? null : commitsAtStops.get(end);
      return proof === null || (proof !== undefined && aim.us < proof);
    }
    default:
      return unreachable(aim);
  }
}

function whyNone(request: RestoreRequest, candidates: readonly Reach[], aim: Aim): string {
  if (request.backup.toUpperCase() !== "LATEST") {
    const named = candidates.find(({ backup }) => backup.name === request.backup);
    return named === undefined
      ? `backup "${request.backup}" is not usable on this timeline`
      : `backup "${request.backup}" does not lead there`;
  }
  if (aim.kind === "end") return "segments on the way to the end are missing";
  const oldest = candidates[0]!.backup;
  const isBefore =
    aim.kind === "record"
      ? aim.at < oldest.finish
      : aim.kind === "moment" && aim.us < (oldest.finishedUs ?? aim.us);
  return isBefore
    ? `the oldest usable backup, "${oldest.name}", ends after it`
    : "segments on the way are missing";
}

function count(items: Iterable<unknown>): number {
  let total = 0;
  for (const _ of items) total += 1;
  return total;
}

/** Assumed for the estimate only; measured on two cores with a local store. */
const FETCH_BYTES_PER_SECOND = 100 * 1024 * 1024;
const REPLAY_BYTES_PER_SECOND = 50 * 1024 * 1024;
