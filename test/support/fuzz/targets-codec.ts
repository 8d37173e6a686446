// Containers of compression and encryption.

import { collect } from "../../../src/base/bytes.ts";
import { CipherError, CodecError } from "../../../src/codec/codec-error.ts";
import { type ReadMethod, compressWhole, decompress } from "../../../src/codec/compression.ts";
import { type Cipher, makeCipher } from "../../../src/codec/encryption.ts";
import { gzipSync } from "node:zlib";
import { xxh32 } from "../../../src/codec/xxh32.ts";
import { makeRandom, mixedBytes, wordyBytes } from "../random.ts";
import { fixtureCipher, fixtureKeys, fixtureObject } from "../walg-fixtures.ts";
import { ownFixtures } from "./corpus.ts";
import { mutateBytes } from "./mutate.ts";
import { type FuzzTarget, drain, piecesOf } from "./target.ts";

const PLAIN = [0, 1, 500, 9000, 70_000].map((size) => wordyBytes(size, makeRandom(size)));

const EXTENSION: Record<Exclude<ReadMethod, "none">, RegExp> = {
  lz4: /\.lz4$/,
  zstd: /^(?!window).*\.zst$/,
  brotli: /\.br$/,
  lzma: /\.lzma$/,
  gzip: /\.gz$/,
  lzo: /\.lzo$/,
};

/** Containers that other programs made, and our own of several sizes. */
async function containers(method: Exclude<ReadMethod, "none">): Promise<readonly Uint8Array[]> {
  const foreign = ownFixtures("codec", EXTENSION[method]);
  if (method === "gzip") return [...foreign, ...PLAIN.map((bytes) => gzipSync(bytes))];
  if (method === "lzo") return foreign;
  const own = await Promise.all(PLAIN.map(async (bytes) => compressWhole({ method }, bytes)));
  const joined = method === "lz4" || method === "zstd" ? [Buffer.concat([own[2]!, own[1]!])] : [];
  return [...foreign, ...own, ...joined].filter(({ byteLength }) => byteLength < 100_000);
}

const decoder = (method: Exclude<ReadMethod, "none">, where: "pool" | "here"): FuzzTarget => ({
  name: where === "here" ? `${method}-here` : method,
  corpus: async () => containers(method),
  mutate: mutateBytes,
  ...(method === "lz4" ? { mend: mendLz4 } : {}),
  feed: async (input, random) => void (await drain(decompress(method, piecesOf(input, random), where))),
  declared: [CodecError],
});

/** The header's checksum. */
function mendLz4(bytes: Buffer): void {
  if (bytes.length < 16) return;
  const end = (bytes[4]! & 8) === 0 ? 6 : 14;
  bytes[end] = (xxh32(bytes.subarray(4, end)) >>> 8) & 0xff;
}

const CIPHER_BUCKETS = ["pg17-libsodium-hex", "pg17-openpgp", "pg17-openpgp-ecc"] as const;

const ciphers = new Map<string, Promise<Cipher>>();

function decryptor(bucket: (typeof CIPHER_BUCKETS)[number]): FuzzTarget {
  const cipher = (): Promise<Cipher> => {
    const known = ciphers.get(bucket) ?? makeCipher(fixtureCipher(bucket));
    ciphers.set(bucket, known);
    return known;
  };
  return {
    name: bucket.replace("pg17-", ""),
    corpus: async () => {
      const stored = fixtureKeys(bucket)
        .map((key) => fixtureObject(bucket, key))
        .filter(({ byteLength }) => byteLength < 100_000 && byteLength > 0)
        .filter((bytes) => bytes[0] !== 0x7b) // JSON is not encrypted
        .slice(0, 6);
      const own = [0, 100, 8192, 20_000].map(async (size) =>
        collect((await cipher()).encrypt(one(mixedBytes(size, makeRandom(size))))),
      );
      return [...stored, ...(await Promise.all(own))];
    },
    mutate: mutateBytes,
    feed: async (input, random) => void (await drain((await cipher()).decrypt(piecesOf(input, random)))),
    declared: [CodecError, CipherError],
  };
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

export const codecTargets: readonly FuzzTarget[] = [
  ...(["lz4", "zstd", "brotli", "lzma", "gzip", "lzo"] as const).map((method) => decoder(method, "pool")),
  decoder("lz4", "here"),
  decoder("zstd", "here"),
  ...CIPHER_BUCKETS.map(decryptor),
];
