// Which slots are worth a line in the log.

import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeSlots, type WatchedSlot } from "../../src/cluster/slots-watch.ts";

const slot = (name: string, more: Partial<WatchedSlot> = {}): WatchedSlot => ({
  name,
  isOurs: true,
  kind: "physical",
  isActive: true,
  walStatus: "reserved",
  safeBytes: null,
  ...more,
});

test("nothing is said of our slots that hold what they may", () => {
  assert.deepEqual(judgeSlots([slot("holdfast_n2_1"), slot("holdfast", { walStatus: null })]), []);
});

test("a slot on its way to invalidation is named before it is lost, and each step is a line of its own", () => {
  const told = (["extended", "unreserved", "lost"] as const).map((walStatus) =>
    judgeSlots([slot("holdfast_n2_1", { isActive: false, walStatus, safeBytes: 500n })]),
  );
  assert.match(told[0]![0]!.sentence, /"holdfast_n2_1", which nobody reads, .* after 500 bytes more/);
  assert.match(told[1]![0]!.sentence, /invalidated at the next checkpoint/);
  assert.match(told[2]![0]!.sentence, /was invalidated/);
  assert.equal(new Set(told.map(([warning]) => warning!.key)).size, 3);
});

test("slots of others are reported: a failover loses them", () => {
  const [warning] = judgeSlots([slot("debezium", { kind: "logical", isOurs: false })]);
  assert.match(warning!.sentence, /logical replication slot "debezium" is not one of ours/);
});
