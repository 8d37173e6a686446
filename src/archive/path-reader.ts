// The segments of one path of timelines, out of wal_005 and the log together (R3): what recovery, walks, plans and drills read.

import { AppError, EXIT, messageOf } from "../base/errors.ts";
import { type AssembledSegment, assembleSegment, type AssembleTools, clipSegment } from "../tail/assemble.ts";
import type { LogView } from "../tail/read.ts";
import { type Lsn, bytesBetween, formatLsn, lsnOf, minLsn } from "../wal/lsn.ts";
import { findRecordEnd, type RecordEnd, type WalSource } from "../wal/record-end.ts";
import { type Segment, segmentAt, segmentEnd, segmentName, segmentStart } from "../wal/segment-name.ts";
import type { TimelinePath } from "../wal/timeline-path.ts";
import { placeSegment, type SegmentFound } from "./answer.ts";
import { type ArchiveSource, catalogOf } from "./archive-source.ts";
import { segmentOwner } from "./gaps.ts";
import type { WalCatalog } from "./wal-catalog.ts";
import { checkSegment, isDamagedObject } from "./wal-file-check.ts";

/** A walk or a copy ran into a segment that is not there. */
export class SegmentMissingError extends AppError {
  readonly segment: Segment;

  constructor(segment: Segment, segmentBytes: number, because: string) {
    super(`segment "${segmentName(segment, segmentBytes)}" is not in the archive: ${because}`, {
      code: "WAL_SEGMENT_MISSING",
      hint: "look at `wal-g wal-verify integrity`; a base backup taken after it starts anew",
      exitStatus: EXIT.absent,
    });
    this.segment = segment;
  }
}

/** Reads one path as of one view of the log. Nothing is remembered but the last segment of a walk. */
export class PathReader {
  readonly source: ArchiveSource;
  readonly view: LogView | null;
  readonly path: TimelinePath;
  readonly #catalog: WalCatalog;

  constructor(
    source: ArchiveSource,
    view: LogView | null,
    path: TimelinePath,
    catalog: WalCatalog = catalogOf(source),
  ) {
    this.source = source;
    this.view = view;
    this.path = path;
    this.#catalog = catalog;
  }

  /**
   * One segment, clipped to the path and checked; where wal_005 has a damaged object, out of the log if that has all of it. `absent` is proven: by the path, or by a listing made in this call, hence after the
   * log was read. Throws what leaves a doubt: StoreError, WalFileDamagedError, CodecError, StaleViewError, WalGapError, ….
   */
  async segment(segment: Segment, signal: AbortSignal): Promise<SegmentFound> {
    const { segmentBytes } = this.source;
    const place = placeSegment(segment, this.path, segmentBytes);
    if (place.kind === "absent") return place;
    let damage: { readonly error: unknown } | null = null;
    const stored = await this.stored(segment, signal).catch((error: unknown) => {
      if (this.view === null || !isDamagedObject(error)) throw error;
      damage = { error };
      return null;
    });
    if (stored !== null) return stored;
    const wanted = bytesBetween(segmentStart(segment, segmentBytes), place.until);
    if (this.view === null) return await this.#withoutLog(segment, wanted, signal);
    const assembled = found(
      await assembleSegment(this.view, segment, this.path, this.#tools(signal)),
      wanted,
    );
    return damage === null ? assembled : this.#inItsPlace(assembled, segment, damage);
  }

  /** The log may still have all bytes of an object that is damaged. Else the object's error is thrown: nothing shorter is served. */
  #inItsPlace(assembled: SegmentFound, segment: Segment, damage: { readonly error: unknown }): SegmentFound {
    if (assembled.kind !== "complete") throw damage.error;
    this.source.log.warn("a segment of wal_005 is damaged; the log has its bytes", {
      segment: segmentName(segment, this.source.segmentBytes),
      because: messageOf(damage.error),
    });
    return assembled;
  }

