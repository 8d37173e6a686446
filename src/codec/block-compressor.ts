// Compression block by block without a promise between: for worker threads that own a buffer and use it again.

import { constants, zstdCompressSync } from "node:zlib";
import { unreachable } from "../base/errors.ts";
import type { Compression } from "./compression.ts";
import { Lz4BlockEncoder } from "./lz4-compression.ts";
import { zstdLevelNumber } from "./zstd-compression.ts";

/** Writes one object: begin, any number of blocks, end. Input is not kept after the call. */
export interface BlockCompressor {
  begin(): Uint8Array;
  /** `block` holds at least 1 byte and at most MAX_BLOCK_BYTES. With `none` the result is the block itself. */
  block(block: Uint8Array): Uint8Array;
  end(): Uint8Array;
}

export const MAX_BLOCK_BYTES = 4 << 20;

/** null for the methods that have no independent blocks (brotli, lzma): use `compress`. */
export function makeBlockCompressor(compression: Compression): BlockCompressor | null {
  switch (compression.method) {
    case "lz4":
      return new Lz4BlockEncoder();
    case "zstd":
      return zstdFrames(compression);
    case "none":
      return { begin: nothing, block: (block) => block, end: nothing };
    case "brotli":
    case "lzma":
      return null;
    default:
      return unreachable(compression.method);
  }
}

/** A frame for each block: every reader of zstd takes concatenated frames, and no state is carried between blocks. */
function zstdFrames({ zstdLevel = "default" }: Compression): BlockCompressor {
  const params = {
    [constants.ZSTD_c_compressionLevel]: zstdLevelNumber(zstdLevel),
    [constants.ZSTD_c_checksumFlag]: 1,
  };
  return { begin: nothing, block: (block) => zstdCompressSync(block, { params }), end: nothing };
}

const nothing = (): Uint8Array => new Uint8Array(0);
