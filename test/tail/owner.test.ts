import assert from "node:assert/strict";
import { test } from "node:test";
import { StoreError } from "../../src/storage/object-store.ts";
import { FencedError, LogUseError } from "../../src/tail/errors.ts";
import { sha256 } from "../../src/tail/slot.ts";
import { fetchPublished } from "../../src/tail/publish.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { type Lsn, lsnOf } from "../../src/wal/lsn.ts";
import { LogBench, append, overriding, promotionAt } from "../support/log-bench.ts";

const SEGMENT = { timeline: 1, number: 16n };
const MIB = 1n << 20n;

test("what is durable is what was settled, and each new position is told once", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await using owner = await bench.found(wal);
  assert.equal(owner.durable, wal.start);
  const told: Lsn[] = [];
  const listening = (async () => {
    for await (const lsn of owner.positions(t.signal)) told.push(lsn);
  })();
  const ends: Lsn[] = [];
  for (let i = 0; i < 3; i += 1) {
    wal.record();
    ends.push(wal.end);
    await append(owner, wal);
    await owner.flush();
    await new Promise((resolve) => void setImmediate(resolve));
  }
  await owner.close();
  await listening;
  assert.deepEqual(told, [wal.start, ...ends]);
});

test("nothing is durable before the history of a new timeline is accepted (S2, G5)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const before = await bench.found(wal);
  wal.record();
  await append(before, wal);
  await before.flush();
  await before.close();
  const owner = bench.owner(await bench.takeOver({ purpose: "promote" }));
  await owner.begin({ kind: "bring" });
  assert.equal(owner.durable, null);
  await owner.history(promotionAt(wal.end));
  assert.equal(owner.durable, wal.end);
  await owner.close();
});

test("an owner that was fenced learns it at its next slot and ends for good (T7)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await using owner = await bench.found(wal);
  await bench.takeOver({ node: "winner" });
  wal.record();
  await append(owner, wal);
  await assert.rejects(owner.flush(), FencedError);
  assert.match(owner.health.lost!, /lost the log: .*holds a fence of node "winner"/);
  wal.record();
  await assert.rejects(append(owner, wal), FencedError);
  await assert.rejects(
    owner.whenAllPublished(t.signal).then(() => owner.flush()),
    FencedError,
  );
});

test("before the junction nothing is taken, and an owner begins once", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const owner = bench.owner(await bench.takeOver());
  await assert.rejects(owner.append(wal.start, 1, new Uint8Array(1)), LogUseError);
  await owner.close();
});

test("archive_command: durable, different, missing, next (A1 to A4)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await using owner = await bench.found(wal);
  wal.record({ bytes: 1_100_000 });
  wal.switch();
  wal.record();
  const file = (number: bigint): Buffer => wal.bytes(lsnOf(number * MIB), lsnOf((number + 1n) * MIB));
  assert.deepEqual(await owner.isAccepted(SEGMENT, sha256(file(16n))), { kind: "missing", isNext: true });
  assert.deepEqual(await owner.isAccepted({ timeline: 1, number: 17n }, "x"), {
    kind: "missing",
    isNext: false,
  });
  // A4: the missing part comes from the file, through the log.
  await owner.append(wal.start, 1, file(16n));
  await owner.flush();
  await owner.whenPublished(SEGMENT, t.signal);
  assert.deepEqual(await owner.isAccepted(SEGMENT, sha256(file(16n))), { kind: "durable" });
  assert.deepEqual(await owner.isAccepted(SEGMENT, sha256(file(17n))), { kind: "different" });
  assert.deepEqual(await owner.isAccepted({ timeline: 1, number: 17n }, sha256(file(17n))), {
    kind: "missing",
    isNext: true,
  });
  assert.deepEqual(await owner.isAccepted({ timeline: 9, number: 17n }, "x"), {
    kind: "missing",
    isNext: false,
  });
});

test("archive_command: accepted whole and not yet in wal_005 (A2)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const gate = Promise.withResolvers<void>();
  const { memory } = bench;
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      if (key.startsWith("wal_005/")) await gate.promise;
      return memory.create(key, body, signal);
    },
  });
  await using owner = await bench.found(wal);
  wal.switch();
  await append(owner, wal);
  await owner.flush();
  assert.deepEqual(await owner.isAccepted(SEGMENT, sha256(wal.bytes())), { kind: "unpublished" });
  gate.resolve();
  await owner.whenPublished(SEGMENT, t.signal);
  assert.deepEqual(await owner.isAccepted(SEGMENT, sha256(wal.bytes())), { kind: "durable" });
});

