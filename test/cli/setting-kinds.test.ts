// Texts to values.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  byteCount,
  choice,
  duration,
  json,
  list,
  printDuration,
  whole,
  yesOrNo,
} from "../../src/cli/setting-kinds.ts";
import { splitWords } from "../../src/cli/shell-words.ts";

for (const [value, expected] of [
  ["1", true],
  ["TRUE", true],
  ["yes", true],
  ["on", true],
  ["0", false],
  ["F", false],
  ["no", false],
] as const) {
  test(`"${value}" means ${expected}`, () => assert.equal(yesOrNo(value), expected));
}
test("maybe is neither", () => assert.throws(() => yesOrNo("maybe"), RangeError));

for (const [value, ms] of [
  ["5", 5_000],
  ["500ms", 500],
  ["1m30s", 90_000],
  ["1.5h", 5_400_000],
  ["7d", 604_800_000],
] as const) {
  test(`"${value}" lasts ${ms} ms`, () => assert.equal(duration(0)(value), ms));
}
for (const value of ["", "5 s", "-1s", "1y", "s", "1e3", "10s!"]) {
  test(`"${value}" is no duration`, () => assert.throws(() => duration(0)(value), RangeError));
}
test("a duration prints as it would be typed", () => {
  for (const text of ["0s", "250ms", "1s", "90s", "2m", "3h", "7d"]) {
    assert.equal(duration(0)(printDuration(duration(0)(text))), duration(0)(text));
  }
  assert.equal(printDuration(60_000), "1m");
});

for (const [value, bytes] of [
  ["1048576", 1 << 20],
  ["1MB", 1 << 20],
  ["1 MiB", 1 << 20],
  ["2g", 2 * 2 ** 30],
  ["1TB", 2 ** 40],
] as const) {
  test(`"${value}" is ${bytes} bytes`, () => assert.equal(byteCount(0)(value), bytes));
}
test("bytes out of range say the range", () => {
  assert.throws(() => byteCount(1024)("1"), {
    message: 'is "1"; write bytes as 1048576 or 1MB, at least 1024',
  });
  assert.throws(() => byteCount(1, 10)("11"), {
    message: 'is "11"; write bytes as 1048576 or 1MB, from 1 to 10',
  });
  assert.throws(() => byteCount(0)("1.5MB"), RangeError);
});

test("whole numbers have a range", () => {
  assert.equal(whole(-1, 5)("-1"), -1);
  for (const value of ["6", "-2", "1.5", "", "0x1", "99999999999999999999"])
    assert.throws(() => whole(-1, 5)(value), RangeError, value);
});
test("a choice is found in any case and given as it is written", () => {
  assert.equal(choice(["LATEST", "LATEST_FULL"])("latest_full"), "LATEST_FULL");
  assert.throws(() => choice(["a", "b"])("c"), { message: 'is "c"; one of a, b' });
});
test("a list takes commas and white space", () =>
  assert.deepEqual(list(" a, b\tc ,,d"), ["a", "b", "c", "d"]));
test("JSON stays text", () => {
  assert.equal(json('{"a": 1}'), '{"a": 1}');
  assert.throws(() => json("{"), { message: "is no JSON" });
});

for (const [text, words] of [
  ["", []],
  ["  a  b ", ["a", "b"]],
  [`--x="a b" 'c d'e`, ["--x=a b", "c de"]],
  [`a\\ b "c\\"d" 'e\\f'`, ["a b", 'c"d', "e\\f"]],
  [`"" x`, ["", "x"]],
  [`'open`, null],
] as const) {
  test(`words of ${text}`, () => assert.deepEqual(splitWords(text), words));
}
