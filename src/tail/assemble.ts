// Accepted bytes on a path of timelines, put together from slots, base and wal_005 (R3, L7).

import { freePiece } from "../base/bytes.ts";
import { type Lsn, ZERO_LSN, addBytes, formatLsn, minLsn } from "../wal/lsn.ts";
import { type RecordEnd, type WalSource, findRecordEnd } from "../wal/record-end.ts";
import { RecordWalk, type WalkOptions } from "../wal/record.ts";
import { type Segment, segmentAt, segmentEnd, segmentName, segmentStart } from "../wal/segment-name.ts";
import {
  type TimelinePath,
  beginOn,
  isOnPath,
  lastStep,
  leftAt,
  ownerAt,
  pathUpTo,
} from "../wal/timeline-path.ts";
import { LogUseError, PublishedMissingError, WalGapError } from "./errors.ts";
import { type BodySource, type LiveSlot, loadBody } from "./live-slot.ts";
import type { LogView } from "./read.ts";
import type { LogTip } from "./run.ts";
import { isStoredPlain } from "./slot.ts";

/** The plain bytes of a complete segment (or of its `.partial`) in wal_005, or null when it is not there. Throws StoreError. */
export type PublishedSource = (segment: Segment, isPartial: boolean) => Promise<Uint8Array | null>;

export interface AssembleTools extends BodySource {
  readonly published: PublishedSource;
  readonly signal: AbortSignal;
  /** Runs every read of the store; an owner's repeats it until it is answered. By default a read is tried once. */
  readonly again?: <T>(what: string, read: () => Promise<T>) => Promise<T>;
}

/** Yields the accepted bytes `[from, to)` of `path` in order and ends early where nothing more was accepted. Throws WalGapError,
 * PublishedMissingError, StaleViewError, StoreError, LogDamagedError. */
export async function* readAccepted(
  view: LogView,
  path: TimelinePath,
  from: Lsn,
  to: Lsn,
  tools: AssembleTools,
): AsyncGenerator<Uint8Array, void, undefined> {
  const pieces = new Pieces(view, path, tools);
  for (let at = from; at < to;) {
    const piece = await pieces.at(at, to);
    if (piece === null || piece.byteLength === 0) return;
    at = addBytes(at, piece.byteLength);
    yield piece;
  }
}

/** As readAccepted, but what is missing throws PublishedMissingError or LogUseError instead of ending early. */
export async function* mustReadAccepted(
  view: LogView,
  path: TimelinePath,
  from: Lsn,
  to: Lsn,
  tools: AssembleTools,
): AsyncGenerator<Uint8Array, void, undefined> {
  let at = from;
  for await (const piece of readAccepted(view, path, from, to, tools)) {
    at = addBytes(at, piece.byteLength);
    yield piece;
  }
  if (at < to) throw missingAt(view, path, at);
}

/** As mustReadAccepted, into `target`, whose first byte is the one at `from`. What had to be unpacked for it is freed on the way. */
export async function fillAccepted(
  view: LogView,
  path: TimelinePath,
  from: Lsn,
  to: Lsn,
  target: Uint8Array,
  tools: AssembleTools,
): Promise<void> {
  const at = addBytes(from, await copyAccepted(view, path, from, to, target, tools));
  if (at < to) throw missingAt(view, path, at);
}

/** Copies what `readAccepted` yields and says how many bytes that was. */
async function copyAccepted(
  view: LogView,
  path: TimelinePath,
  from: Lsn,
  to: Lsn,
  target: Uint8Array,
  tools: AssembleTools,
): Promise<number> {
  const pieces = new Pieces(view, path, tools);
  let filled = 0;
  for (let at = from; at < to; at = addBytes(from, filled)) {
    const piece = await pieces.at(at, to);
    if (piece === null || piece.byteLength === 0) break;
    target.set(piece, filled);
    filled += piece.byteLength;
    pieces.letGo(); // empties `piece`
  }
  return filled;
}

function missingAt(view: LogView, path: TimelinePath, at: Lsn): PublishedMissingError {
  const { segmentBytes } = view.identity;
  return new PublishedMissingError(segmentName(segmentAt(ownerAt(path, at), at, segmentBytes), segmentBytes));
}

/** What the log has of one segment for a target path. */
export type AssembledSegment =
  | {
      readonly kind: "assembled";
      /** A whole segment, zero-padded. */
      readonly bytes: Uint8Array;
      /** Bytes from the segment's start that the log accepted and the path allows. */
      readonly filled: number;
    }
  | { readonly kind: "absent"; readonly because: string };

/**
 * The segment file as Postgres would have it on `path`: ancestors' bytes below the timeline's begin, nothing at or past the point
 * where the path leaves the timeline (R3 c). `path` is the target's; a timeline that is not on it is absent.
 */
