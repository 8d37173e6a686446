// A restore from end to end, and what may come in its way.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { ReplayError } from "../../src/recovery/replay-error.ts";
import { formatTime, parseRequest } from "../../src/recovery/target.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { FaultyStore, NO_FAULTS } from "../support/faulty-store.ts";
import { sourceOf } from "../support/archive-bench.ts";
import { type Life, Lives, rowsOf } from "../support/lives.ts";
import { makeRandom } from "../support/random.ts";
import { scratchFolder } from "../support/scratch-postgres.ts";

async function keysOf(store: ObjectStore, signal: AbortSignal): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key, etag } of store.list("", signal)) keys.push(`${key} ${etag}`);
  return keys;
}

/** A life with some rows in several segments, lost. */
async function lostLife(lives: Lives): Promise<{ readonly life: Life; readonly rows: number[] }> {
  const life = await lives.first();
  const rows: number[] = [];
  for (let row = 0; row < 40; row += 1) rows.push(await lives.insert(life, 100_000));
  await life.archiving.settle(life.server);
  await lives.lose(life);
  return { life, rows };
}

test("a time behind the last commit ends at the end, and that is no cut", async () => {
  await using lives = await Lives.open();
  const { life, rows } = await lostLife(lives);
  const time = formatTime(BigInt(Date.now()) * 1000n);
  const next = await lives.next(life.server, parseRequest({ time }));
  assert.deepEqual(await rowsOf(next), rows);
  assert.equal(next.cut, false);
  assert.equal(next.bench.starts, 2, "started once more without the target, which Postgres insists on");
});

test("the store goes away and the server is killed while it replays: it goes on where it was", async () => {
  const inner = await openStoreIn();
  await using things = inner.things;
  const store = new FaultyStore(inner.store, NO_FAULTS, { random: makeRandom(11), clock: systemClock });
  await using lives = await Lives.open(store);
  const { life, rows } = await lostLife(lives);
  let trouble: Promise<void> = Promise.resolve();
  const next = await lives.next(life.server, undefined, {
    on: (bench) => {
      trouble = (async () => {
        while (bench.server === null) await delay(20);
        store.reachable = false;
        await delay(1_500);
        store.reachable = true;
        await delay(300);
        await bench.kill();
      })();
    },
    more: { patience: { firstMs: 20, mostMs: 100, tries: 4 } },
  });
  await trouble;
  assert.deepEqual(await rowsOf(next), rows);
  assert.ok(next.bench.starts >= 2, `${next.bench.starts} starts`);
  assert.ok(things !== undefined);
});

test("a new cluster from another one's prefix, which is not touched; it archives and restores by itself", async () => {
  await using lives = await Lives.open();
  await using folder = await scratchFolder();
  const own = await openFolderStore(`${folder.path}/own`, { create: true });
  const { life, rows } = await lostLife(lives);
  const before = await keysOf(lives.store, lives.signal);
  const next = await lives.next(life.server, undefined, { own });
  assert.deepEqual(await keysOf(lives.store, lives.signal), before);
  assert.equal(next.promoted.isGenesis, true);
  assert.deepEqual(await rowsOf(next), rows);
  await using other = await Lives.open(own);
  await other.backUp(next);
  rows.push(await lives.insert(next));
  await next.archiving.settle(next.server);
  await lives.lose(next);
  const again = await other.next(next.server);
  assert.deepEqual(await rowsOf(again), rows);
  assert.deepEqual(await keysOf(lives.store, lives.signal), before);
});

test("while a primary lives the log is not fenced; when it is still the restore ends", async () => {
  await using lives = await Lives.open();
  const life = await lives.first();
  const rows = [await lives.insert(life)];
  await life.archiving.settle(life.server);
  let lastInsertMs = 0;
  const writing = (async () => {
    for (let round = 0; round < 25; round += 1) {
      rows.push(await lives.insert(life));
      lastInsertMs = Date.now();
      await delay(150);
    }
    await life.archiving.settle(life.server);
  })();
  const next = await lives.next(life.server, undefined, { more: { stillMs: 3_000 } });
  const fencedMs = Date.now();
  await writing;
  assert.ok(fencedMs > lastInsertMs, "fenced only after the last row");
  assert.deepEqual(await rowsOf(next), rows);
  // The old primary learns that it was fenced at its next slot (W9), and nothing of that counts.
  await life.server.psql("insert into rows values (-1)");
  assert.equal((await life.archiving.ended()).kind, "fenced");
  assert.deepEqual(await rowsOf(next), rows);
});

test("a target that must come and does not is an error, never a promotion", async () => {
  await using lives = await Lives.open();
  const { life } = await lostLife(lives);
  const source = await sourceOf(life.server, lives.store);
  await assert.rejects(
    lives.next(life.server, undefined, {
      change: { source, ending: "target", target: { kind: "name", name: "nowhere" } },
    }),
    (error) => error instanceof ReplayError && /the target was not met; the WAL ends at/.test(error.message),
  );
});

async function openStoreIn(): Promise<{
  readonly store: ObjectStore;
  readonly things: AsyncDisposableStack;
}> {
  const things = new AsyncDisposableStack();
  const folder = things.use(await scratchFolder());
  return { store: await openFolderStore(`${folder.path}/store`, { create: true }), things };
}
