// Three real nodes: kills, pauses, cuts, hand-overs; with a client's own book of what was acknowledged.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../support/image.ts";
import { openCluster, underLoad } from "../support/cluster-trial.ts";

/** A machine of two cores that runs everything at once is given this much more than the targets. */
const BUSY = Number(process.env["HOLDFAST_BUSY"] ?? 4);

const NAMES = ["n1", "n2", "n3"];

test("a killed primary is replaced in seconds and comes back by itself", async (t) => {
  const cluster = await openCluster(t, NAMES);
  const old = await cluster.whole(120_000);
  const ledger = await underLoad(t, cluster);
  const begun = performance.now();
  await cluster.get(old).kill();
  const heir = await cluster.leads(120_000, old);
  await sleep(2_000);
  const gapMs = ledger.longestGapMs(begun - 500);
  t.diagnostic(`killed ${old}: ${heir} leads, longest gap ${Math.round(gapMs)} ms`);
  assert.ok(gapMs <= 5_000 * BUSY, `gap ${gapMs} ms`);
  await cluster.get(old).start();
  assert.equal(await cluster.whole(120_000), heir);
  await ledger.stop();
  const lost = await ledger.lost(await cluster.get(heir).address());
  const ageMs = lost.length === 0 ? 0 : begun + 1_500 - lost[0]!.ackMs;
  assert.ok(ageMs < 3_000, `${lost.length} rows lost, the oldest ${ageMs} ms old`);
  const archive = await cluster.verify(heir);
  assert.ok(archive.isSound, archive.text);
});

test("a pause of 5 s changes nothing", async (t) => {
  const cluster = await openCluster(t, NAMES);
  const primary = await cluster.whole(120_000);
  const ledger = await underLoad(t, cluster);
  await cluster.get(primary).pause();
  await sleep(5_000);
  await cluster.get(primary).resume();
  await sleep(4_000);
  assert.equal(await cluster.whole(120_000), primary);
  await ledger.stop();
  assert.deepEqual(await ledger.lost(await cluster.get(primary).address()), []);
  for (const { name, node } of cluster.nodes)
    assert.doesNotMatch(await node.log(), /gate begun/, `${name} began the gate`);
});

test("a hand-over on command, and on docker stop, loses nothing", async (t) => {
  const cluster = await openCluster(t, NAMES);
  const first = await cluster.whole(120_000);
  const ledger = await underLoad(t, cluster);
  let begun = performance.now();
  const ran = await cluster.others(first)[0]!.node.exec("holdfast", "cluster", "switchover");
  assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  const second = await cluster.whole(120_000);
  assert.notEqual(second, first);
  const commandGapMs = ledger.longestGapMs(begun);
  begun = performance.now();
  assert.equal(await cluster.get(second).stop(), 0);
  const third = await cluster.leads(120_000, second);
  await sleep(1_000);
  const stopGapMs = ledger.longestGapMs(begun);
  t.diagnostic(
    `switchover: gap ${Math.round(commandGapMs)} ms; docker stop: gap ${Math.round(stopGapMs)} ms`,
  );
  assert.ok(commandGapMs <= 5_000 * BUSY && stopGapMs <= 5_000 * BUSY);
  await cluster.get(second).start();
  assert.equal(await cluster.whole(120_000), third);
  await ledger.stop();
  assert.deepEqual(await ledger.lost(await cluster.get(third).address()), []);
});

test("a primary that is cut off acknowledges nothing after the other one accepts", async (t) => {
  const cluster = await openCluster(t, NAMES);
  const old = await cluster.whole(120_000);
  const ledger = await underLoad(t, cluster);
  await cluster.sql(old, "create database app");
  await sleep(1_500);
  // A client in the old primary's own namespace, on Postgres's own port, free of read-only defaults, in two databases.
  const inner = cluster.get(old).shell(
    `export PGOPTIONS="-c default_transaction_read_only=off"; last=0
     write() { timeout 3 psql -h /run/postgresql -p 5433 -U postgres -d "$1" -XAtq -v ON_ERROR_STOP=1 \
       -c "set default_transaction_read_only = off" -c "create table if not exists inside (at timestamptz default now())" \
       -c "insert into inside default values" > /dev/null 2>&1; }
     while [ ! -e /tmp/over ]; do for db in postgres app; do write $db && last=$(date +%s%3N); done; done; echo $last`,
  );
  await sleep(3_000);
  const begunMs = performance.now();
  await cluster.cut(old);
  const heir = await cluster.leads(120_000, old);
  // Long enough for a late acknowledgement to show.
  await sleep(3_000);
  const gapMs = ledger.longestGapMs(begunMs);
  await cluster.get(old).shell("touch /tmp/over");
  const lastAckMs = Number((await inner).stdout.trim()) - performance.timeOrigin;
  const openedMs = await cluster.openedMs(heir, begunMs);
  assert.ok(openedMs !== null, "the heir's log says when its doors opened");
  t.diagnostic(
    `cut ${old}: last acknowledgement inside ${Math.round(lastAckMs - begunMs)} ms, ${heir} accepts ${Math.round(openedMs - begunMs)} ms after the cut; longest gap ${Math.round(gapMs)} ms`,
  );
  assert.ok(lastAckMs > begunMs - 3_000, "the client inside was served before the cut");
  assert.ok(lastAckMs <= openedMs, `acknowledged ${lastAckMs - openedMs} ms after ${heir} opened its doors`);
  await cluster.heal(old);
  assert.equal(await cluster.whole(120_000), heir);
  await ledger.stop();
  const rows = "select count(*), coalesce(max(at)::text, '') from inside";
  await until(
    async () => (await cluster.sql(old, rows, 5434)) === (await cluster.sql(heir, rows)),
    60_000,
    "one history on both sides",
  );
});
