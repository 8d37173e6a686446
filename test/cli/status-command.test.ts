import assert from "node:assert/strict";
import { test } from "node:test";
import { callOf } from "../../src/cli/restore-command.ts";
import { renderStatus } from "../../src/cli/status-command.ts";
import { nodeView, streaming } from "../support/node-view.ts";

test("status: one screen says role, lag, store, backup, window", () => {
  const screen = renderStatus(nodeView());
  for (const line of [
    /^node +n1, Holdfast 0\.1\.0$/m,
    /^role +primary on timeline 1$/m,
    /^clients +are let in$/m,
    /^flush lag +0 B, 0\.0 s, durable up to 0\/3000000 \(streaming\)$/m,
    /^store +s3:\/\/bucket\/prefix: answers$/m,
    /^last backup +base_000000010000000000000002, 2 min ago, 3\.0 MB in 2 s$/m,
    /^recoverable +2023-11-14T21:56:40Z to 2023-11-14T22:13:20Z$/m,
  ])
    assert.match(screen, line);
});

test("status: trouble is told with its age, alarms stand out", () => {
  const store = { sinceMs: 1_700_000_040_000, failures: 3, lastError: "ECONNREFUSED" };
  const screen = renderStatus(nodeView({ streamer: streaming({ store, alarms: ["segment X differs"] }) }));
  assert.match(screen, /fails since 60 s: ECONNREFUSED/);
  assert.match(screen, /^ALARM +segment X differs$/m);
});

test("status: an unfenced store is said", () => {
  const store = { name: "s3://b", fencing: false, isOnVolume: false, trouble: null };
  assert.match(renderStatus(nodeView({ store })), /fencing: none/);
});

test("status: what a commit is worth right now, not what it should be", () => {
  assert.match(renderStatus(nodeView()), /^durability +async: a commit is safe .* within about a second$/m);
  const onVolume = { ...nodeView().store, isOnVolume: true };
  assert.match(renderStatus(nodeView({ store: onVolume })), /async: .* is lost together with it$/m);
  const away = streaming({ store: { sinceMs: 1_700_000_040_000, failures: 3, lastError: "ECONNREFUSED" } });
  assert.match(
    renderStatus(nodeView({ streamer: away })),
    /async: for 60 s the store has taken nothing: newer commits are on this volume only$/m,
  );
  assert.match(renderStatus(nodeView({ streamer: null })), /async: right now nothing leaves for the store/);
});

test("restore: flags become a call", () => {
  assert.deepEqual(callOf(["--job"]), { verb: "job" });
  assert.deepEqual(callOf(["--undo", "--confirm"]), { verb: "undo", confirmed: true });
  const call = callOf(["--target-time", "2026-11-24 12:00:00+00", "--exclusive"]);
  assert.equal(call.verb, "restore");
  assert.deepEqual(call.verb === "restore" ? [call.fields.time, call.fields.inclusive, call.confirmed] : [], [
    "2026-11-24 12:00:00+00",
    false,
    false,
  ]);
});

test("restore: a wrong flag is a wrong usage", () => {
  assert.throws(() => callOf(["--target-tiem", "x"]), { exitStatus: 2 });
});
