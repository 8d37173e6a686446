// Compress, then encrypt; and the reverse. The order is WAL-G's.

import { collect, streamOf } from "../base/bytes.ts";
import {
  type Compression,
  type ReadMethod,
  compress,
  compressWhole,
  decompress,
  decompressWhole,
  extensionOf,
} from "./compression.ts";
import type { Cipher } from "./encryption.ts";

export interface Codec {
  readonly compression: Compression;
  readonly cipher: Cipher;
}

/** `open` refuses to make more than this of one object, so that a foreign one cannot fill the memory. */
const OPEN_BYTES_MOST = 2 ** 31;

/** Compressed and encrypted bytes. Two calls need not give the same ones: encryption draws random numbers. */
export async function seal(bytes: Uint8Array, { compression, cipher }: Codec): Promise<Uint8Array> {
  const packed = await compressWhole(compression, bytes);
  return cipher.name === "none" ? packed : collect(cipher.encrypt(streamOf(packed)));
}

/** What `seal` was given. Throws CodecError when damaged, CipherError when the key does not fit, BoundsError past `limitBytes`. */
export async function open(
  bytes: Uint8Array,
  method: ReadMethod,
  cipher: Cipher,
  limitBytes = OPEN_BYTES_MOST,
): Promise<Uint8Array> {
  return decompressWhole(method, cipher.decrypt(streamOf(bytes)), limitBytes);
}

/** As `seal`, for a stream of any length. */
export function sealStream(
  input: AsyncIterable<Uint8Array>,
  { compression, cipher }: Codec,
): AsyncIterable<Uint8Array> {
  return cipher.encrypt(compress(compression, input));
}

/** As `open`, for a stream of any length; errors come at the latest at its end. */
export function openStream(
  input: AsyncIterable<Uint8Array>,
  method: ReadMethod,
  cipher: Cipher,
): AsyncIterable<Uint8Array> {
  return decompress(method, cipher.decrypt(input));
}

/** `name` with the method's extension; without a dot for `none`. */
export function walObjectName(name: string, method: ReadMethod): string {
  const extension = extensionOf(method);
  return extension === "" ? name : `${name}.${extension}`;
}
