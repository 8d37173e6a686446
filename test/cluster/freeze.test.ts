// Real processes are stopped in their tracks, go on, and are killed; the watcher does it by itself.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { freezeServer, killFrozenServer, thawServer } from "../../src/cluster/freeze.ts";
import { systemClock, waitUntil } from "../../src/base/clock.ts";
import { Watcher } from "../../src/cluster/watcher.ts";

/** A parent with two children, each in a session of its own, as Postgres has them. */
async function family(t: TestContext): Promise<{ parent: ChildProcess; states: () => string[] }> {
  const parent = spawn("sh", ["-c", "setsid sleep 60 & setsid sleep 60 & echo up; wait"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  await new Promise((resolve) => parent.stdout.once("data", resolve));
  const pids = readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, "utf8")
    .trim()
    .split(" ")
    .map(Number);
  t.after(() => {
    for (const pid of [...pids, parent.pid!]) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It is gone already.
      }
    }
  });
  return {
    parent,
    states: () =>
      [parent.pid!, ...pids].map((pid) => {
        try {
          return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]![0]!;
        } catch {
          return "gone";
        }
      }),
  };
}

test("a family stands still, goes on, and dies without another step", async (t) => {
  const { parent, states } = await family(t);
  freezeServer(parent.pid!);
  await reached(states, /^TTT$/);
  thawServer(parent.pid!);
  await reached(states, /^SSS$/);
  freezeServer(parent.pid!);
  killFrozenServer(parent.pid!);
  await reached(states, /^(gone|Z)+$/);
});

/** A process that is just doing something else (`D`, `R`) takes its signal a moment later. */
async function reached(states: () => string[], wanted: RegExp): Promise<void> {
  const is = async (): Promise<boolean> => wanted.test(states().join(""));
  assert.ok(await waitUntil(is, 10_000, { clock: systemClock, pollMs: 10 }), states().join());
}

test("a process that is gone is no error", () => {
  assert.doesNotThrow(() => thawServer(2 ** 22 - 3));
});

test("the watcher freezes when the licence runs out, also while the event loop is busy", async (t) => {
  const { parent, states } = await family(t);
  await using watcher = new Watcher({ tickMs: 5 });
  await sleep(100);
  watcher.guard(parent.pid!);
  watcher.renew(10_000);
  await sleep(100);
  await reached(states, /^SSS$/);
  watcher.renew(100);
  const end = performance.now() + 10_000;
  while (states().join("") !== "TTT" && performance.now() < end);
  assert.deepEqual(states(), ["T", "T", "T"]);
  assert.equal(watcher.isFrozen, true);
  thawServer(parent.pid!);
  watcher.noteThawed();
  watcher.renew(null);
  await reached(states, /^SSS$/);
});
