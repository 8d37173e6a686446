// `wal-g wal-show`: what the archive holds, timeline by timeline.

import { formatGoJson } from "../../backup/go-json.ts";
import { type SegmentRun, holesBetween, runLength, segmentRuns } from "../../archive/gaps.ts";
import { formatLsn, type Lsn, ZERO_LSN } from "../../wal/lsn.ts";
import { type Segment, segmentAt, segmentName, type TimelineId } from "../../wal/segment-name.ts";
import { backupElement } from "./backup-list.ts";
import { type DetailedBackup, listBackups, withMetadata } from "./backups.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";
import { framedTable, type Column } from "./table.ts";
import { placeIn } from "../../backup/backup-facts.ts";
import { readWalListing, type WalListing } from "./wal-listing.ts";

export const WAL_SHOW: WalgCommand = {
  path: "wal-show",
  summary: "Show storage WAL segments info grouped by timelines.",
  use: "wal-show",
  examples: ["wal-g wal-show", "wal-g wal-show --detailed-json"],
  flags: [
    { name: "detailed-json", kind: "bool", usage: "Output detailed information in JSON format." },
    { name: "without-backups", kind: "bool", usage: "Disable backups search for timelines." },
  ],
  check: argumentCount(0, 0),
  run: showWal,
};

/** One timeline of the archive. */
interface ShownTimeline {
  readonly id: TimelineId;
  readonly parent: TimelineId;
  readonly switchPoint: Lsn;
  readonly runs: readonly SegmentRun[];
  readonly backups: readonly DetailedBackup[];
}

async function showWal(call: Call): Promise<number> {
  const { flags, settings, signal } = call;
  const store = await call.openStore();
  const listing = await readWalListing(
    store,
    async () => (await call.openCodec()).cipher,
    settings.segmentBytes,
    signal,
  );
  const withBackups = !flags.isOn("without-backups");
  const backups = withBackups ? await withMetadata(store, await listBackups(store, signal), signal) : null;
  printTimelines(call, listing, backups, flags.isOn("detailed-json"));
  return 0;
}

/** Prints timelines as a table or as JSON; `backups` null: without them. */
export function printTimelines(
  { print, settings }: Pick<Call, "print" | "settings">,
  listing: Pick<WalListing, "segments" | "histories">,
  backups: readonly DetailedBackup[] | null,
  asDetails: boolean,
): void {
  const shown = timelinesOf(listing, backups ?? [], settings.segmentBytes);
  if (asDetails) print(asJson(shown, settings.segmentBytes));
  else print(asTable(shown, backups !== null, settings.segmentBytes));
}

function timelinesOf(
  listing: Pick<WalListing, "segments" | "histories">,
  backups: readonly DetailedBackup[],
  segmentBytes: number,
): ShownTimeline[] {
  const byTimeline = Map.groupBy(segmentRuns(listing.segments), (run) => run.timeline);
  const newestFirst = [...backups].sort((a, b) => (a.modifiedNs < b.modifiedNs ? 1 : -1));
  return [...byTimeline].map(([id, runs]) => {
    const fork = listing.histories.get(id)?.switches.at(-1);
    return {
      id,
      parent: fork?.parent ?? 0,
      switchPoint: fork?.at ?? ZERO_LSN,
      runs,
      backups: newestFirst.filter((backup) => isOn(backup, id, runs, segmentBytes)),
    };
  });
}

/** True when the backup's first and last segment lie in the timeline's range. */
function isOn(
  { name, metadata }: DetailedBackup,
  timeline: TimelineId,
  runs: readonly SegmentRun[],
  segmentBytes: number,
): boolean {
  if (placeIn(name, segmentBytes)?.timeline !== timeline) return false;
  const isInRange = (lsn: Lsn | null): boolean => {
    const { number } = segmentAt(timeline, lsn ?? ZERO_LSN, segmentBytes);
    return number >= runs[0]!.first && number <= runs.at(-1)!.last;
  };
  return isInRange(metadata.startLsn) && isInRange(metadata.finishLsn);
}

function asTable(shown: readonly ShownTimeline[], withBackups: boolean, segmentBytes: number): string {
  const columns: Column[] = [
    { title: "TLI", align: "right" },
    { title: "Parent TLI", align: "right" },
    { title: "Switchpoint LSN", align: "right" },
    { title: "Start segment" },
    { title: "End segment" },
    { title: "Segment range", align: "right" },
    { title: "Segments count", align: "right" },
    { title: "Status" },
    ...(withBackups ? [{ title: "Backups count", align: "right" } as const] : []),
  ];
  const rows = shown.map((timeline) => [
    String(timeline.id),
    String(timeline.parent),
    formatLsn(timeline.switchPoint),
    segmentName(firstOf(timeline), segmentBytes),
    segmentName(lastOf(timeline), segmentBytes),
    String(rangeOf(timeline)),
    String(countOf(timeline)),
    statusOf(timeline),
    ...(withBackups ? [String(timeline.backups.length)] : []),
  ]);
  return framedTable(columns, rows);
}

/** An array without a newline at its end, as WAL-G prints it. */
function asJson(shown: readonly ShownTimeline[], segmentBytes: number): string {
  return formatGoJson(
    shown.map((timeline) => ({
      id: timeline.id,
      parent_id: timeline.parent,
      switch_point_lsn: timeline.switchPoint,
      start_segment: segmentName(firstOf(timeline), segmentBytes),
      end_segment: segmentName(lastOf(timeline), segmentBytes),
      segments_count: countOf(timeline),
      missing_segments: holesBetween(timeline.runs)
        .flatMap(segmentsOf)
        .map((segment) => segmentName(segment, segmentBytes)),
      backups: timeline.backups.length === 0 ? undefined : timeline.backups.map(backupElement),
      segment_range_size: rangeOf(timeline),
      status: statusOf(timeline),
    })),
  );
}

const firstOf = ({ id, runs }: ShownTimeline): Segment => ({ timeline: id, number: runs[0]!.first });
const lastOf = ({ id, runs }: ShownTimeline): Segment => ({ timeline: id, number: runs.at(-1)!.last });
const countOf = ({ runs }: ShownTimeline): number => runs.reduce((sum, run) => sum + runLength(run), 0);
const rangeOf = (timeline: ShownTimeline): number =>
  Number(lastOf(timeline).number - firstOf(timeline).number + 1n);
const statusOf = (timeline: ShownTimeline): string => (timeline.runs.length === 1 ? "OK" : "LOST_SEGMENTS");

function segmentsOf(run: SegmentRun): Segment[] {
  return Array.from({ length: runLength(run) }, (_, at) => ({
    timeline: run.timeline,
    number: run.first + BigInt(at),
  }));
}
