// LZMA-alone (the .lzma of old, not xz), as WAL-G writes it. The door to @napi-rs/lzma.

import { LzmaCompressor, LzmaDecompressor } from "@napi-rs/lzma";
import { CodecError } from "./codec-error.ts";

/** Dictionary 8 MiB as in WAL-G. */
const PRESET = 6;

/** Header `5D`, dictionary 8 MiB, size unknown, end marker. */
export async function* compressLzma(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const encoder = new LzmaCompressor({ preset: PRESET });
  for await (const piece of input) {
    const out = encoder.update(piece);
    if (out.byteLength > 0) yield out;
  }
  yield await encoder.finish();
}

/** Reads one stream of known or unknown size. Throws CodecError. */
export async function* decompressLzma(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = new LzmaDecompressor();
  for await (const piece of input) {
    const out = decoded(() => decoder.update(piece));
    if (out.byteLength > 0) yield out;
  }
  const out = await decoder.finish().catch(damaged);
  if (out.byteLength > 0) yield out;
}

function decoded(step: () => Uint8Array): Uint8Array {
  try {
    return step();
  } catch (error) {
    return damaged(error);
  }
}

function damaged(error: unknown): never {
  throw new CodecError("lzma: the stream cannot be decoded", error);
}
