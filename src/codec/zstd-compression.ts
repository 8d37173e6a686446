// Zstandard through node:zlib, whose decoder stops silently after the first frame: frames are found here and decoded one by one.
// https://github.com/facebook/zstd/blob/dev/doc/zstd_compression_format.md (RFC 8878)
// Never ZSTD_c_nbWorkers: node:zlib then loses output without an error.

import { promisify } from "node:util";
import {
  type ZstdOptions,
  constants,
  createZstdCompress,
  createZstdDecompress,
  zstdCompress,
} from "node:zlib";
import { ByteReader } from "../base/bytes.ts";
import { ByteSource } from "../base/byte-source.ts";
import { CodecError } from "./codec-error.ts";
import { throughTransform } from "./node-transform.ts";
import { skipFrame } from "./skippable-frame.ts";

/** WAL-G's names (WALG_ZSTD_LEVEL). */
export type ZstdLevel = "fastest" | "default" | "better" | "best";

/** The library's number of a level. */
export const zstdLevelNumber = (level: ZstdLevel): number => LEVELS[level];

/** Level 3, the library's own default, costs twice the time of level 1 for one percent on tables and indexes. */
const LEVELS: Record<ZstdLevel, number> = { fastest: -1, default: 1, better: 5, best: 11 };
export const ZSTD_MAGIC = 0xfd2fb528;
/** Frames that want a larger window are refused: it is allocated before the content is known to be good. */
const WINDOW_LOG_MOST = 29;
const PIECE_BYTES = 256 << 10;

/** One frame with a content checksum. */
export function compressZstd(level: ZstdLevel, input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  return throughTransform(
    input,
    createZstdCompress({ ...encoderOptions(level), chunkSize: PIECE_BYTES }),
    "zstd",
  );
}

/** As compressZstd, for bytes that are in memory. */
export async function compressZstdWhole(level: ZstdLevel, bytes: Uint8Array): Promise<Uint8Array> {
  return promisify<Uint8Array, ZstdOptions, Uint8Array>(zstdCompress)(bytes, encoderOptions(level));
}

/** Reads concatenated and skippable frames. Throws CodecError. */
export async function* decompressZstd(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = new ByteSource(input);
  try {
    let frames = 0;
    while (frames === 0 || !(await source.atEnd())) {
      if (await skipFrame(source)) continue;
      const frame = new Frame(source);
      const decoder = zstdDecoder();
      yield* throughTransform(frame.pieces(), decoder, "zstd");
      if (!frame.complete) throw new CodecError("zstd: a frame ended before its last block");
      frames += 1;
    }
  } finally {
    await source.close();
  }
}

/** A decoder for one frame. */
export const zstdDecoder = (): ReturnType<typeof createZstdDecompress> =>
  createZstdDecompress({
    params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MOST },
    chunkSize: PIECE_BYTES,
  });

/** Finds where one frame ends, by its block headers. */
class Frame {
  /** Set before the last piece is handed out. */
  complete = false;
  readonly #source: ByteSource;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    const header = await this.#header();
    yield header.bytes;
    for (let last = false; !last;) {
      const word = await this.#take(3);
      const bits = word[0]! | (word[1]! << 8) | (word[2]! << 16);
      last = (bits & 1) === 1;
      const type = (bits >> 1) & 3;
      if (type === 3) throw new CodecError("zstd: a block of the reserved type");
      const body = await this.#take(type === 1 ? 1 : bits >> 3);
      const tail = last && header.checksum ? await this.#take(4) : new Uint8Array(0);
      this.complete = last;
      yield Buffer.concat([word, body, tail]);
    }
  }

  async #header(): Promise<{ readonly bytes: Uint8Array; readonly checksum: boolean }> {
    const start = await this.#source.peek(5);
    if (start.byteLength < 5) throw this.#short();
    const reader = new ByteReader(start);
    const magic = reader.uint32le();
    if (magic !== ZSTD_MAGIC)
      throw new CodecError(`zstd: no frame begins with 0x${magic.toString(16).padStart(8, "0")}`);
    const flags = reader.uint8();
    const single = (flags & 0x20) !== 0;
    const sizeBytes = [single ? 1 : 0, 2, 4, 8][flags >> 6]!;
    const dictionaryBytes = [0, 1, 2, 4][flags & 3]!;
    const bytes = await this.#take(5 + (single ? 0 : 1) + dictionaryBytes + sizeBytes);
    return { bytes, checksum: (flags & 4) !== 0 };
  }

  async #take(count: number): Promise<Uint8Array> {
    const bytes = await this.#source.take(count);
    if (bytes === null) throw this.#short();
    return bytes;
  }

  #short(): CodecError {
    return new CodecError(`zstd: the stream ends after ${this.#source.consumed} bytes, within a frame`);
  }
}

const encoderOptions = (level: ZstdLevel): ZstdOptions => ({
  params: { [constants.ZSTD_c_compressionLevel]: LEVELS[level], [constants.ZSTD_c_checksumFlag]: 1 },
});
