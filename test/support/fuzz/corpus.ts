// Real inputs for the fuzz targets: objects that WAL-G wrote, cut to sizes that many trials a second can bear.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { TarSink, type TarMemberHead } from "../../../src/backup/tar-sink.ts";
import { paddingOf, tarTrailer } from "../../../src/backup/tar-header.ts";
import { collect, streamOf } from "../../../src/base/bytes.ts";
import { type ReadMethod, decompress, methodOfExtension } from "../../../src/codec/compression.ts";
import { fixtureKeys, fixtureNames, fixtureObject } from "../walg-fixtures.ts";

export interface FixtureObject {
  readonly bucket: string;
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** Objects of all buckets whose keys match, at most `most` of each bucket. */
export function fixtureObjects(pattern: RegExp, most = 4): readonly FixtureObject[] {
  return fixtureNames().flatMap((bucket) =>
    fixtureKeys(bucket)
      .filter((key) => pattern.test(key))
      .slice(0, most)
      .map((key) => ({ bucket, key, bytes: fixtureObject(bucket, key) })),
  );
}

/** The plain bytes of an object that is compressed and not encrypted. */
export async function plainObject({ key, bytes }: FixtureObject): Promise<Uint8Array> {
  return collect(decompress(methodOf(key), streamOf(bytes)));
}

export const methodOf = (key: string): ReadMethod =>
  methodOfExtension(key.slice(key.lastIndexOf(".") + 1)) ?? "none";

/** Files of a folder below test/fixtures. */
export function ownFixtures(folder: string, pattern: RegExp): readonly Uint8Array[] {
  const path = join(import.meta.dirname, "../../fixtures", folder);
  return readdirSync(path)
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => readFileSync(join(path, name)));
}

/** The members of a tar that are small enough, as a tar again, of at most `bytesMost` bytes. */
export function smallTar(
  tar: Uint8Array,
  bytesMost: number,
  isTaken: (head: TarMemberHead) => boolean = () => true,
): Uint8Array {
  const pieces: Uint8Array[] = [];
  let total = 0;
  let at = 0;
  // WAL-G writes no extended headers for these names: a member is one block and its data.
  while (at + 512 <= tar.byteLength) {
    const block = tar.subarray(at, at + 512);
    if (block.every((byte) => byte === 0)) break;
    let head: TarMemberHead | null = null;
    new TarSink((found) => {
      head = found;
      return null;
    }).push(block);
    if (head === null) throw new Error("the tar has an extended header");
    const { bytes } = head as TarMemberHead;
    const end = at + 512 + bytes + paddingOf(bytes);
    if (isTaken(head) && total + (end - at) <= bytesMost) {
      pieces.push(tar.subarray(at, end));
      total += end - at;
    }
    at = end;
  }
  return Buffer.concat([...pieces, tarTrailer()]);
}

/** Makes the checksum of every tar header right. */
export function mendTar(bytes: Buffer): void {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (bytes.toString("latin1", at + 257, at + 262) !== "ustar") continue;
    bytes.fill(0x20, at + 148, at + 156);
    let sum = 0;
    for (let index = at; index < at + 512; index += 1) sum += bytes[index]!;
    bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, 8, "latin1");
  }
}
