// LZMA-alone (the .lzma of old, not xz), as WAL-G writes it. The door to @napi-rs/lzma.

import { LzmaCompressor, lzma } from "@napi-rs/lzma";
import { CodecError } from "./codec-error.ts";
import { GuardedInput } from "./guarded-input.ts";

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

/**
 * Reads one stream of known or unknown size, in bounded memory however much comes out of a piece. Throws CodecError; a dictionary of more
 * than 512 MiB is refused, as a flipped bit in the header asks for one.
 */
export async function* decompressLzma(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const guarded = new GuardedInput(withSoundDictionary(input));
  try {
    const fed = ReadableStream.from(guarded.pieces());
    const decoded = lzma.decompressStream(fed);
    for await (const piece of decoded as unknown as AsyncIterable<Uint8Array>) yield piece;
  } catch (error) {
    guarded.rethrow();
    throw new CodecError(`lzma: the stream cannot be decoded after ${guarded.fedBytes} bytes`, error);
  }
}

/** Looks at the header before the decoder does: a byte of properties, then the dictionary's size, little-endian. */
async function* withSoundDictionary(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let head: Buffer | null = Buffer.alloc(0);
  for await (const piece of pieces) {
    if (head === null) {
      yield piece;
      continue;
    }
    head = Buffer.concat([head, piece]);
    if (head.byteLength < HEADER_BYTES) continue;
    const bytes = head.readUInt32LE(1);
    if (bytes > DICTIONARY_BYTES_MOST)
      throw new CodecError(`lzma: a dictionary of ${bytes} bytes is too large`);
    yield head;
    head = null;
  }
  if (head !== null) yield head;
}

/** Properties, dictionary's size, length of the content. */
const HEADER_BYTES = 13;
const DICTIONARY_BYTES_MOST = 512 << 20;
