// A founding that was given up: one outcome per system, and whoever succeeds it is disturbed by nothing that the former still sends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { readIdentity } from "../../src/tail/cluster-identity.ts";
import { FencedError, ForeignLogError, LogDamagedError } from "../../src/tail/errors.ts";
import { readFounding, settleFounding } from "../../src/tail/founding.ts";
import { slotKey } from "../../src/tail/keys.ts";
import { systemOfLog, takeOverAfter } from "../../src/tail/succession.ts";
import type { Claim, TakeOverOptions } from "../../src/tail/take-over.ts";
import { rootPath } from "../../src/wal/timeline-path.ts";
import { LogBench, SYSTEM_ID, append, overriding } from "../support/log-bench.ts";
import { MemoryStore } from "../support/memory-store.ts";

const NEXT_ID = SYSTEM_ID + 1n;
const next = (bench: LogBench, id = NEXT_ID): TakeOverOptions => ({
  identity: { ...bench.identity, systemId: id },
  purpose: "start",
  node: "next",
  fencing: "conditional",
  cipher: noCipher,
  clock: systemClock,
  log: silentLog,
  signal: bench.signal,
  random: () => 0,
});

test("an outcome is put once, and whoever comes later is told the one that stands", async (t) => {
  const store = new MemoryStore();
  assert.equal(await readFounding(store, 7n, t.signal), null);
  assert.equal(await settleFounding(store, 7n, "given-up", t.signal), "given-up");
  assert.equal(await settleFounding(store, 7n, "admitted", t.signal), "given-up");
  assert.equal(await settleFounding(store, 8n, "admitted", t.signal), "admitted");
  assert.equal(await readFounding(store, 8n, t.signal), "admitted");
  assert.deepEqual([...store.objects.keys()].sort(), ["tail_v1/founding/7.json", "tail_v1/founding/8.json"]);
});

test("an outcome that cannot be read is damage, never open", async (t) => {
  const store = new MemoryStore();
  for (const text of [
    "",
    "?",
    "null",
    '{"format":1,"outcome":"maybe"}',
    '{"format":2,"outcome":"admitted"}',
  ]) {
    await store.put("tail_v1/founding/7.json", Buffer.from(text), t.signal);
    await assert.rejects(readFounding(store, 7n, t.signal), LogDamagedError, text);
  }
});

/** A founder that got as far as some WAL in its log, and is slow or dead since. */
async function leftFounding(bench: LogBench) {
  const wal = bench.wal();
  wal.record();
  wal.record();
  wal.record();
  const owner = await bench.found(wal);
  await append(owner, wal);
  await owner.flush();
  return { wal, owner };
}

async function foundAbove(bench: LogBench, claim: Claim) {
  const owner = bench.owner(claim);
  const wal = bench.wal({ systemId: claim.identity.systemId, at: "1/100000" });
  await owner.begin({
    kind: "genesis",
    genesis: {
      timeline: 1,
      path: rootPath(1),
      promotion: "1".repeat(32),
      end: wal.start,
      lastTimeline: 1,
      histories: [],
    },
    openBytes: new Uint8Array(0),
  });
  return { owner, wal };
}

test("the successor's log begins above the former's, whose next slot fails", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const former = await leftFounding(bench);
  const end = former.owner.view.firstFree;
  await settleFounding(bench.store, SYSTEM_ID, "given-up", t.signal);
  const claim = await takeOverAfter(bench.store, SYSTEM_ID, next(bench));
  assert.equal(claim.epoch, end);
  assert.equal(claim.view.firstFree, end + 16);
  assert.equal(claim.view.tip, null);
  assert.equal((await readIdentity(bench.store, t.signal))?.systemId, NEXT_ID);

  const { owner, wal } = await foundAbove(bench, claim);
  wal.record();
  wal.record();
  await append(owner, wal);
  await owner.flush();
  former.wal.record();
  await append(former.owner, former.wal);
  await assert.rejects(former.owner.flush(), FencedError);
  // A PUT of the former that arrives only now lands where nobody reads.
  await bench.store.create(slotKey(end + 1), Buffer.from("late"), t.signal);
  wal.record();
  await append(owner, wal);
  await owner.flush();
  const view = await bench.read();
  assert.equal(view.identity.systemId, NEXT_ID);
  assert.equal(view.tip?.end, wal.end);
  assert.equal(await systemOfLog(bench.store, t.signal), NEXT_ID);
  await former.owner.close();
  await owner.close();
});

test("a restart of the successor is an ordinary takeover", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await (await leftFounding(bench)).owner.close();
  await settleFounding(bench.store, SYSTEM_ID, "given-up", t.signal);
  const { owner, wal } = await foundAbove(bench, await takeOverAfter(bench.store, SYSTEM_ID, next(bench)));
  wal.record();
  wal.record();
  await append(owner, wal);
  await owner.flush();
  await owner.close();
  const claim = await takeOverAfter(bench.store, SYSTEM_ID, next(bench));
  assert.equal(claim.view.tip?.end, wal.end);
});

test("of two successors one is refused, and the next one passes what both left", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await (await leftFounding(bench)).owner.close();
  await settleFounding(bench.store, SYSTEM_ID, "given-up", t.signal);
  // Killed between its fence and its first base: the log is still the first system's.
  await takeOverAfter(bench.store, SYSTEM_ID, next(bench));
  await assert.rejects(takeOverAfter(bench.store, SYSTEM_ID, next(bench, NEXT_ID + 1n)), ForeignLogError);
  await settleFounding(bench.store, NEXT_ID, "given-up", t.signal);
  const claim = await takeOverAfter(bench.store, NEXT_ID, next(bench, NEXT_ID + 1n));
  assert.equal(claim.view.tip, null);
  const { owner } = await foundAbove(bench, claim);
  assert.equal((await bench.read()).identity.systemId, NEXT_ID + 1n);
  await owner.close();
});

test("a log of a system that was not given up is never passed", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await (await leftFounding(bench)).owner.close();
  await assert.rejects(takeOverAfter(bench.store, SYSTEM_ID, next(bench)), ForeignLogError);
});

test("the claim is replaced only while it is the former's", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await (await leftFounding(bench)).owner.close();
  await settleFounding(bench.store, SYSTEM_ID, "given-up", t.signal);
  let isFirst = true;
  bench.store = overriding(bench.memory, {
    replace: async (key, body, etag, signal) => {
      if (isFirst) {
        isFirst = false;
        await takeOverAfter(bench.memory, SYSTEM_ID, next(bench, NEXT_ID + 5n));
      }
      return bench.memory.replace(key, body, etag, signal);
    },
  });
  await assert.rejects(takeOverAfter(bench.store, SYSTEM_ID, next(bench)), ForeignLogError);
  assert.equal((await readIdentity(bench.store, t.signal))?.systemId, NEXT_ID + 5n);
});
