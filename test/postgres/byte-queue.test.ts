// The queue between a socket and a consumer.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteQueue } from "../../src/postgres/byte-queue.ts";

function flow(): { calls: string[]; pause: () => void; resume: () => void } {
  const calls: string[] = [];
  return { calls, pause: () => calls.push("pause"), resume: () => calls.push("resume") };
}
const never = new AbortController().signal;

test("items come out in their order, also those put while somebody waits", async () => {
  const queue = new ByteQueue<number>(100, flow());
  queue.put(1, 0);
  const first = await queue.take(never);
  const second = queue.take(never);
  queue.put(2, 0);
  queue.put(3, 0);
  assert.deepEqual([first, await second, await queue.take(never)], [1, 2, 3]);
});

test("the producer is paused at the limit and goes on below half of it", async () => {
  const calls = flow();
  const queue = new ByteQueue<string>(100, calls);
  queue.put("a", 60);
  assert.equal(queue.paused, false);
  queue.put("b", 60);
  queue.put("c", 10);
  assert.deepEqual(calls.calls, ["pause"]);
  await queue.take(never);
  assert.deepEqual([calls.calls, queue.paused], [["pause"], true], "70 bytes are not below 50");
  await queue.take(never);
  assert.deepEqual([calls.calls, queue.paused], [["pause", "resume"], false]);
});

test("what was queued before a failure can still be taken", async () => {
  const queue = new ByteQueue<number>(100, flow());
  queue.put(1, 0);
  queue.fail(new Error("first"));
  queue.fail(new Error("second"));
  assert.equal(await queue.take(never), 1);
  await assert.rejects(queue.take(never), /first/);
  await assert.rejects(queue.take(never), /first/, "and it stays failed");
});

test("a waiting consumer is woken by a failure and by an abort", async () => {
  const failing = new ByteQueue<number>(100, flow());
  const waiting = failing.take(never);
  failing.fail(new Error("gone"));
  await assert.rejects(waiting, /gone/);
  const aborted = new ByteQueue<number>(100, flow());
  const abort = new AbortController();
  const other = aborted.take(abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(other, /enough/);
});

test("a long run does not keep what was taken", async () => {
  const queue = new ByteQueue<number>(1e9, flow());
  for (let round = 0; round < 3; round += 1) {
    for (let item = 0; item < 5_000; item += 1) queue.put(item, 1);
    for (let item = 0; item < 5_000; item += 1) assert.equal(await queue.take(never), item);
  }
});
