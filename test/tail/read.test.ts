import assert from "node:assert/strict";
import { test } from "node:test";
import { StoreError } from "../../src/storage/object-store.ts";
import { ForeignLogError, LogDamagedError } from "../../src/tail/errors.ts";
import { BASE_PREFIX, IDENTITY_KEY, LOG_PREFIX, baseKey, slotKey } from "../../src/tail/keys.ts";
import { loadBody } from "../../src/tail/live-slot.ts";
import { readLog } from "../../src/tail/read.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { LogBench, append, overriding } from "../support/log-bench.ts";
import type { WalBuilder } from "../support/wal-builder.ts";

/** A log of `slots` slots above its founder's base at 16. */
async function founded(signal: AbortSignal, slots = 3): Promise<{ bench: LogBench; wal: WalBuilder }> {
  const bench = new LogBench({ signal });
  const wal = bench.wal();
  await using owner = await bench.found(wal);
  for (let i = 0; i < slots; i += 1) {
    wal.record({ bytes: 100 });
    await append(owner, wal);
    await owner.flush();
  }
  return { bench, wal };
}

test("a store without a log reads as none", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  assert.equal(await readLog(bench.store, { cipher: noCipher, signal: t.signal }), null);
});

test("what was written is read", async (t) => {
  const { bench, wal } = await founded(t.signal);
  const view = await bench.read();
  assert.equal(view.firstFree, 19);
  assert.equal(view.tip?.end, wal.end);
  assert.equal(view.base?.header.seq, 16);
  const bodies = await Promise.all(
    view.slots.map((slot) => loadBody(slot, { ...bench, cipher: noCipher }, t.signal)),
  );
  assert.deepEqual(Buffer.concat(bodies), wal.bytes());
});

test("bodies that are not kept are fetched again when they are asked for", async (t) => {
  const { bench, wal } = await founded(t.signal);
  const view = await bench.read({ keepBytes: 0 });
  assert.ok(view.slots.every(({ sealedBody }) => sealedBody === null));
  const bodies = await Promise.all(
    view.slots.map((slot) => loadBody(slot, { ...bench, cipher: noCipher }, t.signal)),
  );
  assert.deepEqual(Buffer.concat(bodies), wal.bytes());
});

test("the order of the requests is the rule's: bases, slots with their gets, bases again (R1)", async (t) => {
  const { bench } = await founded(t.signal);
  const asked: string[] = [];
  const { memory } = bench;
  bench.store = overriding(memory, {
    list: (prefix: string, ...rest: [AbortSignal]) => (
      asked.push(`list ${prefix}`),
      memory.list(prefix, ...rest)
    ),
    get: (key: string, ...rest: [AbortSignal]) => (asked.push(`get ${key}`), memory.get(key, ...rest)),
  });
  await bench.read();
  assert.deepEqual(asked, [
    `get ${IDENTITY_KEY}`,
    `list ${BASE_PREFIX}`,
    `list ${LOG_PREFIX}`,
    ...[16, 17, 18].map((seq) => `get ${slotKey(seq)}`),
    `list ${BASE_PREFIX}`,
    `get ${baseKey(16)}`,
  ]);
});

test("with an earlier view only new slots are fetched", async (t) => {
  const { bench } = await founded(t.signal);
  const known = await bench.read();
  const asked: string[] = [];
  const { memory } = bench;
  bench.store = overriding(memory, {
    get: (key: string, ...rest: [AbortSignal]) => (asked.push(key), memory.get(key, ...rest)),
  });
  const again = await bench.read({ known, identity: bench.identity });
  assert.deepEqual(asked, []);
  assert.deepEqual(again.tip, known.tip);
});

test("a base that moved while the slots were read is started from (X8)", async (t) => {
  const { bench, wal } = await founded(t.signal);
  const { memory } = bench;
  let lists = 0;
  bench.store = overriding(memory, {
    list: async function* list(prefix: string, signal: AbortSignal, options?: { after?: string }) {
      lists += 1;
      if (lists === 3) {
        // Between the slots and the second look: another owner makes a base and deletes what lies below.
        bench.store = memory;
        const owner = bench.owner(await bench.takeOver());
        await owner.begin({ kind: "continue" });
        await owner.stop(1_000);
      }
      yield* memory.list(prefix, signal, options);
    },
  });
  const view = await bench.read();
  assert.equal(view.base?.header.seq, 35);
  assert.equal(view.tip?.end, wal.end);
});

