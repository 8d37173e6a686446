import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { type Log, silentLog } from "../../src/base/log.ts";
import { NodeState } from "../../src/supervisor/node-state.ts";
import { nodeView, streaming } from "../support/node-view.ts";

const first = {
  node: "n1",
  version: "1",
  durability: "async",
  store: { name: "s3://b/p", fencing: true, isOnVolume: false, trouble: null },
};

test("state: a change of phase is told once, with its sentence", () => {
  const lines: string[] = [];
  const log: Log = {
    ...silentLog,
    info: (sentence) => lines.push(sentence),
    error: (sentence) => lines.push(sentence),
  };
  const state = new NodeState(first, { clock: systemClock, log });
  state.enter("starting", "a");
  state.enter("starting", "a");
  state.enter("running", "b");
  state.enter("failed", "c");
  assert.deepEqual(lines, ["node is starting", "node is running", "node is failed"]);
  assert.equal(state.view().because, "c");
});

test("state: a new sentence in the same phase keeps its beginning", () => {
  let now = 100;
  const state = new NodeState(first, { clock: { ...systemClock, now: () => now }, log: silentLog });
  state.enter("waiting", "a");
  now = 200;
  state.enter("waiting", "b");
  assert.equal(state.view().sinceMs, 100);
});

test("state: live parts are asked for at every view", () => {
  const state = new NodeState(first, { clock: systemClock, log: silentLog });
  assert.equal(state.view().streamer, null);
  state.ask({ streamer: () => streaming() });
  assert.equal(state.view().streamer?.phase, "streaming");
});

test("state: what became durable since the last look at the store widens the window", () => {
  const state = new NodeState(first, { clock: systemClock, log: silentLog });
  const { archive } = nodeView();
  assert.ok(archive?.window != null);
  state.set({ archive });
  const { fromMs, toMs } = archive.window;
  for (const [newestCommitMs, expected] of [
    [null, toMs],
    [toMs - 1, toMs],
    [toMs + 5, toMs + 5],
  ] as const) {
    state.ask({ streamer: () => streaming({ newestCommitMs }) });
    assert.deepEqual(state.view().archive?.window, { fromMs, toMs: expected });
  }
});
