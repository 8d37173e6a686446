import assert from "node:assert/strict";
import { test } from "node:test";
import { partSize } from "../../src/storage/s3-upload.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Bytes that fit into all 10,000 parts. */
function room(firstBytes: number): number {
  let total = 0;
  for (let number = 1; number <= 10_000; number += 1) total += partSize(number, firstBytes);
  return total;
}

test("10,000 parts hold a terabyte of unknown length, and no part is larger than S3 takes", () => {
  assert.ok(room(16 * MIB) > 1024 * GIB);
  assert.ok(partSize(10_000, 16 * MIB) <= 5 * GIB);
});

test("the first 4,000 parts are equal, as R2 wants them", () => {
  for (const number of [1, 2, 3999, 4000]) assert.equal(partSize(number, 16 * MIB), 16 * MIB);
  assert.equal(partSize(4001, 16 * MIB), 32 * MIB);
});