test("a base that is gone at the get is looked for again", async (t) => {
  const { bench, wal } = await founded(t.signal);
  const { memory } = bench;
  let misses = 2;
  bench.store = overriding(memory, {
    get: async (key: string, signal: AbortSignal) => {
      if (key.startsWith(BASE_PREFIX) && misses > 0) {
        misses -= 1;
        return null;
      }
      return memory.get(key, signal);
    },
  });
  assert.equal((await bench.read()).tip?.end, wal.end);
});

test("a hole ends the run: what lies behind it is not accepted", async (t) => {
  const { bench } = await founded(t.signal);
  bench.memory.objects.delete(slotKey(17));
  assert.equal((await bench.read()).firstFree, 17);
});

test("rubbish in a dead zone is not looked at", async (t) => {
  const { bench, wal } = await founded(t.signal);
  await bench.takeOver();
  await bench.store.put(slotKey(22), Buffer.from("rubbish"), t.signal);
  const view = await bench.read();
  assert.equal(view.firstFree, 35);
  assert.equal(view.tip?.end, wal.end);
});

const DAMAGE: readonly { name: string; do: (bench: LogBench) => void; says: RegExp }[] = [
  {
    name: "slots without position 0 and without a base",
    do: ({ memory }) => {
      memory.objects.delete(baseKey(16));
      memory.objects.delete(slotKey(0));
    },
    says: /neither a base nor position 0/,
  },
  {
    name: "no cluster.json",
    do: ({ memory }) => void memory.objects.delete(IDENTITY_KEY),
    says: /no tail_v1\/cluster.json/,
  },
  {
    name: "rubbish on the run",
    do: ({ memory }) => set(memory, slotKey(17), Buffer.from("rubbish")),
    says: /00017" does not begin with HFTAIL01/,
  },
  {
    name: "a slot under another's name",
    do: ({ memory }) => set(memory, slotKey(18), memory.objects.get(slotKey(17))!.bytes),
    says: /00018" says that it is position 17/,
  },
  {
    name: "a body that was changed",
    do: ({ memory }) => flipLast(memory, slotKey(17)),
    says: /the body of object .*00017" is not what its header says/,
  },
  {
    name: "a base that was changed",
    do: ({ memory }) => set(memory, baseKey(16), memory.objects.get(slotKey(17))!.bytes),
    says: /is a data, not a base/,
  },
  {
    name: "a base under another's name",
    do: ({ memory }) => set(memory, baseKey(19), memory.objects.get(baseKey(16))!.bytes),
    says: /says that it is base 16/,
  },
];
for (const { name, do: damage, says } of DAMAGE) {
  test(`damage stops the reader: ${name}`, async (t) => {
    const { bench } = await founded(t.signal);
    damage(bench);
    await assert.rejects(
      bench.read(),
      (error) => error instanceof LogDamagedError && says.test(error.message),
    );
  });
}

test("another system's log is foreign", async (t) => {
  const { bench } = await founded(t.signal);
  const identity = { systemId: 9n, segmentBytes: 1 << 20 };
  await assert.rejects(bench.read({ identity }), ForeignLogError);
});

test("an answer that proves nothing is asked for again, then given up; a refusal at once", async (t) => {
  const { bench } = await founded(t.signal);
  const { memory } = bench;
  for (const { kind, tries } of [
    { kind: "unknown", tries: 3 },
    { kind: "refused", tries: 1 },
  ] as const) {
    let asked = 0;
    bench.store = overriding(memory, {
      get: () => {
        asked += 1;
        throw new StoreError(kind, "as told");
      },
    });
    const patience = { firstMs: 1, mostMs: 1, tries: 3 };
    await assert.rejects(
      bench.read({ patience }),
      (error) => error instanceof StoreError && error.kind === kind,
    );
    assert.equal(asked, tries);
  }
});

type Memory = LogBench["memory"];
const set = (memory: Memory, key: string, bytes: Uint8Array): void =>
  void memory.objects.set(key, { bytes, modifiedMs: 0 });

function flipLast(memory: Memory, key: string): void {
  const bytes = Buffer.from(memory.objects.get(key)!.bytes);
  bytes[bytes.length - 1]! ^= 1;
  set(memory, key, bytes);
}
