// Section 13: a store that ignores preconditions. Nothing is overwritten, both branches stay, one of them wins.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../src/base/clock.ts";
import { FencedError } from "../../src/tail/errors.ts";
import { BASE_PREFIX, LOG_PREFIX } from "../../src/tail/keys.ts";
import type { LogOwner } from "../../src/tail/owner.ts";
import { LogBench, append, overriding } from "../support/log-bench.ts";
import type { WalBuilder } from "../support/wal-builder.ts";
import { rootPath } from "../../src/wal/timeline-path.ts";

/** A bench on a store whose creates replace what is there. */
function bench(signal: AbortSignal): LogBench {
  const made = new LogBench({ signal });
  const { memory } = made;
  made.store = overriding(memory, {
    create: async (key, body) => {
      await memory.put(key, body, signal);
      return "created";
    },
  });
  return made;
}

/** A clock whose long waits end when told. */
class Nudged implements Clock {
  #waiters: (() => void)[] = [];
  now(): number {
    return Date.now();
  }
  monotonicMs(): number {
    return performance.now();
  }
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      if (ms < 5_000) setTimeout(resolve, ms);
      else this.#waiters.push(resolve);
    });
  }
  nudge(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

async function found(made: LogBench, wal: WalBuilder, clock: Clock): Promise<LogOwner> {
  const owner = made.owner(await made.takeOver({ fencing: "none", drawToken: () => "5".repeat(32) }), {
    clock,
  });
  const genesis = {
    timeline: 1,
    path: rootPath(1),
    promotion: "1".repeat(32),
    end: wal.start,
    lastTimeline: 1,
    histories: [],
  };
  await owner.begin({ kind: "genesis", genesis, openBytes: new Uint8Array(0) });
  return owner;
}

test("every name carries its writer's token, and the log reads as usual (U1)", async (t) => {
  const made = bench(t.signal);
  const wal = made.wal();
  await using owner = await found(made, wal, new Nudged());
  wal.record();
  await append(owner, wal);
  await owner.flush();
  assert.ok(made.keys(LOG_PREFIX).every((key) => key.endsWith("-5555555555555555")));
  assert.ok(made.keys(BASE_PREFIX).every((key) => key.endsWith("-5555555555555555")));
  assert.equal((await made.read()).tip?.end, wal.end);
});

test("a second owner's fence wins over data at its position; the first is told at its next look (U2, U3)", async (t) => {
  const made = bench(t.signal);
  const wal = made.wal();
  const clock = new Nudged();
  await using stale = await found(made, wal, clock);
  wal.record();
  await append(stale, wal);
  await stale.flush();
  const claim = await made.takeOver({ fencing: "none", node: "winner", drawToken: () => "9".repeat(32) });
  await using winner = made.owner(claim);
  await winner.begin({ kind: "continue" });
  // Nothing stops the first one yet: it writes into a branch that has lost.
  const lost = wal.fork(1);
  lost.record({ bytes: 100 });
  await append(stale, lost);
  await stale.flush();
  wal.record({ bytes: 200 });
  await append(winner, wal);
  await winner.flush();
  const view = await made.read();
  assert.equal(view.owner?.node, "winner");
  assert.equal(view.tip?.end, wal.end);
  clock.nudge();
  while (!stale.lost.aborted) await new Promise((resolve) => void setTimeout(resolve, 5));
  assert.ok(stale.lost.reason instanceof FencedError);
  assert.equal(winner.lost.aborted, false);
});

test("of two fences at one position the smaller token wins (U2)", async (t) => {
  const made = bench(t.signal);
  const wal = made.wal();
  const founder = await found(made, wal, new Nudged());
  wal.record();
  await append(founder, wal);
  await founder.stop(1_000);
  const { memory } = made;
  let isFirst = true;
  const rival = new LogBench({ signal: t.signal });
  Object.assign(rival, { memory, store: memory });
  made.store = overriding(made.store, {
    put: async (key, body, signal) => {
      if (key.startsWith(LOG_PREFIX) && isFirst) {
        isFirst = false; // between reading and fencing another taker does the same
        await rival.takeOver({ fencing: "none", node: "small", drawToken: () => "1".repeat(32) });
      }
      return memory.put(key, body, signal);
    },
  });
  await made.takeOver({ fencing: "none", node: "large", drawToken: () => "8".repeat(32) });
  assert.equal((await made.read()).owner?.node, "small");
});

test("a losing branch makes no base and deletes nothing", async (t) => {
  const made = bench(t.signal);
  const wal = made.wal();
  const stale = await found(made, wal, new Nudged());
  wal.record();
  await append(stale, wal);
  await stale.flush();
  await made.takeOver({ fencing: "none", node: "winner", drawToken: () => "9".repeat(32) });
  const before = made.keys("tail_v1/");
  await stale.stop(1_000);
  assert.deepEqual(made.keys("tail_v1/"), before);
});

test("an object of wal_005 is looked for before it is put, and never replaced", async (t) => {
  const made = bench(t.signal);
  const wal = made.wal();
  await made.memory.put("wal_005/000000010000000000000010", Buffer.from("foreign"), t.signal);
  await using owner = await found(made, wal, new Nudged());
  wal.switch();
  await append(owner, wal);
  await owner.flush();
  while (owner.health.conflict === null) await new Promise((resolve) => void setTimeout(resolve, 5));
  assert.equal(
    Buffer.from(made.memory.objects.get("wal_005/000000010000000000000010")!.bytes).toString(),
    "foreign",
  );
});
