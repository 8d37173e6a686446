// Names of WAL segments and history files. xlog_internal.h: XLogFileName, TLHistoryFileName.

import { type Lsn, lsnOf } from "./lsn.ts";

/** A timeline's number, 1 … 2^32 - 1. */
export type TimelineId = number;

/** One WAL segment: timeline and number (LSN divided by the segment size). */
export interface Segment {
  readonly timeline: TimelineId;
  readonly number: bigint;
}

/** What a file name of the archive means. */
export type WalName =
  | { readonly kind: "segment"; readonly segment: Segment }
  | { readonly kind: "partial"; readonly segment: Segment }
  | { readonly kind: "backup"; readonly segment: Segment; readonly offset: number }
  | { readonly kind: "history"; readonly timeline: TimelineId };

/** Segment sizes that initdb accepts: a power of two, 1 MiB … 1 GiB. */
export function isSegmentSize(bytes: number): boolean {
  return Number.isInteger(bytes) && bytes >= 1 << 20 && bytes <= 1 << 30 && (bytes & (bytes - 1)) === 0;
}

/** 24 upper-case hex digits. */
export function segmentName({ timeline, number }: Segment, segmentBytes: number): string {
  const perId = segmentsPerId(segmentBytes);
  return hex8(BigInt(timeline)) + hex8(number / perId) + hex8(number % perId);
}

/** The segment of a 24-digit name, or null. */
export function parseSegmentName(name: string, segmentBytes: number): Segment | null {
  if (!/^[0-9A-F]{24}$/.test(name)) return null;
  const perId = segmentsPerId(segmentBytes);
  const low = BigInt(`0x${name.slice(16)}`);
  if (low >= perId) return null;
  return {
    timeline: Number.parseInt(name.slice(0, 8), 16),
    number: BigInt(`0x${name.slice(8, 16)}`) * perId + low,
  };
}

/** Any name Postgres hands to archive_command or asks of restore_command; null for others. */
export function parseWalName(name: string, segmentBytes: number): WalName | null {
  const history = /^([0-9A-F]{8})\.history$/.exec(name);
  if (history !== null) return { kind: "history", timeline: Number.parseInt(history[1]!, 16) };
  const match = /^([0-9A-F]{24})(?:\.(partial)|\.([0-9A-F]{8})\.backup)?$/.exec(name);
  const segment = match === null ? null : parseSegmentName(match[1]!, segmentBytes);
  if (match === null || segment === null) return null;
  if (match[2] !== undefined) return { kind: "partial", segment };
  if (match[3] !== undefined) return { kind: "backup", segment, offset: Number.parseInt(match[3], 16) };
  return { kind: "segment", segment };
}

export const historyName = (timeline: TimelineId): string => `${hex8(BigInt(timeline))}.history`;

/** The segment that holds the byte at `lsn`. */
export const segmentAt = (timeline: TimelineId, lsn: Lsn, segmentBytes: number): Segment => ({
  timeline,
  number: lsn / BigInt(segmentBytes),
});

/** First byte of a segment. */
export const segmentStart = ({ number }: Segment, segmentBytes: number): Lsn =>
  lsnOf(number * BigInt(segmentBytes));

/** First byte behind a segment. */
export const segmentEnd = ({ number }: Segment, segmentBytes: number): Lsn =>
  lsnOf((number + 1n) * BigInt(segmentBytes));

export const nextSegment = ({ timeline, number }: Segment): Segment => ({ timeline, number: number + 1n });

/** `lsn` rounded down to its segment's start. */
export const segmentFloor = (lsn: Lsn, segmentBytes: number): Lsn =>
  lsnOf(lsn - (lsn % BigInt(segmentBytes)));

const segmentsPerId = (segmentBytes: number): bigint => 0x1_0000_0000n / BigInt(segmentBytes);
const hex8 = (value: bigint): string => value.toString(16).toUpperCase().padStart(8, "0");
