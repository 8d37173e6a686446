import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { type Log, silentLog } from "../../src/base/log.ts";
import { sweepBelow } from "../../src/tail/bases.ts";
import { BASE_PREFIX, LOG_PREFIX, baseKey, slotKey } from "../../src/tail/keys.ts";
import { lsnOf } from "../../src/wal/lsn.ts";
import { LogBench, PLAIN, append, overriding, promotionAt } from "../support/log-bench.ts";

const due = { slots: 4, bytes: 1 << 30 };

test("a base is made when enough slots live, then they go; fences stay (D1, D2, T4)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await using owner = await bench.found(wal, { baseDue: due });
  for (let i = 0; i < 10; i += 1) {
    wal.record();
    await append(owner, wal);
    await owner.flush();
  }
  await owner.stop(5_000);
  assert.deepEqual(bench.keys(LOG_PREFIX), [slotKey(0)]);
  assert.deepEqual(bench.keys(BASE_PREFIX), [baseKey(26)]);
  const view = await bench.read();
  assert.equal(view.tip?.end, wal.end);
  assert.deepEqual(view.fences, [0]);
});

test("nothing is deleted before the base was read back (X9c)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const events: string[] = [];
  const { memory } = bench;
  const owner = await bench.found(wal);
  await owner.close();
  bench.store = overriding(memory, {
    create: (key, body, signal) => (
      events.push(`create ${key.slice(8, 12)}`),
      memory.create(key, body, signal)
    ),
    get: (key, signal) => (events.push(`get ${key.slice(8, 12)}`), memory.get(key, signal)),
    delete: (keys, signal) => (events.push(`delete ${keys.length}`), memory.delete(keys, signal)),
  });
  const next = bench.owner(await bench.takeOver());
  await next.begin({ kind: "continue" });
  for (let i = 0; i < 3; i += 1) {
    wal.record();
    await append(next, wal);
    await next.flush();
  }
  events.length = 0;
  await next.stop(5_000);
  assert.deepEqual(events.slice(-3), ["create base", "get base", "delete 4"]);
});

test("a base waits for what wal_005 is owed below it", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const { memory } = bench;
  const gate = Promise.withResolvers<void>();
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      if (key.startsWith("wal_005/")) await gate.promise;
      return memory.create(key, body, signal);
    },
  });
  await using owner = await bench.found(wal, { baseDue: due });
  for (const size of [10, 10, 1_200_000, 10, 10, 10]) {
    wal.record({ bytes: size });
    await append(owner, wal);
    await owner.flush();
  }
  await systemClock.sleep(20);
  const [newest] = bench.keys(BASE_PREFIX).slice(-1);
  assert.ok(newest! <= baseKey(18), `${newest} covers the segment that is not published`);
  gate.resolve();
  await owner.whenAllPublished(t.signal);
  assert.equal(await owner.stop(5_000), true);
  assert.equal((await bench.read()).tip?.published, lsnOf(wal.start + (1n << 20n)));
});

test("a base tells path, promotion, histories and the highest timeline", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await using owner = await bench.found(wal);
  wal.record();
  await append(owner, wal);
  await owner.history(promotionAt(wal.end, { timeline: 7 }));
  const { sha256 } = owner.view.histories.get(7)!;
  await owner.stop(5_000);
  const view = await bench.read();
  const { timeline, promotion, path, end } = view.tip!;
  assert.deepEqual([timeline, promotion, end, view.lastTimeline], [7, "2".repeat(32), wal.end, 7]);
  assert.deepEqual(
    path.map((step) => step.timeline),
    [1, 7],
  );
  assert.deepEqual(view.histories.get(7), { timeline: 7, sha256, body: null, header: null });
  assert.deepEqual(bench.keys("wal_005/"), [
    "wal_005/000000010000000000000010.partial",
    "wal_005/00000007.history",
  ]);
});

test("a base that stands already and follows the same slot is as good as ours", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const { memory } = bench;
  let attempts = 0;
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      const outcome = await memory.create(key, body, signal);
      if (key.startsWith(BASE_PREFIX)) attempts += 1;
      return key.startsWith(BASE_PREFIX) ? "exists" : outcome;
    },
  });
  await using owner = await bench.found(wal);
  wal.record();
  await append(owner, wal);
  assert.equal(await owner.stop(5_000), true);
  assert.equal(attempts, 2);
});

test("the sweep takes rubbish below the base and leaves every fence and what it cannot read (D3)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const owner = await bench.found(wal);
  wal.record();
  await append(owner, wal);
  await owner.flush();
  const late = bench.memory.objects.get(slotKey(16))!.bytes; // will come again, late
  const stranger = bench.memory.objects.get(slotKey(0))!.bytes; // a fence that nobody accepted
  await owner.stop(5_000);
  for (const [key, bytes] of [
    [slotKey(16), late],
    [slotKey(3), stranger],
    [slotKey(5), Buffer.from("unreadable")],
    [baseKey(2), late],
  ] as const) {
    await bench.store.put(key, bytes, t.signal);
  }
  const { base } = await bench.read();
  const alarms: unknown[] = [];
  const log: Log = { ...silentLog, error: (_sentence, fields) => alarms.push(fields) };
  bench.memory.objects.delete(slotKey(0));
  const tools = {
    store: bench.store,
    codec: PLAIN,
    clock: systemClock,
    log,
    signal: t.signal,
    random: () => 0,
  };
  assert.deepEqual(await sweepBelow(base!, tools), { deleted: 2, missingFences: [0] });
  assert.deepEqual(bench.keys("tail_v1/log/"), [slotKey(3), slotKey(5)]);
  assert.deepEqual(bench.keys(BASE_PREFIX), [base!.key]);
  assert.deepEqual(alarms, [{ positions: [0] }]);
});
