// Headers of WAL pages. xlog_internal.h: XLogPageHeaderData, XLogLongPageHeaderData.

import { type Lsn, lsnOf } from "./lsn.ts";
import { isSegmentSize, type TimelineId } from "./segment-name.ts";

/** XLOG_BLCKSZ of every Debian build; a server built otherwise is refused. */
export const PAGE_BYTES = 8192;
export const SHORT_HEADER_BYTES = 24;
/** The first page of a segment has the long header. */
export const LONG_HEADER_BYTES = 40;

/** Flags of `xlp_info`. */
export const PAGE_FLAG = { contrecord: 1, long: 2, removable: 4, overwriteContrecord: 8 } as const;
const KNOWN_FLAGS = 0x000f;

/** XLOG_PAGE_MAGIC by major version of Postgres. */
export const PAGE_MAGIC: Readonly<Record<number, number>> = {
  13: 0xd106,
  14: 0xd10d,
  15: 0xd110,
  16: 0xd113,
  17: 0xd116,
  18: 0xd118,
};

export interface PageHeader {
  readonly magic: number;
  readonly info: number;
  readonly timeline: TimelineId;
  readonly address: Lsn;
  /** Bytes of a record from the page before that are still to come, this page's included; 0 when a record begins here. */
  readonly remainingBytes: number;
  /** Present on the first page of a segment. */
  readonly long: LongHeader | null;
}

export interface LongHeader {
  readonly systemId: bigint;
  readonly segmentBytes: number;
  readonly pageBytes: number;
}

/** Major version of Postgres that writes this magic, or null. */
export function versionOfMagic(magic: number): number | null {
  for (const [version, known] of Object.entries(PAGE_MAGIC)) if (known === magic) return Number(version);
  return null;
}

/** Decodes a page header, checking nothing but that the bytes are there; null when there are too few. */
export function decodePageHeader(bytes: Uint8Array): PageHeader | null {
  if (bytes.byteLength < SHORT_HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const info = view.getUint16(2, true);
  const isLong = (info & PAGE_FLAG.long) !== 0;
  if (isLong && bytes.byteLength < LONG_HEADER_BYTES) return null;
  return {
    magic: view.getUint16(0, true),
    info,
    timeline: view.getUint32(4, true),
    address: lsnOf(view.getBigUint64(8, true)),
    remainingBytes: view.getUint32(16, true),
    long: isLong
      ? {
          systemId: view.getBigUint64(24, true),
          segmentBytes: view.getUint32(32, true),
          pageBytes: view.getUint32(36, true),
        }
      : null,
  };
}

/** What a page must agree with; what is null is not compared. */
export interface PageExpectation {
  readonly address: Lsn;
  readonly segmentBytes: number;
  readonly magic: number | null;
  readonly systemId: bigint | null;
}

/** Why this header cannot stand at that place, in words, or null when it can. */
export function faultOfPage(header: PageHeader, expected: PageExpectation): string | null {
  if (expected.magic === null ? versionOfMagic(header.magic) === null : header.magic !== expected.magic) {
    return `magic number ${header.magic.toString(16).toUpperCase().padStart(4, "0")}`;
  }
  if ((header.info & ~KNOWN_FLAGS) !== 0) return `info bits ${header.info.toString(16)}`;
  if (header.address !== expected.address) return `page address ${header.address}`;
  const startsSegment = expected.address % BigInt(expected.segmentBytes) === 0n;
  if (startsSegment !== (header.long !== null))
    return "long header where a short one belongs, or the reverse";
  if (header.long === null) return null;
  if (header.long.segmentBytes !== expected.segmentBytes) return `segment size ${header.long.segmentBytes}`;
  if (header.long.pageBytes !== PAGE_BYTES) return `page size ${header.long.pageBytes}`;
  if (expected.systemId !== null && header.long.systemId !== expected.systemId) {
    return `system identifier ${header.long.systemId}`;
  }
  return null;
}

/** System identifier, segment size, version, timeline and position out of a segment's first page; null when that is none. */
export function identifySegment(firstPage: Uint8Array): SegmentIdentity | null {
  const header = decodePageHeader(firstPage);
  const version = header === null ? null : versionOfMagic(header.magic);
  if (header === null || header.long === null || version === null) return null;
  const { systemId, segmentBytes, pageBytes } = header.long;
  if (pageBytes !== PAGE_BYTES || !isSegmentSize(segmentBytes)) return null;
  if (header.address % BigInt(segmentBytes) !== 0n) return null;
  return { systemId, segmentBytes, version, timeline: header.timeline, start: header.address };
}

export interface SegmentIdentity {
  readonly systemId: bigint;
  readonly segmentBytes: number;
  /** Major version of the Postgres that wrote it. */
  readonly version: number;
  /** Timeline in the first page's header: of a segment that holds a fork, the parent's. */
  readonly timeline: TimelineId;
  readonly start: Lsn;
}
