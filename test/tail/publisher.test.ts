import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { test } from "node:test";
import { StoreError } from "../../src/storage/object-store.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import type { LogOwner } from "../../src/tail/owner.ts";
import { fetchPublished } from "../../src/tail/publish.ts";
import { type Lsn, lsnOf } from "../../src/wal/lsn.ts";
import { LogBench, append, overriding, promotionAt } from "../support/log-bench.ts";
import { below, drawSeed, makeRandom } from "../support/random.ts";
import type { WalBuilder } from "../support/wal-builder.ts";

const MIB = 1n << 20n;
const FIRST = 16n;
/** Name of the segment at this place, counted from the first that the log holds. */
const nameOf = (index: number): string =>
  `0000000100000000000000${(FIRST + BigInt(index)).toString(16).padStart(2, "0").toUpperCase()}`;
const keyOf = (index: number): string => `wal_005/${nameOf(index)}`;

/** `count` whole segments, settled. */
async function fill(owner: LogOwner, wal: WalBuilder, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    wal.record({ bytes: 40_000 + 1_000 * index });
    wal.switch();
  }
  await append(owner, wal);
  await owner.flush();
}

const until = async (isDone: () => boolean): Promise<void> => {
  while (!isDone()) await nextTurn();
};

const published = (bench: LogBench): string[] => bench.keys("wal_005/").map((key) => key.slice(8));

async function assertPublished(bench: LogBench, wal: WalBuilder, index: number): Promise<void> {
  const found = await fetchPublished(
    bench.memory,
    nameOf(index),
    { cipher: noCipher, preferred: "none" },
    bench.signal,
  );
  const start = lsnOf(wal.start + BigInt(index) * MIB);
  assert.deepEqual(Buffer.from(found!), wal.bytes(start, lsnOf(start + MIB)), nameOf(index));
}

test("segments are published beside each other, and one that is held up lets only a few pass", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const gate = Promise.withResolvers<void>();
  const { memory } = bench;
  const asked: string[] = [];
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      if (key.startsWith("wal_005/")) asked.push(key);
      if (key === keyOf(0)) await gate.promise;
      return memory.create(key, body, signal);
    },
  });
  await using owner = await bench.found(wal);
  await fill(owner, wal, 6);
  await until(() => published(bench).length === 2);
  for (let turn = 0; turn < 50; turn += 1) await nextTurn();
  assert.deepEqual(asked.toSorted(), [keyOf(0), keyOf(1), keyOf(2)]);
  assert.equal(owner.health.owedPublications, 4);
  gate.resolve();
  await owner.whenAllPublished(t.signal);
  for (let index = 0; index < 6; index += 1) await assertPublished(bench, wal, index);
});

test("a base does not pass a segment that is still owed, though later ones are published (D1)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const { memory } = bench;
  let isDown = true;
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      if (isDown && key === keyOf(1)) throw new StoreError("unknown", "no answer");
      return memory.create(key, body, signal);
    },
  });
  const first = await bench.found(wal, { baseDue: { slots: 1, bytes: 1 } });
  await fill(first, wal, 4);
  await until(() => published(bench).length === 3);
  for (let turn = 0; turn < 50; turn += 1) await nextTurn();
  assert.deepEqual(published(bench), [nameOf(0), nameOf(2), nameOf(3)]);
  await first.close();

  // It died with a hole in wal_005: the log still holds what is missing, and the next owner brings it.
  const { base, tip } = await bench.read();
  assert.ok(base!.header.published <= wal.start + MIB, "the base passed the hole");
  assert.equal(tip!.end, wal.end);
  isDown = false;
  await using second = bench.owner(await bench.takeOver());
  await second.begin({ kind: "continue" });
  await second.whenAllPublished(t.signal);
  for (let index = 0; index < 4; index += 1) await assertPublished(bench, wal, index);
});

