// Increments of relation files ("wi1"): the pages that changed since a position in the WAL. Storage format, section 13.

import { ByteReader } from "../base/bytes.ts";
import type { Lsn } from "../wal/lsn.ts";

export const PAGE_BYTES = 8192;

/** The pages of a relation file that an increment holds. */
export interface IncrementPlan {
  /** Size of the source file in bytes. */
  readonly fileBytes: number;
  /** Block numbers relative to the file, ascending. */
  readonly blocks: readonly number[];
}

export interface IncrementHeader {
  readonly fileBytes: number;
  readonly blockCount: number;
}

/** Magic, file size, number of blocks. */
export const INCREMENT_HEADER_BYTES = 16;

/** Bytes of the whole increment. */
export const incrementBytes = (blockCount: number): number =>
  INCREMENT_HEADER_BYTES + blockCount * (4 + PAGE_BYTES);

/** Everything before the pages: `77 69 31 55`, uint64 size, uint32 count, uint32 block numbers; little-endian. */
export function encodeIncrementHead({ fileBytes, blocks }: IncrementPlan): Uint8Array {
  const head = Buffer.alloc(INCREMENT_HEADER_BYTES + 4 * blocks.length);
  head.set(MAGIC);
  head.writeBigUInt64LE(BigInt(fileBytes), 4);
  head.writeUInt32LE(blocks.length, 12);
  for (const [index, block] of blocks.entries())
    head.writeUInt32LE(block, INCREMENT_HEADER_BYTES + 4 * index);
  return head;
}

/** Reads the fixed part. `memberBytes` is the tar member's size, which must agree. Throws IncrementError. */
export function parseIncrementHeader(bytes: Uint8Array, memberBytes: number): IncrementHeader {
  if (bytes.byteLength < INCREMENT_HEADER_BYTES)
    throw new IncrementError(
      `holds ${bytes.byteLength} bytes, fewer than its header of ${INCREMENT_HEADER_BYTES}`,
    );
  const reader = new ByteReader(bytes);
  const magic = reader.bytes(4);
  if (magic[0] !== MAGIC[0] || magic[1] !== MAGIC[1] || magic[3] !== MAGIC[3])
    throw new IncrementError(`does not begin with "wi1U" but with ${Buffer.from(magic).toString("hex")}`);
  if (magic[2] !== MAGIC[2]) throw new IncrementError(`is of the unknown version ${magic[2]}`);
  const size = reader.uint64le();
  if (size > MAX_FILE_BYTES)
    throw new IncrementError(`is for a file of ${size} bytes, more than Postgres makes`);
  const blockCount = reader.uint32le();
  if (memberBytes !== incrementBytes(blockCount))
    throw new IncrementError(
      `holds ${memberBytes} bytes, but ${blockCount} pages take ${incrementBytes(blockCount)}`,
    );
  return { fileBytes: Number(size), blockCount };
}

/** Reads the block numbers. Throws IncrementError unless they ascend and lie within a relation file. */
export function parseIncrementBlocks(bytes: Uint8Array, { fileBytes }: IncrementHeader): Uint32Array {
  const blocks = new Uint32Array(bytes.byteLength / 4);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The file may have grown between the look at its size and the scan of its pages, so blocks behind the size occur.
  const limit = Math.max(Math.ceil(fileBytes / PAGE_BYTES), BLOCKS_PER_FILE);
  let before = -1;
  for (let index = 0; index < blocks.length; index += 1) {
    const block = view.getUint32(index * 4, true);
    if (block <= before) throw new IncrementError(`has block ${block} behind block ${before}`);
    if (block >= limit) throw new IncrementError(`has block ${block} of a file of at most ${limit}`);
    before = block;
    blocks[index] = block;
  }
  return blocks;
}

/** What a scan of pages found. */
export type ScanResult = "goes-on" | "not-paged";

/**
 * Collects the pages that a delta must hold: new ones, and those whose LSN is not below `since`. A page that is
 * neither new nor sound makes the whole file unfit for an increment, as it does for WAL-G (unlogged relations).
 */
export class PageScan {
  readonly blocks: number[] = [];
  readonly #sinceHigh: number;
  readonly #sinceLow: number;

  constructor(since: Lsn) {
    this.#sinceHigh = Number(since >> 32n);
    this.#sinceLow = Number(since & 0xffff_ffffn);
  }

  /** Looks at whole pages, the first of which is block `firstBlock` of the file. */
  push(bytes: Uint8Array, firstBlock: number): ScanResult {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const pages = Math.floor(bytes.byteLength / PAGE_BYTES);
    for (let page = 0; page < pages; page += 1) {
      const at = page * PAGE_BYTES;
      if (view.getUint16(at + 14, true) !== 0) {
        if (!isSound(view, at)) return "not-paged";
        const high = view.getUint32(at, true);
        const isOld =
          high < this.#sinceHigh ||
          (high === this.#sinceHigh && view.getUint32(at + 4, true) < this.#sinceLow);
        if (isOld) continue;
      }
      this.blocks.push(firstBlock + page);
    }
    return "goes-on";
  }
}

/** WAL-G's test of a page header: flags, lower ≤ upper ≤ special ≤ size, an LSN, page size 8192 and layout at most 5. */
function isSound(view: DataView, at: number): boolean {
  const lower = view.getUint16(at + 12, true);
  const upper = view.getUint16(at + 14, true);
  const special = view.getUint16(at + 16, true);
  const sizeVersion = view.getUint16(at + 18, true);
  return (
    (view.getUint16(at + 10, true) & ~7) === 0 &&
    lower >= 24 &&
    lower <= upper &&
    upper <= special &&
    special <= PAGE_BYTES &&
    (view.getUint32(at, true) !== 0 || view.getUint32(at + 4, true) !== 0) &&
    (sizeVersion & 0xff00) === PAGE_BYTES &&
    (sizeVersion & 0xff) <= 5
  );
}

/** May this file be stored as pages? Relation main forks only; `_fsm`, `_vm` and `_init` are always whole. */
export function isPagedName(name: string): boolean {
  return /^\/(?:base\/\d+|pg_tblspc\/\d+\/[^/]+\/\d+)\/\d+(?:\.\d+)?$/.test(name);
}

/** An increment does not hold what its format demands. */
export class IncrementError extends Error {
  override readonly name = "IncrementError";
}

const MAGIC = Uint8Array.of(0x77, 0x69, 0x31, 0x55); // 'w' 'i' '1' 0x55
const BLOCKS_PER_FILE = 131_072;
/** Postgres can be built for larger segments than 1 GiB; past this the number is not believed. */
const MAX_FILE_BYTES = 1n << 45n;
