import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { type ObjectStore, StoreError } from "../../src/storage/object-store.ts";
import { FencedError, LogUseError } from "../../src/tail/errors.ts";
import { slotKey } from "../../src/tail/keys.ts";
import { type QueueOptions, type SlotContent, SlotQueue } from "../../src/tail/slot-queue.ts";
import { addBytes, lsnOf } from "../../src/wal/lsn.ts";
import { LogBench, PLAIN, overriding } from "../support/log-bench.ts";

const START = lsnOf(0x1000000n);
const CHUNK = 100;

/** The nth slot of 100 bytes. */
const chunk = (n: number): readonly [SlotContent, Uint8Array] => [
  {
    kind: "data",
    timeline: 1,
    start: addBytes(START, n * CHUNK),
    end: addBytes(START, (n + 1) * CHUNK),
    newestCommit: null,
  },
  Buffer.alloc(CHUNK, n + 1),
];

/** A store whose creates wait until they are let go, one by one, by name. */
class HeldStore {
  readonly waiting = new Map<string, ((outcome: "go" | StoreError) => void)[]>();
  readonly asked: string[] = [];
  readonly store: ObjectStore;

  constructor(inner: ObjectStore) {
    this.store = overriding(inner, {
      create: async (key, body, signal) => {
        this.asked.push(key);
        const outcome = await new Promise<"go" | StoreError>((resolve) => {
          this.waiting.set(key, [...(this.waiting.get(key) ?? []), resolve]);
        });
        if (outcome !== "go") throw outcome;
        return inner.create(key, body, signal);
      },
    });
  }

