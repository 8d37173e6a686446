// What closes, answers and silence say about a member.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  afterClose,
  afterFailure,
  afterSleep,
  afterWord,
  newWatch,
  sightOf,
} from "../../src/cluster/detection.ts";
import { TIMERS } from "../../src/cluster/timers.ts";

const heard = afterWord(newWatch(0), 10_000);

const cases = [
  { name: "it just answered", watch: heard, atMs: 10_100, sight: "alive" },
  {
    name: "it closed its connection a second ago",
    watch: afterClose(heard, 10_000),
    atMs: 11_000,
    sight: "silent",
  },
  {
    name: "it closed its connection, no answer for 2 s",
    watch: afterClose(heard, 10_100),
    atMs: 12_000,
    sight: "gone",
  },
  { name: "a 5 s pause", watch: afterFailure(heard, "timeout"), atMs: 15_000, sight: "silent" },
  { name: "silence for 7 s", watch: afterFailure(heard, "timeout"), atMs: 17_000, sight: "gone" },
  {
    name: "its name does not resolve for 5 s",
    watch: afterFailure(heard, "dns"),
    atMs: 15_000,
    sight: "silent",
  },
  {
    name: "a close before the first word proves nothing",
    watch: afterClose(newWatch(0), 100),
    atMs: 5_000,
    sight: "silent",
  },
  { name: "never heard, 10 s after the start", watch: newWatch(0), atMs: 10_000, sight: "silent" },
  { name: "never heard, 15 s after the start", watch: newWatch(0), atMs: 15_000, sight: "gone" },
  { name: "this node slept for 30 s", watch: afterSleep(heard, 30_000), atMs: 40_100, sight: "alive" },
  {
    name: "a word after the close",
    watch: afterWord(afterClose(heard, 10_100), 10_500),
    atMs: 12_400,
    sight: "silent",
  },
] as const;

for (const { name, watch, atMs, sight } of cases)
  test(`detection: ${name}`, () => assert.equal(sightOf(watch, atMs, TIMERS).kind, sight));

test("the sentence names the last failure", () => {
  const sight = sightOf(afterFailure(heard, "dns"), 12_000, TIMERS);
  assert.deepEqual(sight, { kind: "silent", forMs: 2_000, because: "no answer for 2000 ms (dns)" });
});
