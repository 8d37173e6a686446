// Decoders of lz4 and zstd for threads that restore and do nothing else: in this thread, in memory that is used again.
// Neither input nor output is kept: a piece is good only until the next one is asked for.

import { setImmediate as nextTurn } from "node:timers/promises";
import { constants, zstdDecompressSync } from "node:zlib";
import { ByteCursor } from "../base/byte-cursor.ts";
import { CodecError } from "./codec-error.ts";
import {
  LZ4_BLOCK_BYTES,
  LZ4_MAGIC,
  LZ4_RAW_BLOCK,
  type Lz4FrameHeader,
  decodeBlockHere,
  hasContentSize,
  notAFrame,
  parseFrameHeader,
  releaseNative,
} from "./lz4-compression.ts";
import { throughTransform } from "./node-transform.ts";
import { Xxh32, xxh32 } from "./xxh32.ts";
import { ZSTD_MAGIC, zstdDecoder } from "./zstd-compression.ts";

/** As decompressLz4: concatenated and skippable frames, linked or independent blocks. Throws CodecError. */
export async function* decodeLz4Here(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const words = new Words("lz4", input);
  const memory = new Uint8Array(4 + LZ4_BLOCK_BYTES);
  try {
    for await (const magic of words.frames()) {
      if (magic !== LZ4_MAGIC) throw notAFrame(magic);
      yield* lz4Frame(words, memory);
    }
  } finally {
    await words.close();
  }
}

/** `memory` has room for the largest block behind 4 bytes. */
async function* lz4Frame(words: Words, memory: Uint8Array): AsyncGenerator<Uint8Array> {
  const header = await lz4Header(words);
  const history = new History(header.linked);
  const content = new Xxh32();
  let total = 0;
  for (;;) {
    const word = await words.uint32();
    if (word === 0) break;
    const bytes = word & ~LZ4_RAW_BLOCK;
    if (bytes > header.blockBytes) throw new CodecError(`lz4: a block of ${bytes} bytes is too large`);
    const stored = await words.exactly(memory.subarray(4, 4 + bytes));
    if (header.blockChecksums && (await words.uint32()) !== xxh32(stored))
      throw new CodecError("lz4: a block checksum does not match");
    const isRaw = word >= LZ4_RAW_BLOCK;
    const block = isRaw
      ? stored
      : decodeBlockHere(memory.subarray(0, 4 + bytes), header.blockBytes, history.bytes);
    if (header.contentChecksum) content.update(block);
    total += block.byteLength;
    history.add(block);
    if (block.byteLength > 0) yield block;
    if (!isRaw) releaseNative(block);
    await nextTurn();
  }
  if (header.contentChecksum && (await words.uint32()) !== content.digest())
    throw new CodecError(`lz4: the content checksum does not match after ${total} bytes`);
  if (header.contentBytes !== null && header.contentBytes !== BigInt(total))
    throw new CodecError(`lz4: the frame promised ${header.contentBytes} bytes and holds ${total}`);
}

async function lz4Header(words: Words): Promise<Lz4FrameHeader> {
  const descriptor = new Uint8Array(10);
  await words.exactly(descriptor.subarray(0, 2));
  const length = hasContentSize(descriptor[0]!) ? 10 : 2;
  await words.exactly(descriptor.subarray(2, length));
  const [check = 0] = await words.exactly(new Uint8Array(1));
  return parseFrameHeader(descriptor.subarray(0, length), check);
}

/** The last 64 KiB, which the blocks of a linked frame refer to. */
class History {
  readonly #isKept: boolean;
  #bytes = new Uint8Array(0);

  constructor(isKept: boolean) {
    this.#isKept = isKept;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  add(block: Uint8Array): void {
    if (!this.#isKept) return;
    const kept = this.#bytes.subarray(Math.max(0, this.#bytes.byteLength + block.byteLength - HISTORY_BYTES));
    const added = block.subarray(-HISTORY_BYTES);
    const next = new Uint8Array(kept.byteLength + added.byteLength);
    next.set(kept);
    next.set(added, kept.byteLength);
    this.#bytes = next;
  }
}

/**
 * As decompressZstd. Frames that tell a moderate size, as ours do, are decoded in one go each; others (WAL-G writes one
 * frame without a size) as a stream. Throws CodecError.
 */
export async function* decodeZstdHere(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const words = new Words("zstd", input);
  const memory = new Uint8Array(FRAME_BYTES_MOST);
  try {
    for await (const magic of words.frames()) {
      if (magic !== ZSTD_MAGIC)
        throw new CodecError(`zstd: no frame begins with 0x${magic.toString(16).padStart(8, "0")}`);
      yield* new ZstdFrame(words, memory).content();
    }
  } finally {
    await words.close();
  }
}

/** RFC 8878, section 3.1.1: header, blocks of 3 bytes of header and a body, checksum. */
class ZstdFrame {
  readonly #words: Words;
  readonly #memory: Uint8Array;
  #filled = 0;
  #contentBytes: number | null = null;
  #hasChecksum = false;
  #isComplete = false;

  constructor(words: Words, memory: Uint8Array) {
    this.#words = words;
    this.#memory = memory;
    new DataView(memory.buffer).setUint32(0, ZSTD_MAGIC, true);
    this.#filled = 4;
  }

