// `wal-g wal-verify`: WAL-G's checks by name, with its output and, under its name, its exit status, which is 0 also for a FAILURE.

import { SegmentSet } from "../../archive/gaps.ts";
import { type BackupFacts, comparePlaces } from "../../backup/backup-facts.ts";
import { AppError } from "../../base/errors.ts";
import { type Lsn, parseLsn } from "../../wal/lsn.ts";
import { type Segment, segmentAt, segmentName, type TimelineId } from "../../wal/segment-name.ts";
import { leftAt, type TimelinePath, pathOfHistory, rootPath } from "../../wal/timeline-path.ts";
import { readBackupFacts } from "../../backup/read-facts.ts";
import type { Call, FlagValues, ServerPosition, WalgCommand } from "./command.ts";
import { UsageError } from "./flags.ts";
import { framedTable } from "./table.ts";
import { checkIntegrity, checkTimeline, type CheckStatus, type StatusRun } from "./wal-integrity.ts";
import { readWalListing, type WalListing } from "./wal-listing.ts";

const CHECKS = ["integrity", "timeline"] as const;
type Check = (typeof CHECKS)[number];

export const WAL_VERIFY: WalgCommand = {
  path: "wal-verify",
  summary: "Verify WAL storage folder. Available checks: integrity, timeline",
  use: "wal-verify checktype...",
  examples: [
    "wal-g wal-verify integrity timeline",
    "wal-g wal-verify integrity --json --timeline 2 --lsn 0/1900128",
  ],
  flags: [
    { name: "backup-name", kind: "string", usage: "Check from this backup on instead of the earliest one" },
    { name: "json", kind: "bool", usage: "Show output in JSON format." },
    {
      name: "lsn",
      kind: "string",
      usage: "Position of the server, X/Y; together with --timeline nothing is asked of it",
    },
    { name: "timeline", kind: "int", usage: "Timeline of the server" },
  ],
  check: checkArguments,
  run: verifyWal,
};

function checkArguments(args: readonly string[], flags: FlagValues): void {
  if (args.length === 0) throw new UsageError("requires at least 1 arg(s), only received 0");
  const unknown = args.find((arg) => !CHECKS.includes(arg.toLowerCase() as Check));
  if (unknown !== undefined) {
    throw new UsageError(
      `invalid argument "${unknown}" for "wal-g wal-verify"`,
      `the checks are ${CHECKS.join(" and ")}`,
    );
  }
  if (flags.has("timeline") !== flags.has("lsn"))
    throw new UsageError("--timeline and --lsn must be given together");
}

async function verifyWal(call: Call): Promise<number> {
  const { args, flags, settings, log, signal, print } = call;
  const { segmentBytes } = settings;
  const checks = new Set(args.map((arg) => arg.toLowerCase() as Check));
  const position = positionOfFlags(flags) ?? (await call.askPosition());
  const current = currentSegment(position, segmentBytes);
  if (!flags.has("lsn")) log.info(`Current WAL segment: ${segmentName(current, segmentBytes)}`);
  const store = await call.openStore();
  const listing = await readWalListing(
    store,
    async () => (await call.openCodec()).cipher,
    segmentBytes,
    signal,
  );
  const results: CheckResults = {};
  if (checks.has("integrity")) {
    log.info("Building check runner: integrity");
    const backups = await readBackupFacts(store, segmentBytes, signal);
    results.integrity = runIntegrity(call, current, listing, backups);
  }
  if (checks.has("timeline")) {
    log.info("Building check runner: timeline");
    log.info("Running the check: timeline");
    results.timeline = { current: position.timeline, highest: highestTimeline(listing) };
  }
  print(flags.isOn("json") ? asJson(results, segmentBytes) : asText(results, segmentBytes));
  // WAL-G exits 0 for a FAILURE too; only under our own name the status tells of it.
  return call.context.program === "holdfast" && isFailure(results) ? 1 : 0;
}

const isFailure = ({ integrity, timeline }: CheckResults): boolean =>
  integrity?.status === "FAILURE" ||
  (timeline !== undefined && checkTimeline(timeline.current, timeline.highest) === "FAILURE");

function positionOfFlags(flags: FlagValues): ServerPosition | null {
  const [timeline, lsn] = [flags.text("timeline"), flags.text("lsn")];
  if (timeline === undefined || lsn === undefined) return null;
  try {
    return { timeline: Number(timeline), lsn: parseLsn(lsn) };
  } catch {
    throw new UsageError(`invalid argument "${lsn}" for "--lsn" flag: not of the form X/Y`);
  }
}

/** The segment that holds the last byte written. */
const currentSegment = ({ timeline, lsn }: ServerPosition, segmentBytes: number): Segment =>
  segmentAt(timeline, (lsn === 0n ? lsn : lsn - 1n) as Lsn, segmentBytes);

interface CheckResults {
  integrity?: { readonly status: CheckStatus; readonly runs: readonly StatusRun[] };
  timeline?: { readonly current: TimelineId; readonly highest: TimelineId };
}