test("of a backlog that goes on, only what no memory was left for is read back from the log", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const { memory } = bench;
  const waiting: (() => void)[] = [];
  let reads = 0;
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      if (key.startsWith("wal_005/"))
        await new Promise<void>((resolve) => {
          waiting.push(resolve);
          signal.addEventListener("abort", () => resolve());
        });
      return memory.create(key, body, signal);
    },
    get: async (key, ...rest) => {
      if (key.startsWith("tail_v1/log/")) reads += 1; // a slot each, as `fill` makes one of every segment
      return memory.get(key, ...rest);
    },
  });
  await using owner = await bench.found(wal);
  const [lanes, kept, unkept, rounds] = [3, 64, 10, 40];
  await fill(owner, wal, lanes);
  await until(() => waiting.length === lanes);
  await fill(owner, wal, kept + unkept);
  for (let round = 1; round <= rounds; round += 1) {
    waiting.shift()!();
    await until(() => waiting.length === lanes);
    assert.equal(published(bench).length, round);
    await fill(owner, wal, 1);
  }
  assert.equal(reads, 0);
  const all = lanes + kept + unkept + rounds;
  const paying = setInterval(() => waiting.shift()?.());
  await owner.whenAllPublished(t.signal);
  clearInterval(paying);
  assert.equal(reads, unkept);
  for (let index = 0; index < all; index += 1) await assertPublished(bench, wal, index);
});

test("a history waits for every segment before it, and the child's segments wait for the history", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const { memory } = bench;
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  bench.store = overriding(memory, {
    create: async (key, body, signal) => {
      if (key === keyOf(0)) await gate.promise;
      const outcome = await memory.create(key, body, signal);
      if (key.startsWith("wal_005/")) order.push(key.slice(8));
      return outcome;
    },
  });
  await using owner = await bench.found(wal);
  await fill(owner, wal, 2);
  wal.record();
  await append(owner, wal);
  await owner.flush();
  await owner.history(promotionAt(wal.end));
  const child = wal.fork(2);
  child.record();
  child.switch();
  await append(owner, child);
  await owner.flush();
  await until(() => order.length === 1);
  for (let turn = 0; turn < 50; turn += 1) await nextTurn();
  assert.deepEqual(order, [nameOf(1)]);
  gate.resolve();
  await owner.whenAllPublished(t.signal);
  assert.deepEqual(order, [
    nameOf(1),
    nameOf(0),
    `${nameOf(2)}.partial`,
    "00000002.history",
    "000000020000000000000012",
  ]);
});

test("published stays within what is accepted, and whole below every base, wherever an owner dies", async (t) => {
  const seed = drawSeed();
  t.diagnostic(`seed ${seed}`);
  const random = makeRandom(seed);
  for (let life = 0; life < 6; life += 1) {
    const bench = new LogBench({ signal: t.signal });
    const wal = bench.wal();
    const { memory } = bench;
    const checkBase = (): void => assertWholeBelowBases(bench, wal.start);
    bench.store = overriding(memory, {
      create: async (key, body, signal) => {
        for (let turn = below(random, 12); turn > 0; turn -= 1) await nextTurn();
        const outcome = await memory.create(key, body, signal);
        if (key.startsWith("tail_v1/base/")) checkBase();
        if (key.startsWith("wal_005/") && random() < 0.2)
          throw new StoreError("unknown", "the answer was lost");
        return outcome;
      },
    });
    const options = { baseDue: { slots: 3, bytes: 1 << 20 } };
    const dying = await bench.found(wal, options);
    const work = fill(dying, wal, 8).catch(() => undefined);
    for (let turn = below(random, 200); turn > 0; turn -= 1) await nextTurn();
    await dying.close();
    await work;
    await using next = bench.owner(await bench.takeOver(), options);
    await next.begin({ kind: "continue" });
    const { end } = next.view.tip!;
    await next.whenAllPublished(t.signal);
    const whole = Number((end - wal.start) / MIB);
    assert.equal(published(bench).length, whole, `life ${life}`);
    for (let index = 0; index < whole; index += 1) await assertPublished(bench, wal, index);
    checkBase();
  }
});

/** D1: all that a base says is published stands in wal_005. */
function assertWholeBelowBases(bench: LogBench, start: Lsn): void {
  const there = new Set(published(bench));
  for (const key of bench.keys("tail_v1/base/")) {
    const text = Buffer.from(bench.memory.objects.get(key)!.bytes).toString("latin1");
    const [, high, low] = /"published":"([0-9A-F]+)\/([0-9A-F]+)"/.exec(text)!;
    const until = (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
    for (let at = start as bigint; at < until; at += MIB)
      assert.ok(there.has(nameOf(Number((at - start) / MIB))), `${key} says that ${at} is published`);
  }
}
