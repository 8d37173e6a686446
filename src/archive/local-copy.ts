// How a segment in a standby's own pg_wal compares with what the store has of it. Judged by contents: the file may be a recycled one.

import { readFile } from "node:fs/promises";
import { addBytes, bytesBetween } from "../wal/lsn.ts";
import { decodePageHeader, faultOfPage, LONG_HEADER_BYTES, PAGE_BYTES } from "../wal/page.ts";
import { RecordWalk } from "../wal/record.ts";
import { type Segment, segmentStart } from "../wal/segment-name.ts";
import type { LocalCopy } from "./answer.ts";
import type { SegmentExpectation } from "./wal-file-check.ts";

/** Reads the local file, if there is one, and compares. `stored` is a whole segment of which `filled` bytes are known. */
export async function compareLocalCopy(
  path: string,
  segment: Segment,
  stored: { readonly bytes: Uint8Array; readonly filled: number },
  expected: SegmentExpectation,
): Promise<LocalCopy> {
  const local = await readFile(path).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  });
  return local === null ? { kind: "none" } : compareCopies(local, segment, stored, expected);
}

/** The comparison itself. Pure. */
export function compareCopies(
  local: Uint8Array,
  segment: Segment,
  { bytes, filled }: { readonly bytes: Uint8Array; readonly filled: number },
  expected: SegmentExpectation,
): LocalCopy {
  const length = validLength(local, segment, expected);
  if (length === 0) return { kind: "none" };
  const differs = firstDifference(local, bytes, filled);
  if (differs === null) return { kind: "not-behind" };
  // Behind the last valid record the local file holds the head of one that never became whole, or an older life's pages.
  if (differs >= length) return { kind: "behind" };
  return { kind: "different", at: addBytes(segmentStart(segment, expected.segmentBytes), differs) };
}

/** Bytes from the start that are this segment's: up to the last complete record, or, where none begins, the last valid page. */
function validLength(local: Uint8Array, segment: Segment, expected: SegmentExpectation): number {
  const { segmentBytes, systemId } = expected;
  const start = segmentStart(segment, segmentBytes);
  let pages = 0;
  let magic = expected.magic;
  for (; (pages + 1) * PAGE_BYTES <= local.byteLength; pages += 1) {
    const at = pages * PAGE_BYTES;
    const header = decodePageHeader(local.subarray(at, at + LONG_HEADER_BYTES));
    const place = { address: addBytes(start, at), segmentBytes, magic, systemId };
    if (header === null || faultOfPage(header, place) !== null) break;
    magic = header.magic;
  }
  if (pages === 0) return 0;
  const walk = new RecordWalk(start, { segmentBytes, systemId });
  walk.push(local.subarray(0, pages * PAGE_BYTES));
  return walk.recordEnd === null ? pages * PAGE_BYTES : bytesBetween(start, walk.recordEnd);
}

function firstDifference(a: Uint8Array, b: Uint8Array, length: number): number | null {
  const most = Math.min(length, a.byteLength, b.byteLength);
  if (Buffer.compare(a.subarray(0, most), b.subarray(0, most)) === 0) return most < length ? most : null;
  for (let at = 0; at < most; at += 1) if (a[at] !== b[at]) return at;
  return null;
}
