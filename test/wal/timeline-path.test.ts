import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLsn } from "../../src/wal/lsn.ts";
import {
  type TimelinePath,
  decodePath,
  encodePath,
  extendPath,
  leftAt,
  ownerAt,
  pathUpTo,
  rootPath,
  samePath,
  startsWithPath,
} from "../../src/wal/timeline-path.ts";

const path: TimelinePath = extendPath(extendPath(rootPath(1), 2, parseLsn("0/300")), 5, parseLsn("0/500"));

const OWNERS = [
  { lsn: "0/0", owner: 1 },
  { lsn: "0/2FF", owner: 1 },
  { lsn: "0/300", owner: 2 },
  { lsn: "0/4FF", owner: 2 },
  { lsn: "0/500", owner: 5 },
  { lsn: "F/0", owner: 5 },
] as const;
for (const { lsn, owner } of OWNERS) {
  test(`${lsn} belongs to timeline ${owner}`, () => assert.equal(ownerAt(path, parseLsn(lsn)), owner));
}

test("of two timelines that begin at one position the later owns it", () => {
  assert.equal(ownerAt(extendPath(path, 6, parseLsn("0/500")), parseLsn("0/500")), 6);
});

test("a path leaves each timeline where the next begins, the last never", () => {
  assert.equal(leftAt(path, 1), parseLsn("0/300"));
  assert.equal(leftAt(path, 2), parseLsn("0/500"));
  assert.equal(leftAt(path, 5), null);
  assert.equal(leftAt(path, 4), null);
});

test("beginnings of a path are told from other paths", () => {
  assert.equal(samePath(pathUpTo(path, 2)!, path.slice(0, 2)), true);
  assert.equal(pathUpTo(path, 3), null);
  assert.equal(startsWithPath(path, rootPath(1)), true);
  assert.equal(startsWithPath(path, extendPath(rootPath(1), 2, parseLsn("0/301"))), false);
  assert.equal(startsWithPath(rootPath(1), path), false);
});

test("a path survives its header", () => assert.deepEqual(decodePath(encodePath(path)), path));

const BAD: readonly { name: string; value: unknown }[] = [
  { name: "nothing", value: [] },
  { name: "no list", value: "1" },
  { name: "a first step that begins late", value: [[1, "0/1"]] },
  {
    name: "numbers that fall",
    value: [
      [2, "0/0"],
      [1, "0/5"],
    ],
  },
  {
    name: "positions that fall",
    value: [
      [1, "0/0"],
      [2, "0/5"],
      [3, "0/4"],
    ],
  },
  { name: "timeline 0", value: [[0, "0/0"]] },
  { name: "no position", value: [[1, 0]] },
  { name: "a bad position", value: [[1, "zero"]] },
];
for (const { name, value } of BAD) test(`no path: ${name}`, () => assert.equal(decodePath(value), null));
