import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteReader } from "../../src/base/bytes.ts";
import { CodecError } from "../../src/codec/codec-error.ts";
import { type ReadMethod, methodOfExtension } from "../../src/codec/compression.ts";
import { makeCipher } from "../../src/codec/encryption.ts";
import { open, seal } from "../../src/codec/seal.ts";
import {
  fixtureCipher,
  fixtureEnv,
  fixtureKeys,
  fixtureNames,
  fixtureObject,
} from "../support/walg-fixtures.ts";

/** Page magic by major version: access/xlog_internal.h, XLOG_PAGE_MAGIC. */
const PAGE_MAGIC: Readonly<Record<string, number>> = { pg15: 0xd110, pg17: 0xd116, pg18: 0xd118 };

/** In these some objects are broken on purpose. */
const BROKEN = new Set(["pg17-broken-bit-flip", "pg17-broken-truncated-part", "pg17-broken-zero-length-wal"]);

for (const name of fixtureNames().filter((name) => !BROKEN.has(name))) {
  test(`every sealed object in ${name} opens and is what its name says`, async () => {
    const cipher = await makeCipher(fixtureCipher(name));
    const segmentBytes = Number(fixtureEnv(name)["WALG_PG_WAL_SIZE"] ?? 16) << 20;
    let opened = 0;
    for (const key of fixtureKeys(name).filter((key) => isSealed(key))) {
      const content = await open(fixtureObject(name, key), methodOf(key), cipher);
      if (key.includes("/tar_partitions/")) assertTar(content, key);
      else if (/\/[0-9A-F]{24}(\.\w+)?$/.test(key)) assertSegment(content, key, segmentBytes, name);
      else assert.ok(content.byteLength > 0, key);
      opened += 1;
    }
    assert.ok(opened > 0, "no object was looked at");
  });
}

test("objects of ours have the first bytes of WAL-G's", async () => {
  const cipher = await makeCipher({ kind: "none" });
  const bytes = new Uint8Array(1 << 20);
  const heads: [ReadMethod & ("lz4" | "lzma"), string, number][] = [
    ["lz4", "pg17-lz4", 7],
    ["lzma", "pg17-lzma", 13],
  ];
  for (const [method, name, headBytes] of heads) {
    const theirs = fixtureObject(
      name,
      fixtureKeys(name).find((key) => key.endsWith(`.${method}`))!,
    );
    const ours = await seal(bytes, { compression: { method }, cipher });
    assert.deepEqual([...ours.subarray(0, headBytes)], [...theirs.subarray(0, headBytes)], method);
  }
});

const isSealed = (key: string): boolean => !key.endsWith(".json") && !key.endsWith("_delta");

function methodOf(key: string): ReadMethod {
  const name = key.slice(key.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  const method =
    dot === -1 || /\.(backup|history|partial)$/.test(name) ? "none" : methodOfExtension(name.slice(dot + 1));
  assert.ok(method !== null, `unknown extension: ${key}`);
  return method;
}

function assertSegment(content: Uint8Array, key: string, segmentBytes: number, bucket: string): void {
  assert.equal(content.byteLength, segmentBytes, key);
  assert.equal(new ByteReader(content).uint16le(), PAGE_MAGIC[bucket.slice(0, 4)], key);
}

/** Headers with right sums to the end, which is a block of zeros. POSIX.1-2024, pax, "ustar Interchange Format". */
function assertTar(content: Uint8Array, key: string): void {
  assert.equal(content.byteLength % 512, 0, key);
  let at = 0;
  while (at < content.byteLength && content[at] !== 0) {
    const header = Buffer.from(content.subarray(at, at + 512));
    const stored = Number.parseInt(header.toString("latin1", 148, 156), 8);
    header.fill(" ", 148, 156);
    assert.equal(
      header.reduce((sum, byte) => sum + byte, 0),
      stored,
      `${key} at ${at}`,
    );
    at += 512 + 512 * Math.ceil(Number.parseInt(header.toString("latin1", 124, 136), 8) / 512);
  }
  assert.ok(at <= content.byteLength, `${key} ends within a member`);
  assert.ok(
    content.subarray(at).every((byte) => byte === 0),
    `${key} has bytes behind its last member`,
  );
}

const faults: readonly (readonly [string, string])[] = [
  ["pg17-broken-bit-flip", "a part with a flipped bit"],
  ["pg17-broken-truncated-part", "a part that was cut"],
  ["pg17-broken-zero-length-wal", "a segment of no bytes"],
];

for (const [name, what] of faults) {
  test(`${what} is damaged, and the rest of the bucket opens`, async () => {
    const cipher = await makeCipher(fixtureCipher(name));
    const damaged: string[] = [];
    for (const key of fixtureKeys(name).filter((key) => isSealed(key))) {
      await open(fixtureObject(name, key), methodOf(key), cipher).catch((error: unknown) => {
        assert.ok(error instanceof CodecError, `${key}: ${String(error)}`);
        damaged.push(key);
      });
    }
    assert.equal(damaged.length, 1, damaged.join(" "));
  });
}
