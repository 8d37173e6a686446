// What env-file parsers leave behind in a value.

import assert from "node:assert/strict";
import { test } from "node:test";
import { mangledBy } from "../../src/cli/env-file-traces.ts";

const cases: readonly (readonly [name: string, value: string, expected: RegExp | null])[] = [
  ["a plain value is sound", "abc", null],
  ["a quote inside is sound", `pa"ss`, null],
  ["quotes at both ends were kept", `"abc"`, /begins and ends with a quote/],
  ["single ones too", `'abc'`, /begins and ends with a quote/],
  ["quotes around nothing too", `""`, /begins and ends with a quote/],
  ["quotes with white space behind too", `"abc"  `, /begins and ends with a quote/],
  ["a quote that is never closed was cut", `"pa`, /never closed/],
  ["a lone quote too", `'`, /never closed/],
  ["different quotes at the ends belong to the value", `"abc'`, /never closed/],
  ["a quoted first word is a value", `"$user", public`, null],
  ["a comment was kept", "abc # the password", /holds a comment/],
  ["a number sign inside a word is sound here", "pa#ss", null],
  ["a value that begins with one is not", "#secret", /begins with `#`/],
  ["a carriage return was kept", "abc\r", /carriage return/],
];

for (const [name, value, expected] of cases) {
  test(name, () => {
    const found = mangledBy(value, { quotable: false });
    if (expected === null) assert.equal(found, null);
    else assert.match(found ?? "", expected);
  });
}

test("JSON may begin and end with quotes", () => {
  assert.equal(mangledBy('"text"', { quotable: true }), null);
});

test("no sentence repeats the value", () => {
  for (const [, value] of cases) {
    const found = mangledBy(value, { quotable: false }) ?? "";
    if (/[a-z]{3}/.test(value))
      assert.ok(!found.includes(value.replaceAll(/["'\r# ].*$/g, "") || "\0"), found);
  }
});
