// LZ4 frames as WAL-G writes and reads them. https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
// The door to lz4-napi, which gives raw blocks; the container is made here, so that one frame holds a stream of any length.

import { setImmediate as nextTurn } from "node:timers/promises";
import lz4 from "lz4-napi";
import { ByteReader } from "../base/bytes.ts";
import { ByteSource } from "../base/byte-source.ts";
import { CodecError } from "./codec-error.ts";
import { rechunk } from "./rechunk.ts";
import { skipFrame } from "./skippable-frame.ts";
import { Xxh32, xxh32 } from "./xxh32.ts";

export const LZ4_MAGIC = 0x184d2204;
/** The largest block of any frame, and of ours. */
export const LZ4_BLOCK_BYTES = 4 << 20;
/** Blocks that are made beside other work: a millisecond each. */
const SHORT_BLOCK_BYTES = 1 << 20;
const HISTORY_BYTES = 64 << 10;
const NOTHING = new Uint8Array(0);
/** Flag in a block's size: its bytes are not compressed. */
export const LZ4_RAW_BLOCK = 0x8000_0000;

/** FLG 0x64: version 1, independent blocks, content checksum. BD 0x70: blocks of 4 MiB. HC 0xB9: checksum of both. */
const HEADER = Uint8Array.of(0x04, 0x22, 0x4d, 0x18, 0x64, 0x70, 0xb9);

/**
 * One frame: independent blocks, no block checksum, no content size, content checksum. Each block is made in this thread, with a turn of the
 * event loop behind it. lz4-napi's own pool would leave its memory to threads that do not free it: a gigabyte, measured, after a restart.
 */
export async function* compressLz4(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const content = new Xxh32();
  yield HEADER;
  for await (const block of rechunk(input, SHORT_BLOCK_BYTES)) {
    content.update(block);
    yield encodeBlock(block);
    await nextTurn();
  }
  yield uint32(0, content.digest());
}

/** As compressLz4, for bytes in memory. */
export async function compressLz4Whole(bytes: Uint8Array): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [HEADER];
  const content = new Xxh32();
  for (let at = 0; at < bytes.byteLength; at += SHORT_BLOCK_BYTES) {
    const block = bytes.subarray(at, at + SHORT_BLOCK_BYTES);
    content.update(block);
    pieces.push(encodeBlock(block));
    await nextTurn();
  }
  const whole = Buffer.concat([...pieces, uint32(0, content.digest())]);
  for (const piece of pieces) releaseNative(piece);
  return whole;
}

/** The same frame block by block and without promises, for threads whose only work it is. A block's bytes go into `input` first. */
export class Lz4BlockEncoder {
  readonly input: Uint8Array;
  readonly #content = new Xxh32();
  #last: Uint8Array | null = null;

  /** Blocks of at most `blockBytes`, up to 4 MiB. */
  constructor(blockBytes: number) {
    this.input = new Uint8Array(blockBytes);
  }

  begin(): Uint8Array {
    return HEADER;
  }

