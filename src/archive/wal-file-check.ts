// Is this file what its name says? Asked before anything is served to a recovery. Pure.

import { BoundsError } from "../base/bytes.ts";
import { AppError, EXIT, messageOf } from "../base/errors.ts";
import { CodecError } from "../codec/codec-error.ts";
import { StoreError } from "../storage/object-store.ts";
import { formatLsn } from "../wal/lsn.ts";
import { decodePageHeader, faultOfPage, LONG_HEADER_BYTES } from "../wal/page.ts";
import { type Segment, segmentName, segmentStart, type TimelineId } from "../wal/segment-name.ts";
import { parseHistory, type TimelineHistory } from "../wal/timeline-history.ts";

/** What every segment of this cluster has in common. */
export interface SegmentExpectation {
  readonly segmentBytes: number;
  /** null: another cluster's, whatever it is. */
  readonly systemId: bigint | null;
  /** XLOG_PAGE_MAGIC of the server that will read it; null: any that we know. */
  readonly magic: number | null;
}

/** A file that must never be served: empty, cut, swapped, of another cluster. */
export class WalFileDamagedError extends AppError {
  constructor(name: string, fault: string, cause?: unknown) {
    super(`"${name}" in the archive is damaged: ${fault}`, {
      code: "WAL_FILE_DAMAGED",
      hint: "look for another copy of the segment, or restore from a base backup taken after it",
      exitStatus: EXIT.doubt,
      cause,
    });
  }
}

/** The object itself is wrong, and stays so however often it is read. */
export const isDamagedObject = (error: unknown): boolean =>
  error instanceof WalFileDamagedError ||
  error instanceof CodecError ||
  error instanceof BoundsError ||
  (error instanceof StoreError && error.kind === "damaged");

/** Throws WalFileDamagedError unless length, magic number, page address, segment size and system identifier are right. */
export function checkSegment(bytes: Uint8Array, segment: Segment, expected: SegmentExpectation): void {
  const { segmentBytes, systemId, magic } = expected;
  const fail = (fault: string): never => {
    throw new WalFileDamagedError(segmentName(segment, segmentBytes), fault);
  };
  if (bytes.byteLength !== segmentBytes) fail(`it holds ${bytes.byteLength} of ${segmentBytes} bytes`);
  const header = decodePageHeader(bytes.subarray(0, LONG_HEADER_BYTES));
  if (header === null) return fail("its first page is unreadable");
  const address = segmentStart(segment, segmentBytes);
  const fault = faultOfPage(header, { address, segmentBytes, magic, systemId });
  if (fault !== null) fail(`its first page has ${fault}, where position ${formatLsn(address)} belongs`);
  // The first page of a segment that holds a fork carries the parent's number.
  if (header.timeline > segment.timeline) fail(`its first page is of timeline ${header.timeline}`);
}

/** Throws WalFileDamagedError unless it is the history of that timeline, with at least one line. */
export function checkHistory(bytes: Uint8Array, name: string, timeline: TimelineId): TimelineHistory {
  let history: TimelineHistory;
  try {
    history = parseHistory(timeline, Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw new WalFileDamagedError(name, messageOf(error), error);
  }
  if (history.switches.length === 0) throw new WalFileDamagedError(name, "it names no parent");
  return history;
}
