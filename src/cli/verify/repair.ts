// `holdfast verify --repair`: creates segments that the archive lacks, while somebody still has them. It never replaces and never deletes.

import type { SegmentRun } from "../../archive/gaps.ts";
import { WAL_FOLDER } from "../../archive/wal-catalog.ts";
import { isDamagedObject } from "../../archive/wal-file-check.ts";
import type { PathReader } from "../../archive/path-reader.ts";
import { AppError, messageOf } from "../../base/errors.ts";
import { readArchive } from "../../recovery/read-archive.ts";
import { sha256 } from "../../tail/slot.ts";
import { formatLsn } from "../../wal/lsn.ts";
import { type Segment, segmentEnd, segmentName } from "../../wal/segment-name.ts";
import { lastStep } from "../../wal/timeline-path.ts";
import type { Call } from "../walg/command.ts";
import { walPushTools } from "../walg/wal-push.ts";
import { pushWalBytes } from "../walg/wal-push-file.ts";
import { type ProvenSegment, SegmentProver } from "./prove-segments.ts";
import { segmentSources } from "./segment-copies.ts";
import type { WalReport } from "./verify-wal.ts";

/** What became of every segment that is missing or damaged. */
export interface RepairReport {
  readonly created: readonly { readonly segment: string; readonly from: string }[];
  /** What was left as it is, and why; for a damaged object, what to do by hand. */
  readonly left: readonly { readonly segment: string; readonly because: string }[];
  /** Places that gave nothing although they may have something. */
  readonly unasked: readonly { readonly place: string; readonly because: string }[];
}

/**
 * Looks for every segment that is missing or damaged on the path, and creates those that are missing and proven. Only segments of the path that the log, or without
 * one the archive, tells, and nothing past the log's end. What cannot be repaired is told in the report and does not stop the rest. Throws StoreError.
 */
export async function repairSegments(call: Call, found: WalReport): Promise<RepairReport> {
  const { signal, log } = call;
  if (found.facts === null) {
    log.warn("nothing is repaired: the path of timelines cannot be told");
    return { created: [], left: [], unasked: [] };
  }
  // Reading all content may have taken hours: the log has gone on.
  const facts = await readArchive(found.facts.source, "latest", signal);
  const { reader, source, view } = facts;
  const nameOf = (segment: Segment): string => segmentName(segment, source.segmentBytes);
  const missing = unique([...facts.window.missing, ...found.onlyInLog].flatMap(segmentsOf));
  const damaged = new Map(found.damaged.map((segment) => [nameOf(segment), segment]));
  for (const segment of missing) damaged.delete(nameOf(segment));
  const created: { segment: string; from: string }[] = [];
  const left = found.unneeded.map((run) => ({
    segment: nameOf({ timeline: run.timeline, number: run.first }),
    because: `${run.last - run.first + 1n} missing from here on, which no restore to timeline ${lastStep(reader.path).timeline} needs: not written`,
  }));
  const end = view?.tip?.end ?? null;
  const isPast = (segment: Segment): boolean =>
    end !== null && segmentEnd(segment, source.segmentBytes) > end;
  for (const segment of missing.filter(isPast)) {
    const because = `it ends past ${formatLsn(end!)}, where the log ends: only the log's owner writes there`;
    left.push({ segment: nameOf(segment), because });
  }
  const sources = await segmentSources(call, reader);
  try {
    for (const chain of chainsOf([...missing.filter((one) => !isPast(one)), ...damaged.values()])) {
      const { proven, refused } = await new SegmentProver(chain, reader, sources, signal).prove();
      for (const { segment, because } of refused) {
        const name = nameOf(segment);
        left.push({ segment: name, because: damaged.has(name) ? keep(because) : because });
      }
      for (const copy of proven) {
        const name = nameOf(copy.segment);
        const because = damaged.has(name)
          ? await adviseOn(copy, name, reader, signal)
          : await create(call, copy, name);
        if (because !== null) left.push({ segment: name, because });
        else if (!damaged.has(name)) created.push({ segment: name, from: copy.source.name });
      }
    }
  } finally {
    for (const each of sources) await each[Symbol.asyncDispose]();
  }
  const unasked = sources.flatMap(({ name, trouble }) =>
    trouble === null ? [] : [{ place: name, because: trouble }],
  );
  return { created, left, unasked };
}

/** What to do about a damaged object of which there is a sound copy; null when the object is sound: the record that breaks off in it begins before. */
async function adviseOn(
  { segment, source, sha256: hash }: ProvenSegment,
  name: string,
  reader: PathReader,
  signal: AbortSignal,
): Promise<string | null> {
  const stored = await reader.stored(segment, signal).catch((error: unknown) => {
    if (!isDamagedObject(error)) throw error;
    return null;
  });
  if (stored?.kind === "complete" && sha256(stored.bytes) === hash) return null;
  return `its object is damaged, and a repair replaces nothing; ${source.name} has a sound copy: save ${WAL_FOLDER}${name}.* elsewhere, delete it with the store's own tools, and run verify --repair again`;
}

/** Puts one proven copy create-only; why it was not put, or null. */
async function create(
  call: Call,
  { segment, source, sha256: hash }: ProvenSegment,
  name: string,
): Promise<string | null> {
  try {
    // Read again: a whole chain is proven before its first object is created, and need not fit into memory.
    const bytes = await source.read(segment, call.signal);
    if (bytes === null || sha256(bytes) !== hash) return `${source.name} does not have it any more`;
    const tools = await walPushTools(call);
    const outcome = await pushWalBytes(name, bytes, {
      ...tools,
      preventsOverwrite: true,
      writesMetadata: false,
    });
    if (outcome === "there already")
      call.log.info("a segment came into the archive meanwhile", { segment: name });
    return null;
  } catch (error) {
    call.signal.throwIfAborted();
    if (!(error instanceof AppError)) throw error;
    return messageOf(error);
  }
}

const keep = (because: string): string =>
  `its object is damaged, and no sound copy was found (${because}): leave the object, and take a base backup now`;

const segmentsOf = ({ timeline, first, last }: SegmentRun): Segment[] =>
  Array.from({ length: Number(last - first + 1n) }, (_, index) => ({
    timeline,
    number: first + BigInt(index),
  }));

/** A hole that the log filled when it was found may be one that nothing fills by now. */
const unique = (segments: readonly Segment[]): Segment[] => [
  ...new Map(segments.map((segment) => [`${segment.timeline}/${segment.number}`, segment])).values(),
];

/** Segments that follow one another; on a path each number has one name. */
function chainsOf(segments: readonly Segment[]): Segment[][] {
  const chains: Segment[][] = [];
  for (const segment of [...segments].sort((a, b) => (a.number < b.number ? -1 : 1))) {
    const chain = chains.at(-1);
    if (chain !== undefined && chain.at(-1)!.number === segment.number - 1n) chain.push(segment);
    else chains.push([segment]);
  }
  return chains;
}