  /** The result is gone once the next block is asked for. */
  block(bytes: number): Uint8Array {
    if (this.#last !== null) releaseNative(this.#last);
    const block = this.input.subarray(0, bytes);
    this.#content.update(block);
    this.#last = framed(block, lz4.compressSync(asBuffer(block)));
    return this.#last;
  }

  end(): Uint8Array {
    return uint32(0, this.#content.digest());
  }
}

/** The content of a raw block that lies behind 4 bytes in `stored`, which are overwritten. Throws CodecError. */
export function decodeBlockHere(stored: Uint8Array, room: number, history: Uint8Array): Uint8Array {
  new DataView(stored.buffer, stored.byteOffset).setUint32(0, room, true); // lz4-napi wants the most it may become in front
  try {
    const packed = asBuffer(stored);
    return history.byteLength > 0
      ? lz4.uncompressSync(packed, asBuffer(history))
      : lz4.uncompressSync(packed);
  } catch (error) {
    throw new CodecError("lz4: a block cannot be decoded", error);
  }
}

/** Frees what lz4-napi handed out, at the event loop's next turn: a collection would let gigabytes of it gather. */
export function releaseNative(bytes: Uint8Array): void {
  const memory = bytes.buffer;
  const isOwn = bytes.byteOffset === 0 && memory.byteLength > Buffer.poolSize;
  if (isOwn && memory instanceof ArrayBuffer) memory.transfer(0);
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Reads concatenated and skippable frames, linked or independent blocks. Throws CodecError. */
export async function* decompressLz4(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = new ByteSource(input);
  try {
    let frames = 0;
    while (frames === 0 || !(await source.atEnd())) {
      if (await skipFrame(source)) continue;
      yield* readFrame(source);
      frames += 1;
    }
  } finally {
    await source.close();
  }
}

export interface Lz4FrameHeader {
  readonly linked: boolean;
  readonly blockChecksums: boolean;
  readonly contentChecksum: boolean;
  readonly contentBytes: bigint | null;
  readonly blockBytes: number;
}

async function* readFrame(source: ByteSource): AsyncGenerator<Uint8Array> {
  const header = await readHeader(source);
  const content = new Xxh32();
  let history: Uint8Array = new Uint8Array(0);
  let total = 0;
  for (;;) {
    const block = await readBlock(source, header, history);
    if (block === null) break;
    if (header.linked) history = lastBytes(history, block);
    if (header.contentChecksum) content.update(block);
    total += block.byteLength;
    if (block.byteLength > 0) yield block;
    await nextTurn();
  }
  if (header.contentChecksum && readUint32(await mustTake(source, 4)) !== content.digest()) {
    throw new CodecError(`lz4: the content checksum does not match after ${total} bytes`);
  }
  if (header.contentBytes !== null && header.contentBytes !== BigInt(total)) {
    throw new CodecError(`lz4: the frame promised ${header.contentBytes} bytes and holds ${total}`);
  }
}

async function readHeader(source: ByteSource): Promise<Lz4FrameHeader> {
  const start = await mustTake(source, 6);
  const magic = readUint32(start);
  if (magic !== LZ4_MAGIC) throw notAFrame(magic);
  const size = hasContentSize(start[4]!) ? await mustTake(source, 8) : new Uint8Array(0);
  const [check = 0] = await mustTake(source, 1);
  return parseFrameHeader(Buffer.concat([start.subarray(4), size]), check);
}

export const notAFrame = (magic: number): CodecError =>
  new CodecError(`lz4: no frame begins with 0x${magic.toString(16).padStart(8, "0")}`);

/** Bit 3 of FLG: 8 bytes of size follow BD. */
export const hasContentSize = (flags: number): boolean => (flags & 8) !== 0;

/** FLG, BD and the size if there is one; `check` is the byte behind them. Throws CodecError. */
export function parseFrameHeader(descriptor: Uint8Array, check: number): Lz4FrameHeader {
  const [flags = 0, block = 0] = descriptor;
  if (flags >> 6 !== 1) throw new CodecError(`lz4: unknown version ${flags >> 6}`);
  if ((flags & 1) !== 0) throw new CodecError("lz4: the frame needs a dictionary");
  if (check !== ((xxh32(descriptor) >>> 8) & 0xff))
    throw new CodecError("lz4: the header checksum does not match");
  const code = (block >> 4) & 7;
  if (code < 4 || (block & 0x8f) !== 0) throw new CodecError(`lz4: unknown block size ${block}`);
  return {
    linked: (flags & 0x20) === 0,
    blockChecksums: (flags & 0x10) !== 0,
    contentChecksum: (flags & 4) !== 0,
    contentBytes: hasContentSize(flags) ? new ByteReader(descriptor.subarray(2)).uint64le() : null,
    blockBytes: 1 << (8 + 2 * code),
  };
}

/** The next block's content, or null at the end mark. */
async function readBlock(
  source: ByteSource,
  header: Lz4FrameHeader,
  history: Uint8Array,
): Promise<Uint8Array | null> {
  const word = readUint32(await mustTake(source, 4));
  if (word === 0) return null;
  const bytes = word & ~LZ4_RAW_BLOCK;
  if (bytes > header.blockBytes) throw new CodecError(`lz4: a block of ${bytes} bytes is too large`);
  const stored = await mustTake(source, bytes);
  if (header.blockChecksums && readUint32(await mustTake(source, 4)) !== xxh32(stored)) {
    throw new CodecError("lz4: a block checksum does not match");
  }
  return word >= LZ4_RAW_BLOCK ? Uint8Array.from(stored) : decodeBlock(stored, header, history);
}

const decodeBlock = (
  stored: Uint8Array,
  { linked, blockBytes }: Lz4FrameHeader,
  history: Uint8Array,
): Uint8Array =>
  decodeBlockHere(Buffer.concat([new Uint8Array(4), stored]), blockBytes, linked ? history : NOTHING);

const encodeBlock = (block: Uint8Array): Uint8Array => framed(block, lz4.compressSync(asBuffer(block)));

/** `packed` comes from lz4-napi: four bytes of length, then the raw block. */
function framed(block: Uint8Array, packed: Buffer): Uint8Array {
  if (packed.byteLength - 4 >= block.byteLength) {
    return Buffer.concat([uint32(block.byteLength + LZ4_RAW_BLOCK), block]);
  }
  packed.writeUInt32LE(packed.byteLength - 4, 0);
  return packed;
}

function lastBytes(history: Uint8Array, block: Uint8Array): Uint8Array {
  if (block.byteLength >= HISTORY_BYTES) return block.subarray(-HISTORY_BYTES);
  return Buffer.concat([history, block]).subarray(-HISTORY_BYTES);
}

async function mustTake(source: ByteSource, count: number): Promise<Uint8Array> {
  const bytes = await source.take(count);
  if (bytes === null)
    throw new CodecError(`lz4: the stream ends after ${source.consumed} bytes, within a frame`);
  return bytes;
}

function uint32(...values: readonly number[]): Uint8Array {
  const out = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => out.writeUInt32LE(value, 4 * index));
  return out;
}

const readUint32 = (bytes: Uint8Array): number => new ByteReader(bytes).uint32le();
