// What a replay is told and what it needs of its surroundings.

import type { ArchiveSource } from "../archive/archive-source.ts";
import type { RestoreCommand } from "../archive/restore-command.ts";
import type { Clock } from "../base/clock.ts";
import { unreachable } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Backoff } from "../base/retry.ts";
import type { Parameters } from "../postgres/parameters.ts";
import type { Server } from "../postgres/server.ts";
import type { Sql } from "../postgres/sql.ts";
import type { LogView } from "../tail/read.ts";
import type { Claim } from "../tail/take-over.ts";
import type { NewTimeline } from "../tail/writer.ts";
import { formatLsn, type Lsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import type { TimelinePath } from "../wal/timeline-path.ts";
import type { RestorePlan } from "./plan.ts";
import type { ArchiveFacts } from "./read-archive.ts";
import { formatTime, type RestoreTarget } from "./target.ts";

export interface ReplayOrder {
  readonly source: ArchiveSource;
  /** Nothing past the points where it leaves a timeline is served. */
  readonly path: TimelinePath;
  /** recovery_target_timeline. */
  readonly timeline: TimelineId;
  /** The path is the winner's: its end is the log's End. */
  readonly isWinners: boolean;
  readonly target: RestoreTarget;
  /** `target`: that it is not reached is an error. `either`: then everything that is there is right too. */
  readonly ending: RestorePlan["ending"];
  /** A record begins here; walks go back no further. */
  readonly floor: Lsn;
  /** Known to be there when the order was given. */
  readonly end: Lsn;
  /** The directory may hold WAL that the log lacks: it is kept, compared, and brought along (S2). */
  readonly hasOwnWal: boolean;
  /** The source is another cluster's prefix: nothing is fenced there, and our own log begins with the new timeline (L8). */
  readonly fromElsewhere: boolean;
}

/** The order for a plan. */
export const orderOf = (plan: RestorePlan, archive: ArchiveFacts, fromElsewhere: boolean): ReplayOrder => ({
  source: archive.source,
  path: plan.path,
  timeline: plan.timeline,
  isWinners: archive.isWinners,
  target: plan.request.target,
  ending: plan.ending,
  floor: plan.backup.start,
  end: archive.window.wal.end,
  hasOwnWal: false,
  fromElsewhere,
});

/** Where a replay stands, for logs, status and metrics. */
export interface ReplayProgress {
  readonly phase: "starting" | "replaying" | "waiting" | "fencing" | "promoting";
  readonly because: string;
  /** null before the server takes connections. */
  readonly replayed: Lsn | null;
  readonly from: Lsn;
  readonly to: Lsn;
  /** The last file that was served. */
  readonly segment: string | null;
  /** 0 … 1. */
  readonly fraction: number;
  readonly bytesPerSecond: number;
  readonly remainingMs: number | null;
  /** Commit time of the last transaction replayed, milliseconds since 1970. */
  readonly replayedAtMs: number | null;
}

/** The node around a replay. */
export interface ReplayHost {
  readonly dataDirectory: string;
  /** For the look-ahead; on the data directory's file system, outside pg_wal. */
  readonly spool: string;
  /** Starts Postgres with closed doors and these settings; `standby.signal` is there. Called again after the server ended. */
  start(recovery: Parameters): Promise<Server>;
  /** Throws ServerError while no connection can be had. `disconnect` before a stop. */
  readonly sql: Sql & { disconnect(): Promise<void> };
  /** restore_command goes to `command` until the function that is returned is called. */
  route(command: RestoreCommand): () => void;
  /** Why the log must not be fenced yet: a member that may still lead. Null: nobody is seen (G6). */
  objection(): Promise<string | null>;
  /** T1 to T3 on our own prefix, purpose `restore`. */
  fence(known: LogView | null): Promise<Claim>;
  /** Called about once a second. */
  tell(progress: ReplayProgress): void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** So long the log must not have grown before it is fenced (evidence, not safety); 2,500 ms by default. */
  readonly stillMs?: number;
  /** How long restore_command repeats what proves nothing before it leaves a doubt; about a minute by default. */
  readonly patience?: Backoff;
}

/** A promoted server, doors closed. What the log is owed is in `change`. */
export interface PromotedReplay {
  readonly server: Server;
  readonly claim: Claim;
  /** Of the new timeline. */
  readonly path: TimelinePath;
  readonly change: NewTimeline;
  /** The parent's bytes that the log lacks below the fork; they are in pg_wal. */
  readonly backfill: { readonly from: Lsn; readonly to: Lsn } | null;
  /** Our own log holds no WAL: it begins here. */
  readonly isGenesis: boolean;
}

/** The target in Postgres's own words; it pauses there, so that the fence can be put before the promotion. */
export function recoveryParameters(order: Pick<ReplayOrder, "target" | "timeline">): Parameters {
  return { recovery_target_timeline: String(order.timeline), ...targetParameters(order.target) };
}

function targetParameters(target: RestoreTarget): Parameters {
  switch (target.kind) {
    case "latest":
      return {};
    case "immediate":
      return { recovery_target: "immediate", ...PAUSE };
    case "time":
      return { recovery_target_time: formatTime(target.us), ...PAUSE, ...inclusive(target.inclusive) };
    case "lsn":
      return { recovery_target_lsn: formatLsn(target.lsn), ...PAUSE, ...inclusive(target.inclusive) };
    case "xid":
      return { recovery_target_xid: String(target.xid), ...PAUSE, ...inclusive(target.inclusive) };
    case "name":
      return { recovery_target_name: target.name, ...PAUSE };
    default:
      return unreachable(target);
  }
}

const PAUSE: Parameters = { recovery_target_action: "pause" };
const inclusive = (yes: boolean): Parameters => ({ recovery_target_inclusive: yes ? "on" : "off" });