function runIntegrity(
  { flags, settings, log }: Call,
  current: Segment,
  listing: WalListing,
  backups: readonly BackupFacts[],
): NonNullable<CheckResults["integrity"]> {
  const { segmentBytes } = settings;
  const history = listing.histories.get(current.timeline);
  const path = history === undefined ? rootPath(current.timeline) : pathOfHistory(history);
  const asked = flags.text("backup-name");
  const backup =
    asked === undefined ? earliestOn(path, backups, segmentBytes, log) : namedBackup(asked, backups);
  if (asked !== undefined) log.info(`Detected correct backup with specified name: ${asked}`);
  else if (backup === null) log.warn("No correct backup found: the check goes back to the first segment");
  else log.info(`Detected earliest available backup: ${backup.name}`);
  log.info("Running the check: integrity");
  const present = new SegmentSet(listing.segments);
  return checkIntegrity({
    current,
    stop: backup?.segment ?? 1n,
    hasBackup: backup !== null,
    switches: history?.switches ?? [],
    segmentBytes,
    isPresent: (segment) => present.has(segment),
    delayedMost: settings.count("WALG_INTEGRITY_MAX_DELAYED_WALS", 0),
    uploadingMost: settings.count("WALG_UPLOAD_CONCURRENCY", 16),
  });
}

/** The earliest backup that is not permanent and lies on the path. */
function earliestOn(
  path: TimelinePath,
  backups: readonly BackupFacts[],
  segmentBytes: number,
  log: Call["log"],
): BackupFacts | null {
  const eligible = backups.filter((backup) => {
    if (!backup.permanent) return liesOn(path, backup, segmentBytes);
    log.warn(
      `checkBackupIsCorrect: ${backup.name}: backup is permanent, it is not eligible to be selected as the earliest backup for wal-verify.`,
    );
    return false;
  });
  return eligible.sort(comparePlaces)[0] ?? null;
}

function liesOn(path: TimelinePath, backup: BackupFacts, segmentBytes: number): boolean {
  const step = path.find(({ timeline }) => timeline === backup.timeline);
  if (step === undefined) return false;
  const left = leftAt(path, backup.timeline);
  const size = BigInt(segmentBytes);
  return backup.segment >= step.begin / size && (left === null || backup.segment <= left / size);
}

function namedBackup(name: string, backups: readonly BackupFacts[]): BackupFacts {
  const backup = backups.find((other) => other.name === name);
  if (backup !== undefined) return backup;
  throw new AppError(`Backup '${name}' does not exist.`, {
    code: "BACKUP_MISSING",
    hint: "give a name from `backup-list`",
  });
}

/** Of all segments and history files; 0 for an empty archive. */
function highestTimeline({ segments, historyTimelines }: WalListing): TimelineId {
  return [...segments.map(({ timeline }) => timeline), ...historyTimelines].reduce(
    (most, timeline) => Math.max(most, timeline),
    0,
  );
}

/** One line without a newline at its end. */
function asJson({ integrity, timeline }: CheckResults, segmentBytes: number): string {
  const name = (id: TimelineId, number: bigint): string =>
    segmentName({ timeline: id, number }, segmentBytes);
  return JSON.stringify({
    integrity: integrity && {
      status: integrity.status,
      details:
        integrity.runs.length === 0
          ? null
          : integrity.runs.map((run) => ({
              timeline_id: run.timeline,
              start_segment: name(run.timeline, run.first),
              end_segment: name(run.timeline, run.last),
              segments_count: Number(run.last - run.first + 1n),
              status: run.status,
            })),
    },
    timeline: timeline && {
      status: checkTimeline(timeline.current, timeline.highest),
      details: { current_timeline_id: timeline.current, highest_storage_timeline_id: timeline.highest },
    },
  });
}

function asText({ integrity, timeline }: CheckResults, segmentBytes: number): string {
  return [
    ...(integrity === undefined
      ? []
      : [
          `[wal-verify] integrity check status: ${integrity.status}\n`,
          "[wal-verify] integrity check details:\n",
          runsTable(integrity.runs, segmentBytes),
        ]),
    ...(timeline === undefined
      ? []
      : [
          `[wal-verify] timeline check status: ${checkTimeline(timeline.current, timeline.highest)}\n`,
          "[wal-verify] timeline check details:\n",
          `Highest timeline found in storage: ${timeline.highest}\n`,
          `Current cluster timeline: ${timeline.current}\n`,
        ]),
  ].join("");
}

/** The runs as WAL-G's table. */
export function runsTable(runs: readonly StatusRun[], segmentBytes: number): string {
  return framedTable(
    [
      { title: "TLI", align: "right" },
      { title: "Start" },
      { title: "End" },
      { title: "Segments count", align: "right" },
      { title: "Status", align: "right" },
    ],
    runs.map((run) => [
      String(run.timeline),
      segmentName({ timeline: run.timeline, number: run.first }, segmentBytes),
      segmentName({ timeline: run.timeline, number: run.last }, segmentBytes),
      String(run.last - run.first + 1n),
      run.status,
    ]),
  );
}
