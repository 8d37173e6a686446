// The lzop container, read only: WAL-E's archives hold it. Layout as lzop 1.04 writes it (its conf.h and lzop.c name the fields).

import { crc32 } from "node:zlib";
import { ByteReader } from "../base/bytes.ts";
import { ByteSource } from "../base/byte-source.ts";
import { CodecError } from "./codec-error.ts";
import { decodeLzo1x } from "./lzo1x.ts";

const MAGIC = Uint8Array.of(0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a);
const BLOCK_BYTES_MOST = 64 << 20;
const FLAG = {
  adlerOfContent: 0x1,
  adlerOfStored: 0x2,
  extraField: 0x40,
  crcOfContent: 0x100,
  crcOfStored: 0x200,
  multipart: 0x400,
  filter: 0x800,
  crcOfHeader: 0x1000,
} as const;

/** Reads concatenated lzop files. Throws CodecError. */
export async function* decompressLzo(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = new ByteSource(input);
  try {
    do {
      const flags = await readHeader(source);
      for (;;) {
        const block = await readBlock(source, flags);
        if (block === null) break;
        yield block;
      }
    } while (!(await source.atEnd()));
  } finally {
    await source.close();
  }
}

/** Reads the file header; returns its flags. */
async function readHeader(source: ByteSource): Promise<number> {
  const magic = await mustTake(source, MAGIC.byteLength);
  if (Buffer.compare(magic, MAGIC) !== 0) throw new CodecError("lzo: no lzop file begins here");
  const versions = await mustTake(source, 4);
  const modern = new ByteReader(versions).uint16be() >= 0x0940;
  const methods = await mustTake(source, modern ? 4 : 1);
  const method = methods[modern ? 2 : 0]!;
  if (method < 1 || method > 3) throw new CodecError(`lzo: unknown method ${method}`);
  const flagBytes = await mustTake(source, 4);
  const flags = new ByteReader(flagBytes).uint32be();
  if ((flags & (FLAG.filter | FLAG.multipart)) !== 0)
    throw new CodecError("lzo: filters and multipart files are not supported");
  const times = await mustTake(source, modern ? 12 : 8);
  const nameLength = await mustTake(source, 1);
  const name = await mustTake(source, nameLength[0]!);
  const header = Buffer.concat([versions, methods, flagBytes, times, nameLength, name]);
  checkSum("header", header, await uint32(source), (flags & FLAG.crcOfHeader) === 0 ? "adler" : "crc");
  if ((flags & FLAG.extraField) !== 0) {
    // Its bytes, then their checksum.
    const missing = await source.skip((await uint32(source)) + 4);
    if (missing > 0) throw new CodecError(`lzo: the extra field ends ${missing} bytes early`);
  }
  return flags;
}

/** The next block's content, or null at the end mark. */
async function readBlock(source: ByteSource, flags: number): Promise<Uint8Array | null> {
  const contentBytes = await uint32(source);
  if (contentBytes === 0) return null;
  const storedBytes = await uint32(source);
  if (contentBytes > BLOCK_BYTES_MOST || storedBytes > contentBytes) {
    throw new CodecError(`lzo: a block of ${contentBytes} bytes stored as ${storedBytes}`);
  }
  const packed = storedBytes < contentBytes;
  const adler = (flags & FLAG.adlerOfContent) === 0 ? null : await uint32(source);
  const crc = (flags & FLAG.crcOfContent) === 0 ? null : await uint32(source);
  const storedAdler = packed && (flags & FLAG.adlerOfStored) !== 0 ? await uint32(source) : null;
  const storedCrc = packed && (flags & FLAG.crcOfStored) !== 0 ? await uint32(source) : null;
  const stored = await mustTake(source, storedBytes);
  if (storedAdler !== null) checkSum("block", stored, storedAdler, "adler");
  if (storedCrc !== null) checkSum("block", stored, storedCrc, "crc");
  const content = packed ? decodeLzo1x(stored, contentBytes) : Uint8Array.from(stored);
  if (adler !== null) checkSum("block", content, adler, "adler");
  if (crc !== null) checkSum("block", content, crc, "crc");
  return content;
}

function checkSum(what: string, bytes: Uint8Array, expected: number, kind: "adler" | "crc"): void {
  const found = kind === "adler" ? adler32(bytes) : crc32(bytes);
  if (found !== expected) throw new CodecError(`lzo: the checksum of a ${what} does not match`);
}

/** RFC 1950, section 8.2. */
function adler32(bytes: Uint8Array): number {
  let [a, b] = [1, 0];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(at + 3800, bytes.length); // so many additions fit before the remainder must be taken
    for (; at < end; at += 1) {
      a += bytes[at]!;
      b += a;
    }
    a %= 65_521;
    b %= 65_521;
  }
  return ((b << 16) | a) >>> 0;
}

async function uint32(source: ByteSource): Promise<number> {
  return new ByteReader(await mustTake(source, 4)).uint32be();
}

async function mustTake(source: ByteSource, count: number): Promise<Uint8Array> {
  const bytes = await source.take(count);
  if (bytes === null)
    throw new CodecError(`lzo: the stream ends after ${source.consumed} bytes, within the file`);
  return bytes;
}
