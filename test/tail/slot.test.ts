import assert from "node:assert/strict";
import { test } from "node:test";
import { noCipher } from "../../src/codec/encryption.ts";
import type { Cipher } from "../../src/codec/encryption.ts";
import type { Method } from "../../src/codec/compression.ts";
import { LogDamagedError, LogUnreadableError } from "../../src/tail/errors.ts";
import { baseKey, parseLogKey, slotKey, LOG_PREFIX } from "../../src/tail/keys.ts";
import {
  type BaseHeader,
  type DataHeader,
  type HeaderDraft,
  type ObjectHeader,
  NO_HASH,
  buildObject,
  decodeObject,
  openBody,
} from "../../src/tail/slot.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { extendPath, rootPath } from "../../src/wal/timeline-path.ts";
import { makeRandom } from "../support/random.ts";

const common = {
  systemId: 18_446_744_073_709_551_615n,
  seq: 17,
  epoch: 1,
  token: "ab".repeat(16),
  previous: NO_HASH,
  node: "node-a",
};
const body = Buffer.from("some WAL, some WAL, some WAL");
const data: HeaderDraft<DataHeader> = {
  ...common,
  kind: "data",
  timeline: 3,
  start: parseLsn("0/3000000"),
  end: parseLsn("0/300001C"),
  newestCommit: Date.UTC(2026, 4, 5, 6, 7, 8, 9),
};
const base: HeaderDraft<BaseHeader> = {
  ...common,
  kind: "base",
  timeline: 2,
  promotion: "cd".repeat(16),
  line: extendPath(rootPath(1), 2, parseLsn("0/2000028")),
  begin: parseLsn("0/1000000"),
  end: parseLsn("0/300001C"),
  published: parseLsn("0/3000000"),
  lastTimeline: 5,
  fences: [0, 16],
  histories: [[2, "0".repeat(64)]],
};
const DRAFTS: readonly { name: string; draft: HeaderDraft; body: Uint8Array }[] = [
  {
    name: "fence",
    draft: { ...common, epoch: 17, kind: "fence", purpose: "promote" },
    body: new Uint8Array(0),
  },
  { name: "data", draft: data, body },
  { name: "data without a commit", draft: { ...data, newestCommit: null }, body },
  {
    name: "gap",
    draft: { ...common, kind: "gap", timeline: 1, start: parseLsn("0/1"), end: parseLsn("0/2") },
    body: new Uint8Array(0),
  },
  {
    name: "history",
    draft: {
      ...common,
      kind: "history",
      timeline: 2,
      parent: 1,
      fork: parseLsn("A/1"),
      promotion: "1".repeat(32),
      cut: true,
    },
    body,
  },
  { name: "base", draft: base, body },
];
const plain = { compression: { method: "none" as Method }, cipher: noCipher };

for (const { name, draft, body } of DRAFTS) {
  for (const method of ["none", "zstd", "lz4"] as const) {
    test(`a ${name} survives with ${method}`, async () => {
      const built = await buildObject<ObjectHeader>(draft, body, { ...plain, compression: { method } });
      const read = decodeObject("key", built.bytes);
      assert.deepEqual(read.header, built.header);
      assert.equal(read.headerHash, built.headerHash);
      assert.deepEqual(Buffer.from(await openBody("key", read, noCipher)), Buffer.from(body));
    });
  }
}

test("a method that readers of the log do not know becomes zstd", async () => {
  const built = await buildObject(data, body, { ...plain, compression: { method: "brotli" } });
  assert.equal(built.header.codec, "zstd");
  assert.deepEqual(Buffer.from(await openBody("key", decodeObject("key", built.bytes), noCipher)), body);
});

test("the layout is the protocol's", async () => {
  const { bytes, headerBytes } = await buildObject(data, body, plain);
  assert.equal(Buffer.from(bytes.subarray(0, 8)).toString(), "HFTAIL01");
  assert.equal(new DataView(bytes.buffer).getUint32(8, true), headerBytes.byteLength);
  assert.deepEqual(Buffer.from(bytes.subarray(12 + headerBytes.byteLength)), body);
  assert.deepEqual(Object.keys(JSON.parse(Buffer.from(headerBytes).toString()) as object), [
    ...[
      "format",
      "kind",
      "systemId",
      "seq",
      "epoch",
      "token",
      "previous",
      "node",
      "sha256",
      "length",
      "codec",
      "cipher",
    ],
    ...["timeline", "start", "end", "newestCommit"],
  ]);
});

const fake = (name: Cipher["name"]): Cipher => ({
  name,
  canRead: true,
  encrypt: async function* encrypt(input) {
    for await (const piece of input) yield piece.map((byte) => byte ^ 0x5a);
  },
  decrypt: async function* decrypt(input) {
    for await (const piece of input) yield piece.map((byte) => byte ^ 0x5a);
  },
});

test("an encrypted body is opened with its cipher and refused, by name, with another", async () => {
  const built = await buildObject(data, body, { compression: { method: "zstd" }, cipher: fake("libsodium") });
  assert.equal(built.header.cipher, "libsodium");
  const read = decodeObject("tail_v1/log/x", built.bytes);
  assert.deepEqual(Buffer.from(await openBody("k", read, fake("libsodium"))), body);
  await assert.rejects(
    openBody("tail_v1/log/x", read, noCipher),
    (error) =>
      error instanceof LogUnreadableError &&
      error.message.includes("is encrypted by libsodium, the settings say none"),
  );
});

