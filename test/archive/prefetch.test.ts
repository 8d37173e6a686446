// Looking ahead of recovery: what is there is a rename, what is not is asked for in the ordinary way.

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type TestContext, test } from "node:test";
import { Prefetch } from "../../src/archive/prefetch.ts";
import { silentLog } from "../../src/base/log.ts";
import { nextSegment, type Segment } from "../../src/wal/segment-name.ts";

const BYTES = 1 << 20;
const segment = (number: number): Segment => ({ timeline: 1, number: BigInt(number) });

interface Bench {
  readonly prefetch: Prefetch;
  readonly spool: string;
  readonly asked: number[];
  readonly end: AbortController;
}

/** Segments up to `last` exist; each takes `delayMs`. */
async function bench(t: TestContext, last: number, delayMs = 0): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-prefetch-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const spool = join(folder, "prefetch");
  const asked: number[] = [];
  const end = new AbortController();
  const prefetch = new Prefetch({
    spool,
    segmentBytes: BYTES,
    fetch: async ({ number }, signal) => {
      asked.push(Number(number));
      if (delayMs > 0) await delay(delayMs, undefined, { signal });
      return Number(number) > last ? null : Buffer.alloc(16, Number(number));
    },
    next: nextSegment,
    signal: end.signal,
    log: silentLog,
  });
  return { prefetch, spool, asked, end };
}

test("what follows is fetched once and taken as a file; what lies behind is forgotten", async (t) => {
  const { prefetch, spool, asked } = await bench(t, 100);
  assert.equal(await prefetch.take(segment(1)), null);
  prefetch.after(segment(1));
  const path = await prefetch.take(segment(2));
  assert.ok(path !== null);
  assert.deepEqual(await readFile(path), Buffer.alloc(16, 2));
  await rename(path, `${spool}/../served`);
  prefetch.after(segment(2));
  prefetch.after(segment(3));
  await prefetch.take(segment(4));
  assert.deepEqual([...new Set(asked)], asked);
  await prefetch.clear();
  assert.deepEqual(await readdir(spool), ["000000010000000000000004"]); // taken: the caller's
});

test("a wait makes it look further ahead, within its limit", async (t) => {
  const { prefetch } = await bench(t, 10_000, 5);
  assert.equal(prefetch.depth, 2);
  for (let number = 1; number < 60; number += 1) {
    prefetch.after(segment(number));
    await prefetch.take(segment(number + 1));
  }
  assert.ok(prefetch.depth > 2);
  assert.ok(prefetch.depth <= 256);
  await prefetch.clear();
});

test("a segment that was not there yet is asked for again", async (t) => {
  const { prefetch, asked } = await bench(t, 1);
  prefetch.after(segment(1));
  assert.equal(await prefetch.take(segment(2)), null);
  await delay(20);
  prefetch.after(segment(1));
  await prefetch.take(segment(2));
  assert.equal(asked.filter((number) => number === 2).length, 2);
});

test("what an earlier life left in the spool is gone before the first file is put there", async (t) => {
  const { prefetch, spool } = await bench(t, 100);
  prefetch.after(segment(7));
  await prefetch.take(segment(8));
  await prefetch.clear();
  const second = new Prefetch({
    spool,
    segmentBytes: BYTES,
    fetch: async () => Buffer.alloc(4),
    next: nextSegment,
    signal: new AbortController().signal,
    log: silentLog,
  });
  second.after(segment(1));
  await second.take(segment(2));
  await second.take(segment(3));
  assert.deepEqual((await readdir(spool)).sort(), ["000000010000000000000002", "000000010000000000000003"]);
});

test("clearing while a fetch is under way leaves nothing behind", async (t) => {
  const { prefetch, spool, end } = await bench(t, 100, 20);
  prefetch.after(segment(1));
  await delay(5);
  await prefetch.clear();
  assert.deepEqual(await readdir(spool), []);
  end.abort();
  prefetch.after(segment(5));
  assert.equal(await prefetch.take(segment(6)), null);
});