  /** Only what wal_005 holds complete, clipped; null when it holds nothing of it. One request as a rule. */
  async stored(segment: Segment, signal: AbortSignal): Promise<SegmentFound | null> {
    const { segmentBytes } = this.source;
    const file = await this.#catalog.read(segmentName(segment, segmentBytes), signal, (bytes) =>
      checkSegment(bytes, segment, this.source),
    );
    if (file === null) return null;
    const bytes = clipSegment(file.bytes, segment, this.path, segmentBytes);
    return bytes === null
      ? { kind: "absent", because: "nothing of it lies on the path" }
      : { kind: "complete", bytes };
  }

  /** The path's bytes `[from, to)` in order, a segment at a time. Throws SegmentMissingError where they end early. */
  walSource(signal: AbortSignal): WalSource {
    return (from, to) => this.#range(from, to, signal);
  }

  /** RE(x) on this path; walks back no further than `floor`. */
  recordEnd(x: Lsn, floor: Lsn, signal: AbortSignal): Promise<RecordEnd> {
    const { segmentBytes, systemId } = this.source;
    return findRecordEnd(this.walSource(signal), x, floor, { segmentBytes, systemId });
  }

  /** The segment that recovery reads at `lsn`. */
  segmentFor(lsn: Lsn): Segment {
    const { number } = segmentAt(1, lsn, this.source.segmentBytes);
    return { timeline: segmentOwner(this.path, number, this.source.segmentBytes), number };
  }

  async *#range(from: Lsn, to: Lsn, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { segmentBytes } = this.source;
    for (let at = from; at < to;) {
      const segment = this.segmentFor(at);
      const got = await this.segment(segment, signal);
      if (got.kind === "absent") throw new SegmentMissingError(segment, segmentBytes, got.because);
      const start = segmentStart(segment, segmentBytes);
      const end = minLsn(to, segmentEnd(segment, segmentBytes));
      const has = got.kind === "complete" ? end : minLsn(end, lsnOf(start + BigInt(got.filled)));
      if (has < end) {
        if (has > at) yield got.bytes.subarray(bytesBetween(start, at), bytesBetween(start, has));
        throw new SegmentMissingError(segment, segmentBytes, `it is known only up to ${formatLsn(has)}`);
      }
      yield got.bytes.subarray(bytesBetween(start, at), bytesBetween(start, end));
      at = end;
    }
  }

  /**
   * In an archive without a log. The last timeline's `.partial` (R3 d), whose end only a walk tells. Of a timeline that the path leaves, what
   * the child's copy of the segment holds below the fork, else the `.partial`. Of a fork's segment that the child never completed, what the
   * parent holds below the fork.
   */
  async #withoutLog(segment: Segment, wanted: number, signal: AbortSignal): Promise<SegmentFound> {
    const { segmentBytes } = this.source;
    const start = segmentStart(segment, segmentBytes);
    const index = this.path.findIndex(({ timeline }) => timeline === segment.timeline);
    const child = this.path[index + 1];
    if (child !== undefined && child.begin < segmentEnd(segment, segmentBytes)) {
      const copy = await this.#read({ ...segment, timeline: child.timeline }, false, signal);
      if (copy !== null) return { kind: "complete", bytes: upTo(copy, wanted) };
    }
    const bytes = await this.#read(segment, true, signal);
    if (bytes !== null) {
      return {
        kind: "partial",
        bytes: upTo(bytes, wanted),
        filled: Math.min(wanted, lengthWithoutZeros(bytes)),
      };
    }
    const parent = this.path[index - 1];
    const { begin } = this.path[index]!;
    if (parent === undefined || begin <= start)
      return { kind: "absent", because: "a listing shows no object of it" };
    const below = await this.segment({ ...segment, timeline: parent.timeline }, signal);
    return below.kind === "complete"
      ? { kind: "partial", bytes: below.bytes, filled: bytesBetween(start, begin) }
      : below;
  }

  #tools(signal: AbortSignal): AssembleTools {
    const { store, cipher } = this.source;
    return {
      store,
      cipher,
      signal,
      published: (segment, isPartial) => this.#read(segment, isPartial, signal),
    };
  }

  async #read(segment: Segment, isPartial: boolean, signal: AbortSignal): Promise<Uint8Array | null> {
    const name = segmentName(segment, this.source.segmentBytes);
    const check = (bytes: Uint8Array): void => checkSegment(bytes, segment, this.source);
    const file = await this.#catalog.read(isPartial ? `${name}.partial` : name, signal, check);
    return file?.bytes ?? null;
  }
}

function found(assembled: AssembledSegment, wanted: number): SegmentFound {
  if (assembled.kind === "absent") return assembled;
  const { bytes, filled } = assembled;
  return filled >= wanted ? { kind: "complete", bytes } : { kind: "partial", bytes, filled };
}

/** The first `length` bytes; zeros behind. */
const upTo = (bytes: Uint8Array, length: number): Uint8Array =>
  length >= bytes.byteLength ? bytes : Uint8Array.from(bytes).fill(0, length);

/** Length up to the last byte that is not zero, rounded up to 8. */
export function lengthWithoutZeros(bytes: Uint8Array): number {
  let length = bytes.byteLength;
  while (length > 0 && bytes[length - 1] === 0) length -= 1;
  return Math.min(bytes.byteLength, Math.ceil(length / 8) * 8);
}
