// Lives one after another: written, lost in the middle of a segment, of a page, of a record, restored, written again. Every restore has the
// rows of all lives before it, and follows the newest timeline.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { parseRequest } from "../../src/recovery/target.ts";
import { formatLsn } from "../../src/wal/lsn.ts";
import { lastStep } from "../../src/wal/timeline-path.ts";
import { type Life, Lives, rowsOf } from "../support/lives.ts";

const ends: readonly {
  readonly name: string;
  readonly sampled: boolean;
  readonly write: (lives: Lives, life: Life) => Promise<void>;
}[] = [
  { name: "in the middle of a segment", sampled: false, write: async () => undefined },
  {
    name: "in the middle of a record",
    sampled: true,
    write: async (_lives, life) => {
      // Records of 3 MB over 1 MB segments: what is received ends at a page boundary inside one.
      void life.server
        .psql("select pg_logical_emit_message(false, 'x', repeat('y', 3000000)) from generate_series(1, 20)")
        .catch(() => undefined);
      await delay(250);
    },
  },
  {
    name: "on a segment's boundary",
    sampled: true,
    write: async (_lives, life) => {
      await life.server.psql("select pg_switch_wal()");
      await life.archiving.settle(life.server);
    },
  },
  {
    name: "in the middle of a page, right behind a commit",
    sampled: false,
    write: async (lives, life) => {
      await lives.insert(life, 5_000);
      await life.archiving.settle(life.server);
    },
  },
];

// The sample has the two ends that are hardest to get right, over two lives.
const isWhole = process.env["HOLDFAST_LONG"] !== undefined;
const rounds = isWhole ? [1, 2, 3] : [1, 2];

for (const { name, write, sampled } of ends) {
  if (!isWhole && !sampled) continue;
  test(`${rounds.length} lives, each lost ${name}`, async () => {
    await using lives = await Lives.open();
    let life: Life = await lives.first();
    const durable: number[] = [];
    for (const round of rounds) {
      for (let row = 0; row < 5; row += 1) durable.push(await lives.insert(life, row * 3_000));
      await life.archiving.settle(life.server);
      await write(lives, life);
      const { end } = await lives.lose(life);
      const next = await lives.next(life.server);
      const kept = await rowsOf(next);
      assert.deepEqual(
        durable.filter((id) => !kept.includes(id)),
        [],
        `round ${round}: log's end ${formatLsn(end)}, fork ${formatLsn(next.fork)}`,
      );
      assert.deepEqual(
        kept,
        kept.map((_, index) => kept[0]! + index),
        "no hole among the rows",
      );
      durable.splice(0, durable.length, ...kept);
      life = next;
    }
    assert.equal(lastStep(life.archiving.owner.view.tip!.path).timeline, rounds.length + 1);
  });
}

test("a restore to a point leaves the rest behind; the next one follows the newest timeline", async () => {
  await using lives = await Lives.open();
  const first = await lives.first();
  const kept = [await lives.insert(first), await lives.insert(first)];
  const lsn = await first.server.psql("select pg_current_wal_lsn()");
  const dropped = [await lives.insert(first), await lives.insert(first)];
  await first.server.psql("select pg_switch_wal()");
  await lives.insert(first);
  await first.archiving.settle(first.server);
  await lives.lose(first);
  const second = await lives.next(first.server, parseRequest({ lsn, inclusive: false }));
  assert.equal(second.cut, true);
  assert.deepEqual(await rowsOf(second), kept);
  kept.push(await lives.insert(second));
  await second.archiving.settle(second.server);
  await lives.lose(second);
  const third = await lives.next(first.server);
  assert.deepEqual(await rowsOf(third), kept);
  assert.equal(third.cut, false);
  await lives.lose(third);
  // The abandoned end is still there for whoever names its timeline.
  const fourth = await lives.next(first.server, parseRequest({ timeline: "1" }));
  assert.equal(fourth.cut, true);
  assert.deepEqual((await rowsOf(fourth)).slice(0, 4), [kept[0], kept[1], ...dropped]);
});