test("a takeover publishes what the log holds complete and wal_005 lacks (P2)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const { memory } = bench;
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      if (key.startsWith("wal_005/")) throw new StoreError("unknown", "no answer");
      return memory.create(key, body, signal);
    },
  });
  const first = await bench.found(wal);
  wal.record({ bytes: 1_500_000 });
  await append(first, wal);
  await first.flush();
  await first.history(promotionAt(wal.end));
  assert.ok(first.health.owedPublications > 0);
  await first.close();
  assert.deepEqual(bench.keys("wal_005/"), []);
  bench.store = memory;
  await using owner = bench.owner(await bench.takeOver());
  await owner.begin({ kind: "continue" });
  await owner.whenAllPublished(t.signal);
  assert.deepEqual(bench.keys("wal_005/"), [
    "wal_005/000000010000000000000010",
    "wal_005/000000010000000000000011.partial",
    "wal_005/00000002.history",
  ]);
  const partial = await fetchPublished(
    memory,
    "000000010000000000000011.partial",
    { cipher: noCipher, preferred: "none" },
    t.signal,
  );
  assert.deepEqual(Buffer.from(partial!), wal.bytes(lsnOf(wal.start + MIB), lsnOf(wal.start + 2n * MIB)));
});

test("something else under a segment's name is an alarm, and the log goes on", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await bench.store.put("wal_005/000000010000000000000010", Buffer.from("foreign"), t.signal);
  await using owner = await bench.found(wal);
  wal.switch();
  wal.record();
  await append(owner, wal);
  await owner.flush();
  while (owner.health.conflict === null) await new Promise((resolve) => void setTimeout(resolve, 5));
  assert.match(owner.health.conflict.message, /"wal_005\/000000010000000000000010" exists with other bytes/);
  assert.equal(owner.durable, wal.end);
});

test("a clean stop settles and makes a base: the next takeover reads one object (W8)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const owner = await bench.found(wal, { flushMs: 60_000 });
  wal.record();
  await append(owner, wal);
  assert.equal(await owner.stop(5_000), true);
  const claim = await bench.takeOver();
  assert.deepEqual(
    claim.view.slots.map(({ header }) => header.kind),
    ["fence"],
  );
  assert.equal(claim.view.tip?.end, wal.end);
});

test("a stop ends at its limit though the store is silent (W8)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const { memory } = bench;
  const owner = await bench.found(wal);
  memory.create = () => new Promise(() => undefined);
  wal.record();
  await append(owner, wal);
  const begun = Date.now();
  assert.equal(await owner.stop(50), false);
  assert.ok(Date.now() - begun < 2_000);
});

test("health tells of trouble with the store while it lasts", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const { memory } = bench;
  let isDown = false;
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      if (isDown) throw new StoreError("unknown", "the store is down");
      return memory.create(key, body, signal);
    },
  });
  await using owner = await bench.found(wal);
  isDown = true;
  wal.record();
  await append(owner, wal);
  while (owner.health.trouble === null) await new Promise((resolve) => void setTimeout(resolve, 5));
  const { trouble, unsettledSlots, unsettledBytes, oldestUnsettledMs } = owner.health;
  assert.deepEqual(
    [trouble.message, unsettledSlots, unsettledBytes],
    ["the store is down", 1, Number(wal.end - wal.start)],
  );
  assert.ok(oldestUnsettledMs > 0);
  isDown = false;
  await owner.flush();
  assert.equal(owner.health.trouble, null);
});

test("an owner's reads are repeated until the store answers", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const first = await bench.found(wal);
  wal.record();
  await append(first, wal);
  await first.stop(5_000);
  const claim = await bench.takeOver();
  const { memory } = bench;
  let failures = 3;
  bench.store = overriding(memory, {
    get: async (...args) => {
      failures -= 1;
      if (failures >= 0) throw new StoreError("unknown", "no answer");
      return memory.get(...args);
    },
  });
  await using owner = bench.owner(claim);
  assert.equal((await owner.recordEndOfLog()).at, wal.end);
});
