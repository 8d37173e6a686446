// Compression block by block in this thread and in memory that is used again: for threads that do nothing else.

import { constants, zstdCompressSync } from "node:zlib";
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
      return zstdFrames(compression, blockBytes);
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
function zstdFrames({ zstdLevel = "default" }: Compression, blockBytes: number): BlockCompressor {
  const input = new Uint8Array(blockBytes);
  const options = {
    chunkSize: ZSTD_CHUNK_BYTES,
    params: {
      [constants.ZSTD_c_compressionLevel]: zstdLevelNumber(zstdLevel),
      [constants.ZSTD_c_checksumFlag]: 1,
    },
  };
  return {
    input,
    begin: nothing,
    block: (bytes) => zstdCompressSync(input.subarray(0, bytes), options),
    end: nothing,
  };
}

const nothing = (): Uint8Array => new Uint8Array(0);

/** Output grows by this much; the default of 16 KiB costs a fifth of the speed. */
const ZSTD_CHUNK_BYTES = 256 << 10;
