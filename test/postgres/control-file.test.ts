// pg_control as real servers of each version wrote it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ControlFileError, parseControlFile } from "../../src/postgres/control-file.ts";
import { assertSameAsControldata } from "../support/controldata.ts";

const captured = (major: number, name: string): string =>
  join(import.meta.dirname, "captured", String(major), name);

for (const major of [15, 17, 18]) {
  test(`version ${major} reads as pg_controldata prints it`, () => {
    const control = parseControlFile(readFileSync(captured(major, "pg_control")));
    assertSameAsControldata(control, readFileSync(captured(major, "pg_controldata.txt"), "utf8"));
    assert.equal(control.recoverySettings.maxConnections, 123);
    assert.equal(control.segmentBytes, 32 << 20);
  });
}

const sound = readFileSync(captured(17, "pg_control"));
const changed = (at: number, value: number): Buffer => {
  const copy = Buffer.from(sound);
  copy[at] = value;
  return copy;
};

test("a single changed byte is found, wherever it lies below the CRC", () => {
  for (let at = 0; at < 292; at += 1) {
    if (at >= 8 && at < 12) continue; // the version itself: see below
    assert.throws(() => parseControlFile(changed(at, sound[at]! ^ 0x10)), ControlFileError, `byte ${at}`);
  }
});

for (const { name, bytes, message } of [
  {
    name: "a short file",
    bytes: sound.subarray(0, 200),
    message: "pg_control holds 200 bytes, not at least 296",
  },
  { name: "an empty file", bytes: Buffer.alloc(0), message: "pg_control holds 0 bytes, not at least 296" },
  {
    name: "a file of zeros",
    bytes: Buffer.alloc(8192),
    message: "pg_control has version 0; known are 1300, 1700, 1800",
  },
  {
    name: "a version we do not know",
    bytes: changed(8, 0xff),
    message: "pg_control has version 1791; known are 1300, 1700, 1800",
  },
]) {
  test(`${name} is refused by a sentence`, () => {
    assert.throws(() => parseControlFile(bytes), { message, code: "CONTROL_FILE" });
  });
}
