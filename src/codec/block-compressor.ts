// Compression block by block in this thread and in memory that is used again: for threads that do nothing else.

import { type ZstdOptions, constants, zstdCompressSync } from "node:zlib";
import { unreachable } from "../base/errors.ts";
import type { Compression } from "./compression.ts";
import { Lz4BlockEncoder } from "./lz4-compression.ts";
import { zstdLevelNumber } from "./zstd-compression.ts";

/** Writes one object: begin, any number of blocks, end. What is returned may be overwritten by the next call. */
export interface BlockCompressor {
  /** A block's bytes go here first. */
  readonly input: Uint8Array;
  begin(): Uint8Array;
  /** Compresses the first `bytes` of `input`, at least 1. */
  block(bytes: number): Uint8Array;
  end(): Uint8Array;
}

/** For blocks of at most `blockBytes` (4 MiB at most). null for the methods without independent blocks (brotli, lzma): use `compress`. */
export function makeBlockCompressor(compression: Compression, blockBytes: number): BlockCompressor | null {
  switch (compression.method) {
    case "lz4":
      return new Lz4BlockEncoder(blockBytes);
    case "zstd":
      return new ZstdFrames(compression, blockBytes);
    case "none": {
      const input = new Uint8Array(blockBytes);
      return { input, begin: nothing, block: (bytes) => input.subarray(0, bytes), end: nothing };
    }
    case "brotli":
    case "lzma":
      return null;
    default:
      return unreachable(compression.method);
  }
}

/** A frame for each block: every reader of zstd takes concatenated frames, and no state is carried between blocks. */
class ZstdFrames implements BlockCompressor {
  readonly input: Uint8Array;
  readonly #options: ZstdOptions;
  #last: Buffer<ArrayBuffer> | null = null;

  constructor({ zstdLevel = "default" }: Compression, blockBytes: number) {
    this.input = new Uint8Array(blockBytes);
    this.#options = {
      chunkSize: blockBytes, // one buffer; what is not written to costs nothing
      params: {
        [constants.ZSTD_c_compressionLevel]: zstdLevelNumber(zstdLevel),
        [constants.ZSTD_c_checksumFlag]: 1,
      },
    };
  }

  begin(): Uint8Array {
    return new Uint8Array(0);
  }

  block(bytes: number): Uint8Array {
    this.#release();
    this.#last = zstdCompressSync(this.input.subarray(0, bytes), this.#options);
    return this.#last;
  }

  end(): Uint8Array {
    this.#release();
    return new Uint8Array(0);
  }

  /** Frees the memory of the frame before; a collection would let 64 MB of it gather first. */
  #release(): void {
    const memory = this.#last?.buffer;
    if (memory !== undefined && memory.byteLength >= this.input.byteLength) memory.transfer(0);
    this.#last = null;
  }
}

const nothing = (): Uint8Array => new Uint8Array(0);