export async function assembleSegment(
  view: LogView,
  segment: Segment,
  path: TimelinePath,
  tools: AssembleTools,
): Promise<AssembledSegment> {
  const { segmentBytes } = view.identity;
  const start = segmentStart(segment, segmentBytes);
  const end = segmentEnd(segment, segmentBytes);
  const own = pathUpTo(path, segment.timeline);
  if (own === null) return absent(`timeline ${segment.timeline} is not on the target's path`);
  if (beginOn(path, segment.timeline)! >= end) return absent("the timeline begins behind this segment");
  const left = leftAt(path, segment.timeline);
  const clip = left === null ? end : minLsn(end, left);
  if (clip <= start) return absent(`the target's path leaves the timeline at ${formatLsn(clip)}`);
  const bytes = new Uint8Array(segmentBytes);
  const filled = await copyAccepted(view, own, start, clip, bytes, tools);
  return filled === 0 ? absent("the log accepted nothing of it") : { kind: "assembled", bytes, filled };
}

/** A complete segment as the path allows it: zeros from where the path leaves the timeline; null when nothing is left (R3 c). */
export function clipSegment(
  bytes: Uint8Array,
  segment: Segment,
  path: TimelinePath,
  segmentBytes: number,
): Uint8Array | null {
  const start = segmentStart(segment, segmentBytes);
  const begin = beginOn(path, segment.timeline);
  if (begin === null || begin >= segmentEnd(segment, segmentBytes)) return null;
  const left = leftAt(path, segment.timeline);
  if (left === null || left >= segmentEnd(segment, segmentBytes)) return bytes;
  if (left <= start) return null;
  const clipped = Uint8Array.from(bytes); // `slice` of a Buffer is no copy
  clipped.fill(0, Number(left - start));
  return clipped;
}

/** RE(End) of the winner's history, by a walk over its bytes. Throws as readAccepted, and RecordEndUnknownError. */
export async function recordEndOfLog(
  view: LogView,
  tools: AssembleTools,
  onRecord?: WalkOptions["onRecord"],
): Promise<RecordEnd> {
  const { path, begin, end } = requireTip(view);
  try {
    return await recordEndAt(view, path, end, tools, onRecord);
  } catch (error) {
    if (end !== begin || !(error instanceof PublishedMissingError)) throw error;
    // A log that was founded and holds nothing yet, over no archive from before: its first record will begin where it begins.
    const walk = new RecordWalk(end, walkOptions(view, onRecord));
    return { at: end, isCut: false, walk };
  }
}

/** RE(x) of a path's accepted bytes. */
export function recordEndAt(
  view: LogView,
  path: TimelinePath,
  x: Lsn,
  tools: AssembleTools,
  onRecord?: WalkOptions["onRecord"],
): Promise<RecordEnd> {
  const source: WalSource = (from, to) => mustReadAccepted(view, path, from, to, tools);
  return findRecordEnd(source, x, ZERO_LSN, walkOptions(view, onRecord));
}

const walkOptions = (view: LogView, onRecord: WalkOptions["onRecord"]): WalkOptions =>
  onRecord === undefined ? view.identity : { ...view.identity, onRecord };

export function requireTip(view: Pick<LogView, "tip">): LogTip {
  if (view.tip === null) throw new LogUseError("the log holds no WAL yet");
  return view.tip;
}

/** Finds pieces one after another; keeps the last segment of wal_005 and the base's body at hand. */
class Pieces {
  readonly #view: LogView;
  readonly #path: TimelinePath;
  readonly #tools: AssembleTools;
  #baseBody: Uint8Array | null = null;
  #published: PublishedPiece | null = null;
  /** The body of the slot that the last piece was cut from, when it was unpacked for it. */
  #unpacked: Uint8Array | null = null;

  constructor(view: LogView, path: TimelinePath, tools: AssembleTools) {
    this.#view = view;
    this.#path = path;
    this.#tools = tools;
  }

