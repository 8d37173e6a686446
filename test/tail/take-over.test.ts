import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../src/base/clock.ts";
import { type ObjectInfo, type ObjectStore, StoreError } from "../../src/storage/object-store.ts";
import { ForeignLogError, LogUseError } from "../../src/tail/errors.ts";
import { BASE_PREFIX, IDENTITY_KEY, LOG_PREFIX, slotKey } from "../../src/tail/keys.ts";
import type { LogView } from "../../src/tail/read.ts";
import { decodeObject } from "../../src/tail/slot.ts";
import { TakeOverRefusedError } from "../../src/tail/take-over.ts";
import { LogBench, append, overriding } from "../support/log-bench.ts";

/** A clock that waits for nothing and remembers for how long it was asked to. */
const hasty = (waits: number[]): Clock => ({
  now: () => 0,
  monotonicMs: () => 0,
  sleep: async (ms, signal) => {
    waits.push(ms);
    signal?.throwIfAborted();
  },
});

test("an empty store: cluster.json, a fence at 0, data from 16", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const claim = await bench.takeOver({ purpose: "restore" });
  assert.equal(claim.epoch, 0);
  assert.equal(claim.view.firstFree, 16);
  assert.equal(claim.before, null);
  assert.deepEqual(bench.keys("tail_v1/"), [IDENTITY_KEY, slotKey(0)]);
  const { header } = decodeObject("fence", bench.memory.objects.get(slotKey(0))!.bytes);
  assert.equal(header.kind === "fence" && header.purpose, "restore");
});

test("the second taker fences behind the first, and says who owned the log", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await bench.takeOver({ node: "first" });
  const claim = await bench.takeOver({ node: "second" });
  assert.equal(claim.epoch, 16);
  assert.equal(claim.before?.node, "first");
  assert.notEqual(claim.token, claim.before?.token);
});

test("an outcome that is unknown is never taken for success: the same bytes again (X4)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const sent: Buffer[] = [];
  bench.store = overriding(bench.memory, {
    create: async (key, body, signal) => {
      if (key.startsWith(LOG_PREFIX)) {
        sent.push(Buffer.from(body));
        if (sent.length < 4)
          throw new StoreError("unknown", "no answer", { status: sent.length === 2 ? 409 : 503 });
      }
      return bench.memory.create(key, body, signal);
    },
  });
  const waits: number[] = [];
  const claim = await bench.takeOver({ clock: hasty(waits) });
  assert.equal(claim.epoch, 0);
  assert.equal(sent.length, 4);
  assert.ok(sent.every((bytes) => bytes.equals(sent[0]!)));
  assert.deepEqual(waits, [50, 100, 200]);
});

test("a lost reply: the fence is there and ours, 412 and a look tell so", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  let isLost = true;
  bench.store = overriding(bench.memory, {
    create: async (key, body, signal) => {
      const outcome = await bench.memory.create(key, body, signal);
      if (!key.startsWith(LOG_PREFIX) || !isLost) return outcome;
      isLost = false;
      throw new StoreError("unknown", "no answer");
    },
  });
  const claim = await bench.takeOver({ clock: hasty([]) });
  assert.equal(claim.epoch, 0);
  assert.deepEqual(bench.keys(LOG_PREFIX), [slotKey(0)]);
});

test("a plain refusal is repeated slowly and aloud, until it is over", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  let refusals = 2;
  bench.store = overriding(bench.memory, {
    create: async (key, body, signal) => {
      if (key.startsWith(LOG_PREFIX) && refusals > 0) {
        refusals -= 1;
        throw new StoreError("refused", "forbidden", { status: 403 });
      }
      return bench.memory.create(key, body, signal);
    },
  });
  const waits: number[] = [];
  await bench.takeOver({ clock: hasty(waits) });
  assert.deepEqual(waits, [1_000, 2_000]);
});

test("a rival's fence at the same position: read again and fence behind it", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  let isRival = true;
  bench.store = overriding(bench.memory, {
    create: async (key, body, signal) => {
      if (key === slotKey(0) && isRival) {
        isRival = false;
        const rival = new LogBench({ signal });
        Object.assign(rival, { memory: bench.memory, store: bench.memory });
        await rival.takeOver({ node: "rival", drawToken: () => "f".repeat(32) });
      }
      return bench.memory.create(key, body, signal);
    },
  });
  const claim = await bench.takeOver();
  assert.equal(claim.epoch, 16);
  assert.equal(claim.before?.node, "rival");
});

