import assert from "node:assert/strict";
import { test } from "node:test";
import { HistoryFileError, formatHistory, parseHistory } from "../../src/wal/timeline-history.ts";
import { pathOfHistory } from "../../src/wal/timeline-path.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

// As Postgres 17 wrote it on its second promotion: an empty line stands between the entries.
const THREE = "1\t0/30000A0\tno recovery target specified\n\n2\t0/5000D48\tno recovery target specified\n";

test("a history of two promotions is read and printed as it was", () => {
  const history = parseHistory(3, THREE);
  assert.deepEqual(
    history.switches.map(({ parent, at }) => [parent, at]),
    [
      [1, parseLsn("0/30000A0")],
      [2, parseLsn("0/5000D48")],
    ],
  );
  assert.equal(formatHistory(history), THREE);
  assert.deepEqual(
    pathOfHistory(history).map(({ timeline, begin }) => [timeline, begin]),
    [
      [1, 0n],
      [2, parseLsn("0/30000A0")],
      [3, parseLsn("0/5000D48")],
    ],
  );
});

test("comments and empty lines are skipped, an empty file has no switches", () => {
  assert.deepEqual(parseHistory(2, "").switches, []);
  assert.deepEqual(parseHistory(4, "# a hole\n\n").switches, []);
});

const BAD: readonly { name: string; text: string; message: RegExp }[] = [
  { name: "its own number inside", text: "3\t0/1\tx\n", message: /timeline 3 is out of order/ },
  { name: "a higher number inside", text: "4\t0/1\tx\n", message: /timeline 4 is out of order/ },
  {
    name: "numbers that fall",
    text: "2\t0/1\tx\n1\t0/2\tx\n",
    message: /line 2 .*timeline 1 is out of order/,
  },
  { name: "positions that fall", text: "1\t0/9\tx\n2\t0/2\tx\n", message: /switch point 0\/2 lies before/ },
  { name: "words", text: "one two three\n", message: /line 1 of the history of timeline 3 is not/ },
  { name: "no position", text: "1\n", message: /is not "parent, switch point, reason"/ },
];
for (const { name, text, message } of BAD) {
  test(`a history with ${name} is refused`, () => {
    assert.throws(
      () => parseHistory(3, text),
      (error) => error instanceof HistoryFileError && message.test(error.message),
    );
  });
}
