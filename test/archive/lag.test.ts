// How far behind, in bytes and seconds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LagClock } from "../../src/archive/lag.ts";
import { TroubleBook } from "../../src/archive/trouble-book.ts";
import { lsnOf } from "../../src/wal/lsn.ts";

test("the lag is the age of the oldest byte that is not durable", () => {
  const lag = new LagClock();
  assert.deepEqual(lag.lag(lsnOf(0n), 0), { bytes: 0, seconds: 0 });
  lag.hear(lsnOf(1_000n), 1_000);
  lag.hear(lsnOf(2_000n), 2_000);
  lag.hear(lsnOf(3_000n), 3_000);
  assert.deepEqual(lag.lag(lsnOf(500n), 4_000), { bytes: 2_500, seconds: 3 });
  assert.deepEqual(lag.lag(lsnOf(1_000n), 4_000), { bytes: 2_000, seconds: 2 });
  assert.deepEqual(lag.lag(lsnOf(3_000n), 9_000), { bytes: 0, seconds: 0 });
  lag.hear(lsnOf(2_500n), 9_000); // an older message says nothing new
  assert.equal(lag.serverEnd, 3_000n);
});

test("memory stays bounded over a long outage, and the age stays right", () => {
  const lag = new LagClock();
  for (let at = 1; at <= 100_000; at += 1) lag.hear(lsnOf(BigInt(at) * 100n), at * 100);
  const { seconds, bytes } = lag.lag(lsnOf(50n), 10_000_000);
  assert.equal(bytes, 9_999_950);
  assert.ok(Math.abs(seconds - 9_999) < 10, String(seconds));
});

test("a trouble counts its failures and is forgotten at the first success", () => {
  const book = new TroubleBook();
  const error = new Error("no answer");
  book.note(error, 10);
  book.note(error, 20);
  book.note(new Error("still none"), 30);
  assert.deepEqual(book.trouble, { sinceMs: 10, failures: 2, lastError: "still none" });
  book.note(null, 40);
  assert.equal(book.trouble, null);
});