  async *content(): AsyncGenerator<Uint8Array> {
    await this.#header();
    const bytes = this.#contentBytes;
    if (bytes !== null && bytes <= CONTENT_BYTES_MOST)
      while (!this.#isComplete && this.#hasRoom()) await this.#block();
    if (bytes !== null && this.#isComplete) yield* decodeWhole(this.#memory.subarray(0, this.#filled), bytes);
    else yield* throughTransform(this.#pieces(), zstdDecoder(), "zstd");
    if (!this.#isComplete) throw new CodecError("zstd: a frame ended before its last block");
  }

  /** What was gathered, and the blocks behind it, in memory of their own: the decoder's stream keeps them for a while. */
  async *#pieces(): AsyncGenerator<Uint8Array> {
    yield this.#memory.slice(0, this.#filled);
    while (!this.#isComplete) {
      this.#filled = 0;
      await this.#block();
      yield this.#memory.slice(0, this.#filled);
    }
  }

  #hasRoom(): boolean {
    return this.#filled + BLOCK_BYTES_MOST <= this.#memory.byteLength;
  }

  async #header(): Promise<void> {
    const [flags = 0] = await this.#take(1);
    const isSingle = (flags & 0x20) !== 0;
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6]!;
    const dictionaryBytes = [0, 1, 2, 4][flags & 3]!;
    this.#hasChecksum = (flags & 4) !== 0;
    await this.#take((isSingle ? 0 : 1) + dictionaryBytes);
    const size = await this.#take(sizeBytes);
    if (sizeBytes === 0) return;
    const value = Buffer.from(size).readUIntLE(0, Math.min(sizeBytes, 6));
    this.#contentBytes = sizeBytes === 2 ? value + 256 : value;
    if (sizeBytes === 8 && (size[6] !== 0 || size[7] !== 0)) this.#contentBytes = Number.MAX_SAFE_INTEGER;
  }

  async #block(): Promise<void> {
    const head = await this.#take(3);
    const bits = head[0]! | (head[1]! << 8) | (head[2]! << 16);
    const type = (bits >> 1) & 3;
    if (type === 3) throw new CodecError("zstd: a block of the reserved type");
    const bytes = type === 1 ? 1 : bits >> 3;
    if (bytes > BLOCK_BYTES_MOST - 8) throw new CodecError(`zstd: a block of ${bytes} bytes is too large`);
    await this.#take(bytes);
    if ((bits & 1) === 0) return;
    if (this.#hasChecksum) await this.#take(4);
    this.#isComplete = true;
  }

  async #take(bytes: number): Promise<Uint8Array> {
    const taken = await this.#words.exactly(this.#memory.subarray(this.#filled, this.#filled + bytes));
    this.#filled += bytes;
    return taken;
  }
}

function* decodeWhole(frame: Uint8Array, contentBytes: number): Generator<Uint8Array> {
  const options = {
    // One buffer that fits, or node:zlib joins many.
    chunkSize: Math.max(1024, contentBytes + 64),
    maxOutputLength: Math.max(1, contentBytes),
    params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MOST },
  };
  let content: Buffer<ArrayBuffer>;
  try {
    content = zstdDecompressSync(frame, options);
  } catch (error) {
    throw new CodecError("zstd: a frame cannot be decoded", error);
  }
  if (content.byteLength !== contentBytes)
    throw new CodecError(`zstd: a frame promised ${contentBytes} bytes and holds ${content.byteLength}`);
  if (contentBytes > 0) yield content;
  // Freed now: a collection would let 64 MB of it gather first.
  if (content.buffer.byteLength >= FREED_BYTES_LEAST) content.buffer.transfer(0);
}

/** Numbers and exact lengths out of a stream. */
class Words {
  readonly #codec: string;
  readonly #cursor: ByteCursor;
  readonly #word = new Uint8Array(4);

  constructor(codec: string, input: AsyncIterable<Uint8Array>) {
    this.#codec = codec;
    this.#cursor = new ByteCursor(input);
  }

  /** The magic number of each frame, skippable ones passed over. There must be one at least. */
  async *frames(): AsyncGenerator<number> {
    for (let seen = 0; ; seen += 1) {
      const bytes = await this.#cursor.fill(this.#word);
      if (bytes === 0 && seen > 0) return;
      if (bytes < 4) throw this.#short();
      const magic = this.#value();
      if ((magic & 0xffff_fff0) >>> 0 !== SKIPPABLE_MAGIC) {
        yield magic;
        continue;
      }
      seen -= 1;
      const length = await this.uint32();
      if ((await this.#cursor.skip(length)) < length) throw this.#short();
    }
  }

  async uint32(): Promise<number> {
    await this.exactly(this.#word);
    return this.#value();
  }

  /** Fills `target` whole and returns it. */
  async exactly(target: Uint8Array): Promise<Uint8Array> {
    if ((await this.#cursor.fill(target)) < target.byteLength) throw this.#short();
    return target;
  }

  close(): Promise<void> {
    return this.#cursor.close();
  }

  #value(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.#word;
    return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
  }

  #short(): CodecError {
    return new CodecError(
      `${this.#codec}: the stream ends after ${this.#cursor.consumed} bytes, within a frame`,
    );
  }
}

const SKIPPABLE_MAGIC = 0x184d2a50;
const HISTORY_BYTES = 64 << 10;
/** Compressed bytes of a frame that is decoded in one go. */
const FRAME_BYTES_MOST = (4 << 20) + (512 << 10);
const CONTENT_BYTES_MOST = 4 << 20;
/** The format's limit of 128 KiB, and what stands around a block. */
const BLOCK_BYTES_MOST = (128 << 10) + 64;
const WINDOW_LOG_MOST = 29;
/** More than the pool that Buffer cuts small ones from, which cannot be freed. */
const FREED_BYTES_LEAST = 256 << 10;
