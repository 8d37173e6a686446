// Targets: what is read, what is refused, what is printed.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  describeTarget,
  formatTime,
  LATEST,
  parseRequest,
  parseTime,
  TargetError,
} from "../../src/recovery/target.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const times = [
  { text: "2026-11-23 11:23:58.389395+00", printed: "2026-11-23 11:23:58.389395+00" },
  { text: "2026-11-23T11:23:58Z", printed: "2026-11-23 11:23:58+00" },
  { text: "2026-11-23 13:23:58.5 +02:00", printed: "2026-11-23 11:23:58.5+00" },
  { text: "2026-11-23 06:53-0430", printed: "2026-11-23 11:23:00+00" },
  { text: "2026-11-23", printed: "2026-11-23 00:00:00+00" },
  { text: "2026-11-23 11:23:58.1234569", printed: "2026-11-23 11:23:58.123456+00" },
] as const;

for (const { text, printed } of times) {
  test(`the time "${text}" is ${printed}`, () => {
    assert.equal(formatTime(parseTime(text)), printed);
    assert.equal(parseTime(formatTime(parseTime(text))), parseTime(text));
  });
}

for (const text of ["yesterday", "2026-02-30", "2026-11-23 24:61:00", "2026-13-01", ""]) {
  test(`"${text}" is no time`, () => assert.throws(() => parseTime(text), RangeError));
}

test("nothing given asks for the end of the winner's history", () => {
  assert.deepEqual(parseRequest({}), LATEST);
  assert.deepEqual(parseRequest({ time: "", backup: "" }), LATEST);
});

test("every kind of target is read", () => {
  assert.deepEqual(parseRequest({ lsn: "0/402B548", inclusive: false, timeline: "3" }), {
    target: { kind: "lsn", lsn: parseLsn("0/402B548"), inclusive: false },
    timeline: 3,
    backup: "LATEST",
  });
  assert.deepEqual(parseRequest({ xid: "4294968043" }).target, { kind: "xid", xid: 747, inclusive: true });
  assert.deepEqual(parseRequest({ name: "before" }).target, { kind: "name", name: "before" });
  assert.deepEqual(parseRequest({ immediate: true, backup: "base_1" }), {
    target: { kind: "immediate" },
    timeline: "latest",
    backup: "base_1",
  });
});

test("all problems are named at once", () => {
  assert.throws(
    () => parseRequest({ time: "soon", xid: "1", timeline: "0", immediate: true }),
    (error) => {
      assert.ok(error instanceof TargetError);
      assert.equal(error.exitStatus, 2);
      assert.deepEqual(error.problems, [
        "more than one target was given: time, xid, immediate",
        'not a time: "soon" (write 2026-11-24 12:00:00+00)',
        'not a timeline: "0"',
      ]);
      return true;
    },
  );
  assert.throws(
    () => parseRequest({ inclusive: false }),
    /an exclusive target needs a time, an LSN or an xid/,
  );
  assert.throws(() => parseRequest({ name: "x".repeat(64) }), /at most 63 bytes/);
});

test("a target prints as a sentence's end", () => {
  const printed = [
    { lsn: "0/1" },
    { time: "2026-01-02", inclusive: false },
    { xid: "747" },
    { name: "a" },
    {},
  ].map((fields) => describeTarget(parseRequest(fields).target));
  assert.deepEqual(printed, [
    "LSN 0/1",
    "time 2026-01-02 00:00:00+00 (exclusive)",
    "transaction 747",
    'restore point "a"',
    "the end of the archive",
  ]);
});