  async answer(key: string, outcome: "go" | StoreError = "go"): Promise<void> {
    while ((this.waiting.get(key) ?? []).length === 0) await turn();
    this.waiting.get(key)!.shift()!(outcome);
    await turn();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

async function held(
  signal: AbortSignal,
  options: Partial<QueueOptions> = {},
): Promise<{ bench: LogBench; hold: HeldStore; queue: SlotQueue; settled: number[] }> {
  const bench = new LogBench({ signal });
  const claim = await bench.takeOver();
  const hold = new HeldStore(bench.memory);
  const settled: number[] = [];
  const queue = new SlotQueue({
    claim,
    store: hold.store,
    codec: PLAIN,
    clock: systemClock,
    log: silentLog,
    signal,
    random: () => 0,
    inFlight: 16,
    hedge: false,
    onSettled: ({ header }) => settled.push(header.seq),
    ...options,
  });
  return { bench, hold, queue, settled };
}

test("positions are given in order behind the dead zone (W1)", async (t) => {
  const { queue } = await held(t.signal);
  assert.deepEqual(
    [0, 1, 2].map((n) => queue.submit(...chunk(n))),
    [16, 17, 18],
  );
});

test("at most `inFlight` positions from the first unsettled one on are ever attempted (W1)", async (t) => {
  const { queue, hold } = await held(t.signal, { inFlight: 3 });
  for (let n = 0; n < 8; n += 1) queue.submit(...chunk(n));
  await turn();
  assert.deepEqual(
    hold.asked,
    [16, 17, 18].map((seq) => slotKey(seq)),
  );
  assert.equal(queue.hasRoom, false);
  await hold.answer(slotKey(17));
  await hold.answer(slotKey(18));
  assert.equal(hold.asked.length, 3); // 16 is not settled: the window has not moved
  await hold.answer(slotKey(16));
  assert.deepEqual(
    hold.asked.slice(3),
    [19, 20, 21].map((seq) => slotKey(seq)),
  );
});

test("settled is the gap-free run, never past a hole (W3, X9)", async (t) => {
  const { queue, hold, settled } = await held(t.signal);
  for (let n = 0; n < 3; n += 1) queue.submit(...chunk(n));
  await hold.answer(slotKey(18));
  await hold.answer(slotKey(17));
  assert.deepEqual(settled, []);
  assert.equal(queue.settled.firstFree, 16);
  await hold.answer(slotKey(16));
  assert.deepEqual(settled, [16, 17, 18]);
  assert.equal(queue.settled.tip?.end, addBytes(START, 300));
  assert.equal(queue.unsettledBytes, 0);
});

test("an unknown outcome, 409 included, is repeated with the same bytes (W2, W4)", async (t) => {
  const { queue, hold, bench } = await held(t.signal);
  const seq = queue.submit(...chunk(0));
  await hold.answer(slotKey(seq), new StoreError("unknown", "conflict", { status: 409 }));
  assert.equal(queue.trouble?.kind, "unknown");
  await hold.answer(slotKey(seq), new StoreError("unknown", "no answer"));
  await hold.answer(slotKey(seq));
  await queue.whenSettled(seq, t.signal);
  assert.equal(queue.trouble, null);
  assert.equal(bench.memory.objects.size, 3);
});

test("exists with our own header is an earlier attempt of ours: settled (X6)", async (t) => {
  const { queue, hold, bench } = await held(t.signal);
  const seq = queue.submit(...chunk(0));
  // The first attempt reaches the store, its reply is lost, the second finds it there.
  const { create } = bench.memory;
  let sent: Uint8Array | null = null;
  bench.memory.create = (key, body, signal) => {
    sent ??= body;
    return create.call(bench.memory, key, body, signal);
  };
  hold.answer(slotKey(seq)).catch(() => undefined);
  await queue.whenSettled(seq, t.signal);
  const again = await held(t.signal);
  await again.bench.memory.put(slotKey(16), sent!, t.signal);
  again.queue.submit(...chunk(0));
  await again.hold.answer(slotKey(16));
  await again.queue.whenSettled(16, t.signal);
});

test("exists with another header is a lost race, for good (T7, X7)", async (t) => {
  const { queue, hold, bench } = await held(t.signal);
  queue.submit(...chunk(0));
  await bench.takeOver({ node: "winner" });
  await hold.answer(slotKey(16));
  await assert.rejects(
    queue.whenSettled(16, t.signal),
    (error) => error instanceof FencedError && /00016" holds a fence of node "winner"/.test(error.message),
  );
  assert.equal(queue.lost.aborted, true);
  assert.throws(() => queue.submit(...chunk(1)), FencedError);
});

test("exists and then absent is a lost race too: the key was freed by someone", async (t) => {
  const { queue, hold, bench } = await held(t.signal);
  queue.submit(...chunk(0));
  bench.memory.create = async () => "exists";
  await hold.answer(slotKey(16));
  await assert.rejects(queue.whenSettled(16, t.signal), /was taken and is gone/);
});

test("a get that fails leaves the slot unsettled, and is repeated", async (t) => {
  const { queue, hold, bench } = await held(t.signal);
  queue.submit(...chunk(0));
  await bench.takeOver({ node: "winner" });
  const { get } = bench.memory;
  let failures = 2;
  bench.memory.get = async (...args) => {
    failures -= 1;
    if (failures >= 0) throw new StoreError("unknown", "no answer");
    return get.apply(bench.memory, args);
  };
  await hold.answer(slotKey(16));
  await assert.rejects(queue.whenSettled(16, t.signal), FencedError);
  assert.equal(failures, -1);
});

test("a slot against the rules never leaves: it is refused when it is submitted", async (t) => {
  const { queue, hold } = await held(t.signal);
  queue.submit(...chunk(0));
  assert.throws(
    () => queue.submit(...chunk(2)),
    (error) => error instanceof LogUseError && /slot 17 is refused/.test(error.message),
  );
  await turn();
  assert.equal(hold.asked.length, 1);
});

test("a slow PUT is sent a second time, and the first clear answer counts", async (t) => {
  const { queue, hold } = await held(t.signal, { hedge: true });
  for (let n = 0; n < 20; n += 1) {
    queue.submit(...chunk(n));
    await hold.answer(slotKey(16 + n));
  }
  await queue.whenSettled(35, t.signal);
  queue.submit(...chunk(20));
  while (hold.asked.filter((key) => key === slotKey(36)).length < 2) await systemClock.sleep(2);
  hold.waiting.get(slotKey(36))![1]!("go");
  await queue.whenSettled(36, t.signal);
  assert.equal(hold.asked.filter((key) => key === slotKey(36)).length, 2);
});

test("when the caller's signal aborts, who waits is told", async (t) => {
  const { queue } = await held(t.signal);
  queue.submit(...chunk(0));
  await assert.rejects(queue.whenSettled(16, AbortSignal.timeout(5)), { name: "TimeoutError" });
  assert.equal(queue.lost.aborted, false);
});