type Raw = Record<string, unknown>;
const DAMAGE: readonly { name: string; change: (header: Raw) => void; says: RegExp }[] = [
  {
    name: "another format",
    change: (h) => (h["format"] = 2),
    says: /has a format that this version does not know/,
  },
  { name: "an unknown kind", change: (h) => (h["kind"] = "note"), says: /no valid "kind"/ },
  { name: "a negative position", change: (h) => (h["seq"] = -1), says: /no valid "seq"/ },
  { name: "a position with a fraction", change: (h) => (h["seq"] = 1.5), says: /no valid "seq"/ },
  { name: "an upper-case hash", change: (h) => (h["sha256"] = "A".repeat(64)), says: /no valid "sha256"/ },
  { name: "a short token", change: (h) => (h["token"] = "ab"), says: /no valid "token"/ },
  {
    name: "an end before its start",
    change: (h) => (h["end"] = "0/1"),
    says: /an end at or before its start/,
  },
  {
    name: "a length that is not end - start",
    change: (h) => (h["length"] = 5),
    says: /a length other than end - start/,
  },
  { name: "timeline 0", change: (h) => (h["timeline"] = 0), says: /no valid "timeline"/ },
  { name: "a bad position in the WAL", change: (h) => (h["start"] = "zero"), says: /no valid "start"/ },
  { name: "a bad time", change: (h) => (h["newestCommit"] = "soon"), says: /no valid "newestCommit"/ },
  { name: "an unknown codec", change: (h) => (h["codec"] = "gzip"), says: /no valid "codec"/ },
];
for (const { name, change, says } of DAMAGE) {
  test(`a header with ${name} is damage`, async () => {
    const built = await buildObject(data, body, plain);
    const header = JSON.parse(Buffer.from(built.headerBytes).toString()) as Raw;
    change(header);
    assert.throws(
      () => decodeObject("key", withHeader(JSON.stringify(header), body)),
      (error) =>
        error instanceof LogDamagedError && says.test(error.message) && error.message.includes('"key"'),
    );
  });
}

test("a fence of another window is refused", () => {
  const header = {
    format: 1,
    ...common,
    systemId: "1",
    kind: "fence",
    purpose: "start",
    epoch: 17,
    window: 8,
  };
  const rest = { sha256: "0".repeat(64), length: 0, codec: "none", cipher: "none" };
  assert.throws(
    () => decodeObject("key", withHeader(JSON.stringify({ ...header, ...rest }))),
    /window other than 16/,
  );
});

test("cut, flipped and foreign bytes are damage, never something else", async () => {
  const random = makeRandom(17);
  const built = await buildObject(data, body, { ...plain, compression: { method: "zstd" } });
  const foreign = Array.from({ length: 300 }, () =>
    Buffer.from(Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256))),
  );
  const cut = Array.from({ length: built.bytes.length }, (_, i) => Buffer.from(built.bytes.subarray(0, i)));
  const flipped = Array.from({ length: built.bytes.length }, (_, i) => {
    const copy = Buffer.from(built.bytes);
    copy[i]! ^= 1 << Math.floor(random() * 8);
    return copy;
  });
  for (const bytes of [...foreign, ...cut, ...flipped]) {
    try {
      const read = decodeObject("key", bytes);
      const opened = await openBody("key", read, noCipher);
      // A flip in the header that keeps it well-formed changes its hash, which the chain notices; zstd has bits without a meaning.
      assert.deepEqual(Buffer.from(opened), body);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      assert.ok(error instanceof LogDamagedError, String(error));
    }
  }
});

test("a header that claims a gigabyte is refused before it is read", () => {
  const bytes = Buffer.alloc(100);
  bytes.write("HFTAIL01");
  bytes.writeUInt32LE(1 << 30, 8);
  assert.throws(() => decodeObject("key", bytes), /header of 1073741824 bytes/);
});

test("names are 20 digits, sort by position, and never look like a segment to WAL-G's delete", () => {
  assert.equal(slotKey(7), "tail_v1/log/00000000000000000007");
  assert.ok(slotKey(9) < slotKey(10));
  for (const key of [slotKey(2 ** 53 - 1), slotKey(5, "ab".repeat(16)), baseKey(5, "12".repeat(16))]) {
    assert.doesNotMatch(key, /[0-9A-F]{24}/);
  }
  assert.deepEqual(parseLogKey(slotKey(5, "ab".repeat(16)), LOG_PREFIX), { seq: 5, branch: "ab".repeat(8) });
  for (const odd of [
    "tail_v1/log/5",
    "tail_v1/log/0000000000000000000x",
    "tail_v1/log/99999999999999999999",
    "x",
  ]) {
    assert.equal(parseLogKey(odd, LOG_PREFIX), null);
  }
});

function withHeader(header: string, content: Uint8Array = new Uint8Array(0)): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(header));
  return Buffer.concat([Buffer.from("HFTAIL01"), length, Buffer.from(header), content]);
}
