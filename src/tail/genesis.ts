// The beginning of a log (L8): what wal_005 held before counts as accepted.

import { methodOfExtension } from "../codec/compression.ts";
import type { Cipher } from "../codec/encryption.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { formatLsn, type Lsn, lsnOf, maxLsn } from "../wal/lsn.ts";
import { type TimelineId, historyName, parseWalName, segmentStart } from "../wal/segment-name.ts";
import { type TimelinePath, lastStep } from "../wal/timeline-path.ts";
import { LogUseError } from "./errors.ts";
import { WAL_PREFIX } from "./keys.ts";
import { fetchPublishedHistory } from "./publish.ts";
import { sha256 } from "./slot.ts";

/** Where a log begins. */
export interface Genesis {
  readonly timeline: TimelineId;
  readonly path: TimelinePath;
  readonly promotion: string;
  /** First byte the log will take. A segment's start, or the fork of `timeline` inside the segment that is not archived yet. */
  readonly end: Lsn;
  /** Highest timeline number in wal_005 or on the path. */
  readonly lastTimeline: TimelineId;
  /** SHA-256 of the histories in wal_005 that count as accepted. */
  readonly histories: readonly (readonly [TimelineId, string])[];
}

export interface GenesisOptions {
  readonly segmentBytes: number;
  readonly path: TimelinePath;
  readonly promotion: string;
  /** Start of the first segment that pg_wal can still give; used when wal_005 has none of this timeline. */
  readonly firstLocal: Lsn;
  /** wal_005 holds what a given-up founding left: the log begins with this server's own WAL, which lies above. */
  readonly isSuccessor?: boolean;
  readonly cipher: Cipher;
  readonly signal: AbortSignal;
}

/** Looks at wal_005 and says where the log begins. Throws LogUseError when wal_005 knows a higher timeline than the founder's; StoreError. */
export async function planGenesis(
  store: Pick<ObjectStore, "get" | "list">,
  options: GenesisOptions,
): Promise<Genesis> {
  const { path, promotion, segmentBytes, firstLocal, isSuccessor = false } = options;
  const { timeline, begin } = lastStep(path);
  const archived = await readArchive(store, timeline, options);
  const highest = archived.histories.at(-1) ?? 1;
  if (highest > timeline) {
    throw new LogUseError(
      `wal_005 holds ${historyName(highest)}, this server is on timeline ${timeline}`,
      "restore from the archive instead of founding a log over it",
    );
  }
  const above =
    archived.highestSegment === null ? firstLocal : afterSegment(archived.highestSegment, segmentBytes);
  if (isSuccessor && above > firstLocal) {
    throw new LogUseError(
      `wal_005 holds WAL up to ${formatLsn(above)}, this server's begins at ${formatLsn(firstLocal)}`,
      "clear the volume: nobody was let in to it, and the next founding begins above",
    );
  }
  const next = isSuccessor ? firstLocal : above;
  const histories: [TimelineId, string][] = [];
  for (const each of archived.histories) {
    const body = await fetchPublishedHistory(store, each, options, options.signal);
    if (body !== null) histories.push([each, sha256(body)]);
  }
  // L5: data of a timeline never lies below its fork.
  return { timeline, path, promotion, end: maxLsn(next, begin), lastTimeline: timeline, histories };
}

interface Archive {
  readonly highestSegment: bigint | null;
  /** Ascending. */
  readonly histories: readonly TimelineId[];
}

async function readArchive(
  store: Pick<ObjectStore, "list">,
  timeline: TimelineId,
  { segmentBytes, signal }: GenesisOptions,
): Promise<Archive> {
  let highestSegment: bigint | null = null;
  const histories = new Set<TimelineId>();
  for await (const { key } of store.list(WAL_PREFIX, signal)) {
    const name = parseWalName(plainName(key.slice(WAL_PREFIX.length)), segmentBytes);
    if (name?.kind === "history") histories.add(name.timeline);
    if (name?.kind !== "segment" || name.segment.timeline !== timeline) continue;
    if (highestSegment === null || name.segment.number > highestSegment) highestSegment = name.segment.number;
  }
  return { highestSegment, histories: [...histories].sort((a, b) => a - b) };
}

/** The name without the extension of its codec. */
function plainName(file: string): string {
  const dot = file.lastIndexOf(".");
  const extension = dot < 0 ? "" : file.slice(dot + 1);
  return extension !== "" && methodOfExtension(extension) !== null ? file.slice(0, dot) : file;
}

const afterSegment = (number: bigint, segmentBytes: number): Lsn =>
  lsnOf(segmentStart({ timeline: 1, number: number + 1n }, segmentBytes));
