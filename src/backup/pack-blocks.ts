// Compresses, encrypts and hashes a tar that is made block by block in memory that is used again.

import { createHash } from "node:crypto";
import { copies } from "../base/bytes.ts";
import { type BlockCompressor, makeBlockCompressor } from "../codec/block-compressor.ts";
import { type Compression, compress } from "../codec/compression.ts";
import type { Cipher } from "../codec/encryption.ts";

/** One block of compression. */
export const BLOCK_BYTES = 4 << 20;

/** A part as it was stored. */
export interface PackResult {
  readonly storedBytes: number;
  /** Hex, over the stored bytes. */
  readonly sha256: string;
}

/**
 * Packs what `blocks` yields; `send` gets the bytes to store, which are good only until it resolves. `blocks` is given
 * BLOCK_BYTES of memory to make its blocks in, each of which is taken before the next is asked for.
 */
export async function packBlocks(
  compression: Compression,
  cipher: Cipher,
  blocks: (memory: Uint8Array) => AsyncIterable<Uint8Array>,
  send: (bytes: Uint8Array) => Promise<void>,
): Promise<PackResult> {
  const hash = createHash("sha256");
  let storedBytes = 0;
  const compressor = makeBlockCompressor(compression, BLOCK_BYTES);
  const made = blocks(compressor?.input ?? new Uint8Array(BLOCK_BYTES));
  // Without encryption a piece is sent, which copies it, before the next is made in the same memory.
  const packed =
    compressor === null
      ? compress(compression, copies(made))
      : cipher.name === "none"
        ? compressBlocks(compressor, made)
        : copies(compressBlocks(compressor, made));
  for await (const piece of cipher.encrypt(packed)) {
    if (piece.byteLength === 0) continue;
    hash.update(piece);
    storedBytes += piece.byteLength;
    await send(piece);
  }
  return { storedBytes, sha256: hash.digest("hex") };
}

async function* compressBlocks(
  compressor: BlockCompressor,
  blocks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield compressor.begin();
  for await (const { byteLength } of blocks) yield compressor.block(byteLength);
  yield compressor.end();
}
