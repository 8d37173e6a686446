// Delta or full, and how each file stands to the backup that a delta is taken from. Storage format, section 14.

import { unreachable } from "../base/errors.ts";
import { type Lsn, formatLsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import type { WalkedFile } from "./data-walk.ts";
import type { FileTable } from "./files-metadata.ts";
import { BackupFormatError } from "./format-error.ts";
import type { Nanoseconds } from "./go-json.ts";
import { isPagedName } from "./increment.ts";
import type { Sentinel } from "./sentinel.ts";

export interface DeltaSettings {
  /** WALG_DELTA_MAX_STEPS; 0: always full. */
  readonly maxSteps: number;
  /** WALG_DELTA_ORIGIN. */
  readonly origin: "LATEST" | "LATEST_FULL";
  readonly isForcedFull: boolean;
  readonly isPermanent: boolean;
}

/** The backup that was chosen as base, before the origin is applied. */
export interface DeltaCandidate {
  readonly name: string;
  readonly sentinel: Sentinel;
  /** null: its metadata.json is missing. */
  readonly isPermanent: boolean | null;
}

export type DeltaDecision =
  | { readonly kind: "full"; readonly because: string }
  | { readonly kind: "delta"; readonly from: string; readonly count: number; readonly because: string };

/** Chooses before anything of the base but its sentinel and its metadata is read. */
export function decideDelta(settings: DeltaSettings, candidate: DeltaCandidate | null): DeltaDecision {
  const full = (because: string): DeltaDecision => ({ kind: "full", because });
  if (settings.isForcedFull) return full("a full backup was asked for");
  if (settings.maxSteps === 0) return full("deltas are off (WALG_DELTA_MAX_STEPS is 0)");
  if (candidate === null) return full("there is no backup to take a delta from");
  const { name, sentinel } = candidate;
  const count = (sentinel.delta?.count ?? 0) + 1;
  if (count > settings.maxSteps)
    return full(`the chain of "${name}" has ${count - 1} of ${settings.maxSteps} deltas`);
  if (sentinel.startLsn === null) return full(`"${name}" does not tell where it starts`);
  if (candidate.isPermanent === null) return full(`"${name}" has no metadata.json`);
  if (candidate.isPermanent && !settings.isPermanent && settings.origin === "LATEST")
    return full(`"${name}" is permanent, and the new backup is not`);
  switch (settings.origin) {
    case "LATEST":
      return { kind: "delta", from: name, count, because: `delta ${count} of ${settings.maxSteps}` };
    case "LATEST_FULL": {
      const from = sentinel.delta?.fullName ?? name;
      return {
        kind: "delta",
        from,
        count,
        because: `delta ${count} of ${settings.maxSteps} from the full backup`,
      };
    }
    default:
      return unreachable(settings.origin);
  }
}

/** Where a server stands, to compare with a base. */
export interface ServerPosition {
  readonly systemIdentifier: bigint;
  readonly timeline: TimelineId;
  /** Start of the new backup. */
  readonly startLsn: Lsn;
  /** Ancestors of the timeline and where each was left, from its `.history` file. */
  readonly ancestors: readonly { readonly parent: TimelineId; readonly at: Lsn }[];
}

/**
 * null when a delta of `base` is sound here; else the sentence why a full backup is taken instead. A base that reaches
 * past the point where this server's history left the base's timeline holds pages that never were here.
 */
export function baseProblem(
  base: { readonly name: string; readonly sentinel: Sentinel },
  server: ServerPosition,
): string | null {
  const { finishLsn, systemIdentifier } = base.sentinel;
  if (systemIdentifier !== null && systemIdentifier !== server.systemIdentifier)
    throw new BackupFormatError(
      base.name,
      `is of database system ${systemIdentifier}, not ${server.systemIdentifier}`,
      {
        hint: "give this cluster a prefix of its own",
      },
    );
  const end = finishLsn ?? base.sentinel.startLsn;
  if (end === null || end > server.startLsn)
    return `"${base.name}" ends at ${end === null ? "no known position" : formatLsn(end)}, behind this one's start at ${formatLsn(server.startLsn)}`;
  const timeline = Number.parseInt(/^base_([0-9A-F]{8})/.exec(base.name)?.[1] ?? "", 16);
  if (timeline === server.timeline) return null;
  const left = server.ancestors.find(({ parent }) => parent === timeline);
  if (left === undefined)
    return `"${base.name}" is on timeline ${timeline}, which this server's history does not pass`;
  if (left.at < end)
    return `"${base.name}" ends at ${formatLsn(end)}, and this server left timeline ${timeline} at ${formatLsn(left.at)}`;
  return null;
}

/** What a delta knows of its base. */
export interface DeltaBase {
  readonly files: FileTable;
  /** When the base began to look at files. */
  readonly lookedAt: Nanoseconds | null;
  /** The base was taken from this very volume: only then do equal times mean equal content. */
  readonly isSameVolume: boolean;
  /** OID to xmin of each database's row, at the base and now; null when the base does not tell. */
  readonly databases: {
    readonly before: ReadonlyMap<string, string>;
    readonly now: ReadonlyMap<string, string>;
  } | null;
}

export type FileDecision = "skip" | "increment" | "whole";

/** Decides for each file of a walk how a delta stores it. */
export function deltaDecider(
  files: Iterable<WalkedFile>,
  base: DeltaBase,
): (file: WalkedFile) => FileDecision {
  const versionTimes = new Map<string, Nanoseconds>();
  for (const { name, mtime } of files)
    if (name.endsWith("/PG_VERSION")) versionTimes.set(name.slice(0, -"/PG_VERSION".length), mtime);
  const isSame = (folder: string): boolean => isSameDatabase(folder, base, versionTimes.get(folder));
  return (file) => decideFile(file, base, isSame);
}

function decideFile(file: WalkedFile, base: DeltaBase, isSame: (folder: string) => boolean): FileDecision {
  const before = base.files.get(file.name);
  if (before === undefined) return "whole";
  if (base.isSameVolume && before.mtime === file.mtime && isSettled(file.mtime, base.lookedAt)) return "skip";
  if (!isPagedName(file.name) || file.bytes === 0 || file.bytes % PAGE_BYTES !== 0) return "whole";
  return isSame(file.name.slice(0, file.name.lastIndexOf("/"))) ? "increment" : "whole";
}

/**
 * Has the database in this folder lived on since the base? One that was dropped and made again under its old OID may
 * be a copy of files with old LSNs, which an increment would miss. Without our manifest only the folder's PG_VERSION
 * tells, which is written when the database is created.
 */
function isSameDatabase(folder: string, base: DeltaBase, versionTime: Nanoseconds | undefined): boolean {
  if (base.databases !== null) {
    const oid = folder.slice(folder.lastIndexOf("/") + 1);
    const before = base.databases.before.get(oid);
    return before !== undefined && before === base.databases.now.get(oid);
  }
  return (
    base.isSameVolume &&
    versionTime !== undefined &&
    base.files.get(`${folder}/PG_VERSION`)?.mtime === versionTime
  );
}

/**
 * File times move in ticks of the kernel's clock (4 ms). A file that was written within a tick of the base's look at
 * it may have been written again in the same tick, after the base read it; so it does not count as unchanged.
 */
function isSettled(mtime: Nanoseconds, baseLookedAt: Nanoseconds | null): boolean {
  return baseLookedAt !== null && mtime !== 0n && mtime < baseLookedAt - TICK_NS;
}

const PAGE_BYTES = 8192;
/** Ticks are 10 ms at most (CONFIG_HZ=100); the rest is for clocks that are read at different places. */
const TICK_NS = 50_000_000n;
