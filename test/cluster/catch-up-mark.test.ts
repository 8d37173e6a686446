// The position that proves a standby complete: read behind the list and the connections it speaks of, never before.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CatchUpMark } from "../../src/cluster/catch-up-mark.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const look = (begunMs: number, at: string, connections: readonly string[]) => ({
  begunMs,
  at: parseLsn(at),
  connections,
  endedMs: begunMs + 10,
});

test("the mark is read once the connections were seen for as long as a reload takes, and it stays", () => {
  const mark = new CatchUpMark(500);
  assert.equal(mark.note(look(0, "0/100", ["n2 7"])), null);
  assert.equal(mark.note(look(200, "0/200", ["n2 7"])), null);
  assert.equal(mark.note(look(510, "0/300", ["n2 7"])), parseLsn("0/300"));
  assert.equal(mark.note(look(800, "0/400", ["n2 7"])), parseLsn("0/300"));
});

test("a new connection of the same standby, or a new list, is looked at anew", () => {
  const mark = new CatchUpMark(500);
  mark.note(look(0, "0/100", ["n2 7"]));
  assert.equal(mark.note(look(600, "0/200", ["n2 7"])), parseLsn("0/200"));
  assert.equal(mark.note(look(800, "0/300", ["n2 8"])), null);
  assert.equal(mark.note(look(1_400, "0/400", ["n2 8"])), parseLsn("0/400"));
  mark.restart();
  // This look may have begun before the list was in force.
  assert.equal(mark.note(look(1_500, "0/500", ["n2 8"])), null);
  assert.equal(mark.note(look(2_100, "0/600", ["n2 8"])), parseLsn("0/600"));
});