  /** The bytes from `at` on, up to `to` or less; null when nothing was accepted there. */
  async at(at: Lsn, to: Lsn): Promise<Uint8Array | null> {
    const { segmentBytes } = this.#view.identity;
    const timeline = ownerAt(this.#path, at);
    const segment = segmentAt(timeline, at, segmentBytes);
    const limit = [leftAt(this.#path, timeline), segmentEnd(segment, segmentBytes)].reduce<Lsn>(
      (least, bound) => (bound === null ? least : minLsn(least, bound)),
      to,
    );
    return (
      (await this.#fromSlot(timeline, at, limit)) ??
      (await this.#fromBase(timeline, at, limit)) ??
      (await this.#fromPublished(segment, at, limit))
    );
  }

  /** Frees what was unpacked for the last piece, which is empty then. A collection would let some 64 MB gather first. */
  letGo(): void {
    if (this.#unpacked !== null) freePiece(this.#unpacked);
    this.#unpacked = null;
  }

  async #fromSlot(timeline: number, at: Lsn, limit: Lsn): Promise<Uint8Array | null> {
    const slot = findSlot(this.#view.slots, timeline, at);
    if (slot === null) return null;
    const { header } = slot;
    if (header.kind === "gap") throw new WalGapError(timeline, header.start, header.end);
    if (header.kind !== "data") return null;
    const body = await this.#again(slot.key, () => loadBody(slot, this.#tools, this.#tools.signal));
    if (!isStoredPlain(header)) this.#unpacked = body;
    return cut(body, header.start, at, minLsn(limit, header.end));
  }

  async #fromBase(timeline: number, at: Lsn, limit: Lsn): Promise<Uint8Array | null> {
    const { base } = this.#view;
    if (base === null || at < base.header.published || at >= base.header.end) return null;
    if (ownerAt(base.header.line, at) !== timeline) return null;
    this.#baseBody ??= await this.#again(base.key, () => loadBody(base, this.#tools, this.#tools.signal));
    const left = leftAt(base.header.line, timeline) ?? base.header.end;
    return cut(this.#baseBody, base.header.published, at, minLsn(minLsn(limit, left), base.header.end));
  }

  async #fromPublished(segment: Segment, at: Lsn, limit: Lsn): Promise<Uint8Array | null> {
    const start = segmentStart(segment, this.#view.identity.segmentBytes);
    const kept = this.#published;
    if (kept?.number === segment.number && kept.owner === segment.timeline && at < kept.until) {
      return cut(kept.bytes, start, at, minLsn(limit, kept.until));
    }
    for (const { timeline, until } of this.#copies(segment, at)) {
      const bytes = await this.#fetch({ timeline, number: segment.number }, false);
      if (bytes === null) continue;
      this.#published = { number: segment.number, owner: segment.timeline, until, bytes };
      return cut(bytes, start, at, minLsn(limit, until));
    }
    const partial = await this.#fetch(segment, true);
    if (partial !== null) return cut(partial, start, at, limit);
    if (this.#isBelowPublished(segment.timeline, at)) {
      throw new PublishedMissingError(segmentName(segment, this.#view.identity.segmentBytes));
    }
    return null;
  }

  /** Timelines whose file of this segment holds the byte at `at` as the segment's own timeline has it: itself, then its descendants. */
  #copies(segment: Segment, at: Lsn): Copy[] {
    const end = segmentEnd(segment, this.#view.identity.segmentBytes);
    const copies: Copy[] = [{ timeline: segment.timeline, until: end }];
    for (const path of [this.#path, this.#view.tip?.path ?? []]) {
      for (const { timeline, begin } of path) {
        if (copies.some((copy) => copy.timeline === timeline) || begin <= at || begin >= end) continue;
        // Below the first fork behind `at`, which may be an earlier descendant's, its bytes are the timeline's own.
        const until = leftAt(pathUpTo(path, timeline)!, segment.timeline);
        if (ownerAt(path, at) === segment.timeline && until !== null) copies.push({ timeline, until });
      }
    }
    return copies;
  }

  async #fetch(segment: Segment, isPartial: boolean): Promise<Uint8Array | null> {
    const { segmentBytes } = this.#view.identity;
    const what = `wal_005/${segmentName(segment, segmentBytes)}`;
    const bytes = await this.#again(what, () => this.#tools.published(segment, isPartial));
    if (bytes !== null && bytes.byteLength !== segmentBytes) {
      throw new LogUseError(
        `segment "${segmentName(segment, segmentBytes)}" in wal_005 has ${bytes.byteLength} of ${segmentBytes} bytes`,
        "compare with another copy of the segment",
      );
    }
    return bytes;
  }

  #again<T>(what: string, read: () => Promise<T>): Promise<T> {
    return this.#tools.again === undefined ? read() : this.#tools.again(what, read);
  }

  #isBelowPublished(timeline: number, at: Lsn): boolean {
    const header = this.#view.base?.header;
    if (header === undefined || at >= header.published || !isOnPath(header.line, timeline)) return false;
    const left = leftAt(header.line, timeline);
    return left === null ? lastStep(header.line).timeline === timeline : at < left;
  }
}

/** A file of wal_005 that holds the bytes of a timeline up to a position. */
interface Copy {
  readonly timeline: number;
  readonly until: Lsn;
}

interface PublishedPiece {
  readonly number: bigint;
  readonly owner: number;
  readonly until: Lsn;
  readonly bytes: Uint8Array;
}

/** The data or gap slot of `timeline` that holds the byte at `at`. */
function findSlot(slots: readonly LiveSlot[], timeline: number, at: Lsn): LiveSlot | null {
  for (let i = slots.length - 1; i >= 0; i -= 1) {
    const { header } = slots[i]!;
    if (header.kind !== "data" && header.kind !== "gap") continue;
    if (header.timeline === timeline && header.start <= at && at < header.end) return slots[i]!;
  }
  return null;
}

const cut = (bytes: Uint8Array, first: Lsn, from: Lsn, to: Lsn): Uint8Array =>
  bytes.subarray(Number(from - first), Number(to - first));

const absent = (because: string): AssembledSegment => ({ kind: "absent", because });
