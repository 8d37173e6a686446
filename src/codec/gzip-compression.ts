// gzip is read only: archives of old hold it. Node's gunzip reads concatenated members itself.

import { createGunzip } from "node:zlib";
import { throughTransform } from "./node-transform.ts";

/** Reads one or more members. Throws CodecError. */
export function decompressGzip(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  return throughTransform(input, createGunzip(), "gzip");
}
