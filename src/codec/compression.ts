// Compression containers as WAL-G writes and reads them, behind one type.

import { promisify } from "node:util";
import {
  type BrotliOptions,
  brotliCompress,
  constants,
  createBrotliCompress,
  createBrotliDecompress,
} from "node:zlib";
import { collect, streamOf } from "../base/bytes.ts";
import { unreachable } from "../base/errors.ts";
import { decodeLz4Here, decodeZstdHere } from "./decode-here.ts";
import { decompressGzip } from "./gzip-compression.ts";
import { compressLz4, compressLz4Whole, decompressLz4, releaseNative } from "./lz4-compression.ts";
import { compressLzma, decompressLzma } from "./lzma-compression.ts";
import { decompressLzo } from "./lzo-compression.ts";
import { throughTransform } from "./node-transform.ts";
import { type ZstdLevel, compressZstd, compressZstdWhole, decompressZstd } from "./zstd-compression.ts";

/** What can be written. */
export type Method = "lz4" | "zstd" | "brotli" | "lzma" | "none";

/** What can be read. */
export type ReadMethod = Method | "gzip" | "lzo";

export interface Compression {
  readonly method: Method;
  /** Only with zstd; `default` when left out. */
  readonly zstdLevel?: ZstdLevel;
}

/** File name extension without a dot; empty for `none`. */
export function extensionOf(method: ReadMethod): string {
  return EXTENSIONS[method];
}

/** The method of an extension (without its dot), or null. `""` is `none`; so is `tar`, the end of an uncompressed part's name. */
export function methodOfExtension(extension: string): ReadMethod | null {
  if (extension === "tar") return "none";
  const found = Object.entries(EXTENSIONS).find(([, known]) => known === extension);
  return found === undefined ? null : (found[0] as ReadMethod);
}

/** Compresses a stream in bounded memory. The input's own errors pass unchanged. */
export function compress(
  { method, zstdLevel = "default" }: Compression,
  input: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  switch (method) {
    case "lz4":
      return compressLz4(input);
    case "zstd":
      return compressZstd(zstdLevel, input);
    case "brotli":
      return throughTransform(input, createBrotliCompress(BROTLI), method);
    case "lzma":
      return compressLzma(input);
    case "none":
      return input;
    default:
      return unreachable(method);
  }
}

/** As `compress`, for bytes in memory. */
export async function compressWhole(compression: Compression, bytes: Uint8Array): Promise<Uint8Array> {
  switch (compression.method) {
    case "none":
      return bytes;
    case "zstd":
      return compressZstdWhole(compression.zstdLevel ?? "default", bytes);
    case "brotli":
      return promisify<Uint8Array, BrotliOptions, Uint8Array>(brotliCompress)(bytes, BROTLI);
    case "lz4":
      return compressLz4Whole(bytes);
    case "lzma":
      return collect(compress(compression, streamOf(bytes)));
    default:
      return unreachable(compression.method);
  }
}

/**
 * Decompresses a stream in bounded memory. Concatenated and skippable frames are read. A cut, bytes behind the end, an
 * empty input and a wrong checksum throw CodecError, at the latest at the end: what was yielded before may be wrong.
 * `here` decodes in this thread and in memory that is used again, for threads that do nothing else: pieces, those of the
 * input too, are then good only until the next one is asked for.
 * brotli, lzma and none carry no checksum, so a changed bit that keeps the format valid can only be noticed by what
 * reads the content. Behind the end mark of lzma nothing is looked at.
 */
export function decompress(
  method: ReadMethod,
  input: AsyncIterable<Uint8Array>,
  where: "pool" | "here" = "pool",
): AsyncIterable<Uint8Array> {
  switch (method) {
    case "lz4":
      return where === "here" ? decodeLz4Here(input) : decompressLz4(input);
    case "zstd":
      return where === "here" ? decodeZstdHere(input) : decompressZstd(input);
    case "brotli":
      return throughTransform(input, createBrotliDecompress(), method);
    case "lzma":
      return decompressLzma(input);
    case "gzip":
      return decompressGzip(input);
    case "lzo":
      return decompressLzo(input);
    case "none":
      return input;
    default:
      return unreachable(method);
  }
}

/** The content in one piece. Throws CodecError as `decompress` does, and BoundsError past `limitBytes`. */
export async function decompressWhole(
  method: ReadMethod,
  input: AsyncIterable<Uint8Array>,
  limitBytes: number,
): Promise<Uint8Array> {
  const content = decompress(method, input);
  return method === "lz4" ? collect(content, limitBytes, releaseNative) : collect(content, limitBytes);
}

const EXTENSIONS: Record<ReadMethod, string> = {
  lz4: "lz4",
  zstd: "zst",
  brotli: "br",
  lzma: "lzma",
  none: "",
  gzip: "gz",
  lzo: "lzo",
};

/** Quality 3 as in WAL-G. */
const BROTLI: BrotliOptions = { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } };
