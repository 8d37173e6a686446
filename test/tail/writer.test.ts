import assert from "node:assert/strict";
import { test } from "node:test";
import { HistoryRefusedError, LogUseError, WalDivergedError } from "../../src/tail/errors.ts";
import type { LiveSlot } from "../../src/tail/live-slot.ts";
import type { LogOwner } from "../../src/tail/owner.ts";
import type { DataHeader } from "../../src/tail/slot.ts";
import { addBytes, formatLsn, lsnOf, parseLsn } from "../../src/wal/lsn.ts";
import { LogBench, append, promotionAt } from "../support/log-bench.ts";
import type { WalBuilder } from "../support/wal-builder.ts";

/** Start and end of the data slots. */
const ranges = (slots: readonly LiveSlot[]): string[] =>
  slots
    .map(({ header }) => header)
    .filter((header): header is DataHeader => header.kind === "data")
    .map(({ start, end, timeline }) => `${timeline}: ${formatLsn(start)} ${formatLsn(end)}`);

async function begun(
  signal: AbortSignal,
  options: Parameters<LogBench["found"]>[1] = {},
): Promise<{ bench: LogBench; wal: WalBuilder; owner: LogOwner }> {
  const bench = new LogBench({ signal });
  const wal = bench.wal();
  return { bench, wal, owner: await bench.found(wal, options) };
}

test("what arrives within the interval becomes one slot", async (t) => {
  const { wal, owner } = await begun(t.signal, { flushMs: 60_000 });
  for (let i = 0; i < 10; i += 1) {
    wal.record();
    await append(owner, wal);
  }
  await owner.flush();
  assert.deepEqual(ranges(owner.view.slots), [`1: 0/1000000 ${formatLsn(wal.end)}`]);
});

test("without a flush the interval puts it", async (t) => {
  const { wal, owner } = await begun(t.signal, { flushMs: 5 });
  wal.record();
  await append(owner, wal);
  for await (const lsn of owner.positions(t.signal)) if (lsn === wal.end) break;
  assert.equal(owner.durable, wal.end);
});

test("no new WAL: no request at all (W9)", async (t) => {
  const { bench, wal, owner } = await begun(t.signal);
  wal.record();
  await append(owner, wal);
  await owner.flush();
  let requests = 0;
  for (const name of ["get", "create", "list", "head", "put"] as const) {
    const method = bench.memory[name].bind(bench.memory) as (...args: never[]) => unknown;
    Object.assign(bench.memory, { [name]: (...args: never[]) => ((requests += 1), method(...args)) });
  }
  await owner.append(lsnOf(wal.end - 8n), 1, wal.bytes(lsnOf(wal.end - 8n)));
  await new Promise((resolve) => void setTimeout(resolve, 30));
  assert.equal(requests, 0);
});

test("a slot lies within one segment and ends where a message ended or at a page's boundary (W5)", async (t) => {
  const { wal, owner } = await begun(t.signal, { flushMs: 60_000, slotBytes: 40_000 });
  wal.record({ bytes: 1_100_000 });
  for (let at = wal.start; at < wal.end;) {
    const to = lsnOf(at + 30_000n < wal.end ? at + 30_000n : wal.end);
    await owner.append(at, 1, wal.bytes(at, to));
    at = to;
  }
  await owner.append(wal.end, 1, new Uint8Array(0));
  await owner.flush();
  const slots = owner.view.slots.map(({ header }) => header).filter((header) => header.kind === "data");
  for (const { start, end, length } of slots) {
    assert.ok(length <= 40_000);
    assert.equal(start >> 20n, (end - 1n) >> 20n, "within one segment");
    const isMessage = (end - wal.start) % 30_000n === 0n || end === wal.end;
    assert.ok(isMessage || end % 8192n === 0n, formatLsn(end));
  }
  assert.equal(slots.at(-1)?.end, wal.end);
});

test("a message larger than a slot is cut at pages' boundaries", async (t) => {
  const { wal, owner } = await begun(t.signal, { flushMs: 60_000, slotBytes: 20_000 });
  wal.record({ bytes: 50_000 });
  const from = addBytes(wal.start, 100);
  await owner.append(wal.start, 1, wal.bytes(wal.start, from));
  await owner.append(from, 1, wal.bytes(from));
  await owner.flush();
  const ends = owner.view.slots.map(({ header }) => (header.kind === "data" ? header.end : 0n));
  assert.ok(ends.slice(0, -1).every((end) => end === from || end % 8192n === 0n));
});

test("bytes below the end are compared and dropped; other bytes are a divergence", async (t) => {
  const { wal, owner } = await begun(t.signal);
  wal.record({ bytes: 5_000 });
  await append(owner, wal);
  await owner.append(wal.start, 1, wal.bytes());
  await owner.append(addBytes(wal.start, 100), 1, wal.bytes(addBytes(wal.start, 100)));
  const other = wal.bytes();
  other[4_000]! ^= 1;
  await assert.rejects(owner.append(wal.start, 1, other), WalDivergedError);
  assert.equal(owner.end, wal.end);
});

test("a second source may hand over the segment that was just filled", async (t) => {
  const { wal, owner } = await begun(t.signal);
  wal.switch();
  wal.record();
  const next = lsnOf(wal.start + (1n << 20n));
  await owner.append(wal.start, 1, wal.bytes(wal.start, next)); // archive_command, from pg_wal
  await append(owner, wal);
  await owner.append(addBytes(next, -100), 1, wal.bytes(addBytes(next, -100), wal.end)); // the stream, behind it
  assert.equal(owner.end, wal.end);
});

test("WAL that leaves a hole or is of another timeline is refused", async (t) => {
  const { wal, owner } = await begun(t.signal);
  wal.record();
  await assert.rejects(owner.append(addBytes(wal.start, 8), 1, wal.bytes()), /the log goes on at 0\/1000000/);
  await assert.rejects(
    owner.append(wal.start, 2, wal.bytes()),
    /WAL of timeline 2 was handed over, the log is on 1/,
  );
});

test("append waits while too much is unsettled", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  const owner = await bench.found(wal, { queuedBytes: 10_000, slotBytes: 8_192 });
  const { create } = { create: bench.memory.create.bind(bench.memory) };
  const gate = Promise.withResolvers<void>();
  bench.memory.create = async (...args) => {
    await gate.promise;
    return create(...args);
  };
  wal.record({ bytes: 30_000 });
  await append(owner, wal);
  let isThrough = false;
  const from = wal.end;
  wal.record();
  const second = owner.append(from, 1, wal.bytes(from)).then(() => (isThrough = true));
  await new Promise((resolve) => void setTimeout(resolve, 20));
  assert.equal(isThrough, false);
  gate.resolve();
  await second;
});

test("a slot names the newest commit that ends in it", async (t) => {
  const { wal, owner } = await begun(t.signal, { flushMs: 60_000 });
  const time = Date.UTC(2026, 2, 3);
  for (const commits of [[time, time + 5], [], [time + 9]]) {
    wal.record();
    for (const at of commits) wal.commit(at);
    await append(owner, wal);
    await owner.flush();
  }
  const commits = owner.view.slots.map(({ header }) => (header.kind === "data" ? header.newestCommit : -1));
  assert.deepEqual(commits, [time + 5, null, time + 9]);
  assert.equal(owner.health.newestCommit, time + 9);
});

test("a promotion at the record's end is accepted, and the child's WAL goes on from its fork", async (t) => {
  const { wal, owner } = await begun(t.signal);
  wal.record();
  const fork = wal.end;
  wal.record({ bytes: 20_000 });
  await append(owner, wal, parseLsn("0/1002000")); // a page's boundary inside the second record
  await owner.history(promotionAt(fork));
  assert.equal(owner.end, fork);
  const child = wal.fork(2, fork);
  child.record({ bytes: 500 });
  await owner.append(owner.streamFrom, 2, child.bytes(owner.streamFrom));
  await owner.flush();
  assert.deepEqual(owner.view.tip?.end, child.end);
  assert.deepEqual(ranges(owner.view.slots).at(-1), `2: ${formatLsn(fork)} ${formatLsn(child.end)}`);
});

test("a fork several segments below the end (X21): the child's segment is read back and goes on", async (t) => {
  const { wal, owner, bench } = await begun(t.signal);
  wal.record();
  const fork = wal.end;
  wal.record({ bytes: 3 << 20 });
  await append(owner, wal, lsnOf(wal.start + (3n << 20n)));
  await owner.whenAllPublished(t.signal);
  assert.equal(owner.recordEnd, fork);
  await owner.history(promotionAt(fork));
  assert.equal(owner.streamFrom, wal.start);
  const child = wal.fork(2, fork);
  child.switch();
  child.record();
  await owner.append(owner.streamFrom, 2, child.bytes(owner.streamFrom));
  await owner.flush();
  await owner.whenAllPublished(t.signal);
  assert.deepEqual(bench.keys("wal_005/"), [
    ...[
      "wal_005/000000010000000000000010",
      "wal_005/000000010000000000000011",
      "wal_005/000000010000000000000012",
    ],
    ...["wal_005/00000002.history", "wal_005/000000020000000000000010"],
  ]);
});

const REFUSED: readonly {
  name: string;
  change: (end: bigint) => Parameters<LogOwner["history"]>[0];
  says: RegExp;
}[] = [
  {
    name: "a fork below the last record",
    change: (end) => promotionAt(lsnOf(end - 64n)),
    says: /forks at 0\/10000[0-9A-F]+, the last record of the log ends at/,
  },
  {
    name: "a fork beyond it",
    change: (end) => promotionAt(lsnOf(end + 64n)),
    says: /the last record of the log ends at/,
  },
  {
    name: "a number that is not above the accepted ones",
    change: (end) => promotionAt(lsnOf(end), { timeline: 1, parent: 1, body: Buffer.from("") }),
    says: /timeline 1 is not above 1/,
  },
  {
    name: "another parent",
    change: (end) => promotionAt(lsnOf(end), { timeline: 4, parent: 3 }),
    says: /timeline 4 leaves 3, the log is on 1/,
  },
  {
    name: "a broken file",
    change: (end) => promotionAt(lsnOf(end), { body: Buffer.from("9\t0/1\tx\n") }),
    says: /the history of timeline 2 is none/,
  },
];
for (const { name, change, says } of REFUSED) {
  test(`a history is refused before it is put: ${name} (L6)`, async (t) => {
    const { bench, wal, owner } = await begun(t.signal);
    wal.record();
    wal.record();
    await append(owner, wal);
    await owner.flush();
    const keys = bench.keys("tail_v1/");
    await assert.rejects(
      owner.history(change(wal.end)),
      (error) => error instanceof HistoryRefusedError && says.test(error.message),
    );
    assert.deepEqual(bench.keys("tail_v1/"), keys);
    assert.equal(owner.lost.aborted, false);
  });
}

test("with `cut` an earlier record's end is accepted", async (t) => {
  const { wal, owner } = await begun(t.signal);
  wal.record();
  const fork = wal.end;
  wal.record();
  await append(owner, wal);
  await owner.history(promotionAt(fork, { cut: true }));
  assert.equal(owner.view.tip?.end, fork);
});

test("a gap ends at a segment's start, and the log goes on behind it", async (t) => {
  const { wal, owner, bench } = await begun(t.signal);
  wal.record();
  await append(owner, wal);
  wal.switch();
  wal.switch();
  wal.record();
  await assert.rejects(
    owner.gap(addBytes(wal.start, 8192)),
    (error) => error instanceof LogUseError && /cannot end at/.test(error.message),
  );
  const to = lsnOf(wal.start + (2n << 20n));
  await owner.gap(to);
  assert.equal(owner.end, to);
  await append(owner, wal);
  await owner.flush();
  const view = await bench.read();
  assert.equal(view.tip?.end, wal.end);
  assert.deepEqual(
    view.slots.map(({ header }) => header.kind),
    ["data", "gap", "gap", "data"],
  );
});
