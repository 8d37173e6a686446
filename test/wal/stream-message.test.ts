import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLsn } from "../../src/wal/lsn.ts";
import { makeRandom } from "../support/random.ts";
import {
  StreamMessageError,
  decodeServerMessage,
  decodeStatus,
  encodeKeepalive,
  encodeStatus,
  encodeWalData,
} from "../../src/wal/stream-message.ts";

const sentMs = Date.UTC(2026, 1, 3, 4, 5, 6, 789);

test("WAL data survives", () => {
  const message = {
    kind: "wal" as const,
    start: parseLsn("A/10"),
    serverEnd: parseLsn("A/99"),
    sentMs,
    data: new Uint8Array([1, 2, 3]),
  };
  assert.deepEqual(decodeServerMessage(encodeWalData(message)), message);
});

test("a keepalive survives", () => {
  for (const replyAtOnce of [true, false]) {
    const message = {
      kind: "keepalive" as const,
      serverEnd: parseLsn("FFFFFFFF/FFFFFFFF"),
      sentMs,
      replyAtOnce,
    };
    assert.deepEqual(decodeServerMessage(encodeKeepalive(message)), message);
  }
});

test("a status has 34 bytes, begins with r, and survives", () => {
  const status = {
    written: parseLsn("1/2"),
    flushed: parseLsn("1/1"),
    applied: parseLsn("0/0"),
    atMs: sentMs,
    replyAtOnce: true,
  };
  const bytes = encodeStatus(status);
  assert.equal(bytes.byteLength, 34);
  assert.equal(String.fromCharCode(bytes[0]!), "r");
  assert.deepEqual(decodeStatus(bytes), status);
});

test("other messages and cut ones are refused, never misread", () => {
  const random = makeRandom(5);
  assert.throws(() => decodeServerMessage(new Uint8Array(0)), StreamMessageError);
  assert.throws(() => decodeServerMessage(Buffer.from("w too short")), StreamMessageError);
  for (let i = 0; i < 500; i += 1) {
    const bytes = Buffer.from(
      Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 256)),
    );
    try {
      decodeServerMessage(bytes);
    } catch (error) {
      assert.ok(error instanceof StreamMessageError, String(error));
    }
  }
});