test("whoever left this taker's history behind meanwhile is not disturbed by a fence (T7)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  let rivals = 0;
  bench.store = overriding(bench.memory, {
    create: async (key, body, signal) => {
      if (key === slotKey(0) && rivals === 0) {
        rivals += 1;
        bench.store = bench.memory;
        await bench.takeOver({ node: "rival" });
      }
      return bench.memory.create(key, body, signal);
    },
  });
  const objection = (view: LogView): string | null =>
    view.owner?.node === "rival" ? "the log is the rival's" : null;
  await assert.rejects(bench.takeOver({ node: "late", objection }), TakeOverRefusedError);
  assert.deepEqual(bench.keys(LOG_PREFIX), [slotKey(0)]);
});

test("a fence on a freed key counts for nothing: the base above it says so (T3, X2)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const owner = await bench.found(wal);
  let isHeld = true;
  bench.store = overriding(bench.memory, {
    create: async (key, body, signal) => {
      if (key === slotKey(16) && isHeld) {
        // The taker has read "16 is free" and stands still. The owner writes there, makes a base above it and deletes it.
        isHeld = false;
        wal.record();
        await append(owner, wal);
        await owner.stop(1_000);
        assert.deepEqual(bench.keys(LOG_PREFIX), [slotKey(0)]);
      }
      return bench.memory.create(key, body, signal);
    },
  });
  const claim = await bench.takeOver({ node: "late" });
  assert.equal(claim.epoch, 17);
  assert.equal(claim.view.tip?.end, wal.end);
  assert.deepEqual(bench.keys(LOG_PREFIX), [slotKey(0), slotKey(16), slotKey(17)]);
  assert.equal((await bench.read()).owner?.node, "late");
});

test("ended at any instant, a takeover costs the next one nothing but a fence (T5)", async (t) => {
  for (let requests = 1; requests < 12; requests += 1) {
    const bench = new LogBench({ signal: t.signal });
    const stop = new AbortController();
    let left = requests;
    const count = async <T>(work: () => Promise<T>): Promise<T> => {
      const result = await work();
      left -= 1;
      if (left === 0) stop.abort(new Error("killed"));
      return result;
    };
    bench.store = overriding(bench.memory, {
      get: (...args) => count(() => bench.memory.get(...args)),
      create: (...args) => count(() => bench.memory.create(...args)),
      list: async function* list(...args: Parameters<ObjectStore["list"]>) {
        const found = await count(async () => {
          const all: ObjectInfo[] = [];
          for await (const each of bench.memory.list(...args)) all.push(each);
          return all;
        });
        yield* found;
      },
    });
    await bench.takeOver({ signal: stop.signal }).catch(() => undefined);
    bench.store = bench.memory;
    const claim = await bench.takeOver({ node: "next" });
    assert.ok(claim.epoch === 0 || claim.epoch === 16, String(claim.epoch));
  }
});

test("another system's prefix is not taken over", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await bench.takeOver();
  const identity = { ...bench.identity, systemId: 8n };
  await assert.rejects(bench.takeOver({ identity }), ForeignLogError);
  assert.deepEqual(bench.keys(LOG_PREFIX), [slotKey(0)]);
});

test("a log written without conditional writes is not taken over with them, nor the reverse", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await bench.takeOver({ fencing: "none" });
  await assert.rejects(
    bench.takeOver(),
    (error) =>
      error instanceof LogUseError &&
      /store without conditional writes, this store has them/.test(error.message),
  );
  const other = new LogBench({ signal: t.signal });
  await other.takeOver();
  await assert.rejects(other.takeOver({ fencing: "none" }), /this store has none/);
});

test("a takeover lists four times: bases, slots, bases, and bases again", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await bench.takeOver();
  const lists: string[] = [];
  bench.store = overriding(bench.memory, {
    list: (prefix, signal, options) => (lists.push(prefix), bench.memory.list(prefix, signal, options)),
  });
  await bench.takeOver();
  assert.deepEqual(lists, [BASE_PREFIX, LOG_PREFIX, BASE_PREFIX, BASE_PREFIX]);
});
