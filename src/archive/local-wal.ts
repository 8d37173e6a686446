// The WAL files of a local pg_wal along a path of timelines. Judged by nothing but what they hold: names of recycled files say nothing.

import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { readControlFile } from "../postgres/data-directory.ts";
import { type Lsn, bytesBetween, lsnOf, minLsn } from "../wal/lsn.ts";
import { identifySegment, LONG_HEADER_BYTES } from "../wal/page.ts";
import { RecordWalk } from "../wal/record.ts";
import {
  historyName,
  parseSegmentName,
  segmentAt,
  segmentEnd,
  segmentName,
  segmentStart,
  type TimelineId,
} from "../wal/segment-name.ts";
import { parseHistory } from "../wal/timeline-history.ts";
import { pathOfHistory, rootPath, type TimelinePath } from "../wal/timeline-path.ts";

export const pgWal = (dataDirectory: string): string => join(dataDirectory, "pg_wal");

/** The path that a stopped data directory is on: from its control file and the `.history` in its pg_wal. Throws when that is missing. */
export async function localPath(dataDirectory: string): Promise<TimelinePath> {
  const control = await readControlFile(dataDirectory);
  // Right after a promotion the checkpoint is still the parent's; the recovery point is not.
  return await pathFromFiles(pgWal(dataDirectory), Math.max(control.timeline, control.minRecoveryTimeline));
}

/** The path to `timeline` by its `.history` file in `folder`. An empty one (a hole, R4) tells no path. */
export async function pathFromFiles(folder: string, timeline: TimelineId): Promise<TimelinePath> {
  if (timeline === 1) return rootPath(1);
  const text = await readFile(join(folder, historyName(timeline)), "utf8");
  return pathOfHistory(parseHistory(timeline, text));
}

/** Reads along one path. */
export class LocalWal {
  readonly #folder: string;
  readonly #path: TimelinePath;
  readonly #segmentBytes: number;

  constructor(folder: string, path: TimelinePath, segmentBytes: number) {
    this.#folder = folder;
    this.#path = path;
    this.#segmentBytes = segmentBytes;
  }

  /** The bytes `[from, to)` in order, at most a segment at a time; ends early where a file is missing or short. */
  async *read(from: Lsn, to: Lsn): AsyncGenerator<Uint8Array> {
    for (let at = from; at < to;) {
      const end = minLsn(to, segmentEnd(segmentAt(1, at, this.#segmentBytes), this.#segmentBytes));
      const piece = await this.#piece(at, end);
      if (piece === null || piece.byteLength === 0) return;
      yield piece;
      at = lsnOf(at + BigInt(piece.byteLength));
    }
  }

  /** Where the record walk from a record's start arrives (postgres-facts.md section 2). */
  async walkFrom(redo: Lsn, systemId: bigint): Promise<Lsn> {
    const walk = new RecordWalk(redo, { segmentBytes: this.#segmentBytes, systemId });
    for await (const piece of this.read(redo, LAST_LSN)) {
      walk.push(piece);
      if (walk.stopped !== null) break;
    }
    return walk.recordEnd ?? redo;
  }

  /**
   * Where the complete records end that lie at or behind `at`, a record's end that Postgres replayed to. The walk begins before it: a recycled
   * file holds older records behind what was written last, often at the same places, and only the link to the record before tells them
   * from new ones.
   */
  async completeEnd(at: Lsn, systemId: bigint): Promise<Lsn> {
    const size = BigInt(this.#segmentBytes);
    const last = segmentStart(segmentAt(1, lsnOf(at - 1n), this.#segmentBytes), this.#segmentBytes);
    for (let from = last; from >= 0n; from = lsnOf(from - size)) {
      const walk = new RecordWalk(from, { segmentBytes: this.#segmentBytes, systemId });
      for await (const piece of this.read(from, LAST_LSN)) {
        walk.push(piece);
        if (walk.stopped !== null) break;
      }
      if (walk.position === from) break;
      // Postgres replayed to `at`: a walk that ends before it has met a file that is gone or replaced, and proves nothing.
      if (walk.recordEnd !== null && walk.recordEnd >= at) return walk.recordEnd;
      if (walk.recordEnd !== null) break;
    }
    return await this.walkFrom(at, systemId);
  }

  /**
   * Is a file missing in the middle? `recordEnd` is where the walk from `redo` ended. True when the segment of `redo` is not there, or when
   * one further on than a torn record reaches is there and is what its name says: then `recordEnd` is not how far this volume's WAL goes.
   */
  async hasHole(redo: Lsn, recordEnd: Lsn): Promise<boolean> {
    const first = await this.#piece(redo, lsnOf(redo + 1n));
    if (first === null || first.byteLength === 0) return true;
    const last = segmentAt(1, lsnOf(recordEnd - 1n), this.#segmentBytes).number;
    for (const name of await readdir(this.#folder)) {
      const segment = parseSegmentName(name, this.#segmentBytes);
      if (segment === null || segment.number <= last + 1n) continue;
      if (!this.#path.some(({ timeline }) => timeline === segment.timeline)) continue;
      const head = await readRange(join(this.#folder, name), 0, LONG_HEADER_BYTES);
      if (head !== null && identifySegment(head)?.start === segmentStart(segment, this.#segmentBytes))
        return true;
    }
    return false;
  }

  /** Start of the first segment of `timeline`, from `from` to `to`, that is there and is what its name says; null when there is none. */
  async firstFrom(timeline: TimelineId, from: Lsn, to: Lsn): Promise<Lsn | null> {
    const size = BigInt(this.#segmentBytes);
    for (let number = (from + size - 1n) / size; number * size <= to; number += 1n) {
      const start = lsnOf(number * size);
      const name = segmentName({ timeline, number }, this.#segmentBytes);
      const head = await readRange(join(this.#folder, name), 0, LONG_HEADER_BYTES);
      if (head !== null && identifySegment(head)?.start === start) return start;
    }
    return null;
  }

  /** From the newest file that may hold these bytes: a child's copy of a segment holds its parent's bytes below the fork. */
  async #piece(from: Lsn, to: Lsn): Promise<Uint8Array | null> {
    const { number } = segmentAt(1, from, this.#segmentBytes);
    const owners = this.#path
      .filter(({ begin }) => begin < segmentEnd({ timeline: 1, number }, this.#segmentBytes))
      .toReversed();
    for (const { timeline, begin } of owners) {
      const name = segmentName({ timeline, number }, this.#segmentBytes);
      const bytes = await readRange(
        join(this.#folder, name),
        this.#offset(number, from),
        this.#offset(number, to),
      );
      if (bytes !== null) return bytes;
      // Without this timeline's own file its bytes are nowhere; below its begin a parent's file has them.
      if (begin <= from) return null;
    }
    return null;
  }

  #offset(number: bigint, at: Lsn): number {
    return bytesBetween(segmentStart({ timeline: 1, number }, this.#segmentBytes), at);
  }
}

async function readRange(path: string, start: number, end: number): Promise<Uint8Array | null> {
  try {
    await using file = await open(path, "r");
    const bytes = Buffer.allocUnsafe(end - start);
    const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, start);
    return bytes.subarray(0, bytesRead);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

const LAST_LSN = lsnOf((1n << 63n) - 1n);
