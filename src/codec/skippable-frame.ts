// Skippable frames, which lz4 and zstd share: magic 0x184D2A50 … 0x184D2A5F, a length, bytes to be ignored.

import { ByteReader } from "../base/bytes.ts";
import type { ByteSource } from "../base/byte-source.ts";
import { CodecError } from "./codec-error.ts";

/** Skips one skippable frame if one begins here; says whether it did. */
export async function skipFrame(source: ByteSource): Promise<boolean> {
  const start = await source.peek(8);
  if (start.byteLength < 8) return false;
  const reader = new ByteReader(start);
  if ((reader.uint32le() & 0xffff_fff0) >>> 0 !== 0x184d2a50) return false;
  const missing = await source.skip(reader.uint32le() + 8);
  if (missing > 0) throw new CodecError(`a skippable frame ends ${missing} bytes early`);
  return true;
}
