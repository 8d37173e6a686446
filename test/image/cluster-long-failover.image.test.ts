// Three real nodes: kills, pauses, cuts, hand-overs; with a client's own book of what was acknowledged.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench } from "../support/image.ts";
import { ClusterLedger } from "../support/cluster-ledger.ts";
import { ImageCluster } from "../support/image-cluster.ts";

/** A machine of two cores that runs everything at once is given this much more than the targets. */
const BUSY = Number(process.env["HOLDFAST_BUSY"] ?? 2);

const NAMES = ["n1", "n2", "n3"];

async function open(t: TestContext, env: Record<string, string> = {}): Promise<ImageCluster> {
  const bench = await Bench.open();
  t.after(() => bench[Symbol.asyncDispose]());
  return await ImageCluster.start(bench, NAMES, { env });
}

async function underLoad(t: TestContext, cluster: ImageCluster): Promise<ClusterLedger> {
  const hosts = await Promise.all(cluster.nodes.map(({ node }) => node.address()));
  await ClusterLedger.create(hosts[0]!);
  const ledger = new ClusterLedger(hosts);
  t.after(() => ledger.stop());
  ledger.start();
  await sleep(3_000);
  return ledger;
}

test("a killed primary is replaced in seconds and comes back by itself", async (t) => {
  const cluster = await open(t);
  const old = await cluster.whole(30_000);
  const ledger = await underLoad(t, cluster);
  const begun = performance.now();
  await cluster.get(old).kill();
  const heir = await cluster.leads(30_000, old);
  await sleep(2_000);
  const gapMs = ledger.longestGapMs(begun - 500);
  t.diagnostic(`killed ${old}: ${heir} leads, longest gap ${Math.round(gapMs)} ms`);
  assert.ok(gapMs <= 5_000 * BUSY, `gap ${gapMs} ms`);
  await cluster.get(old).start();
  assert.equal(await cluster.whole(60_000), heir);
  await ledger.stop();
  const lost = await ledger.lost(await cluster.get(heir).address());
  const ageMs = lost.length === 0 ? 0 : begun + 1_500 - lost[0]!.ackMs;
  assert.ok(ageMs < 3_000, `${lost.length} rows lost, the oldest ${ageMs} ms old`);
  const archive = await cluster.verify(heir);
  assert.ok(archive.isSound, archive.text);
});

test("a pause of 5 s changes nothing", async (t) => {
  const cluster = await open(t);
  const primary = await cluster.whole(30_000);
  const ledger = await underLoad(t, cluster);
  await cluster.get(primary).pause();
  await sleep(5_000);
  await cluster.get(primary).resume();
  await sleep(4_000);
  assert.equal(await cluster.whole(20_000), primary);
  await ledger.stop();
  assert.deepEqual(await ledger.lost(await cluster.get(primary).address()), []);
  for (const { name, node } of cluster.nodes)
    assert.doesNotMatch(await node.log(), /gate begun/, `${name} began the gate`);
});

test("a hand-over on command, and on docker stop, loses nothing", async (t) => {
  const cluster = await open(t);
  const first = await cluster.whole(30_000);
  const ledger = await underLoad(t, cluster);
  let begun = performance.now();
  const ran = await cluster.others(first)[0]!.node.exec("holdfast", "cluster", "switchover");
  assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  const second = await cluster.whole(30_000);
  assert.notEqual(second, first);
  const commandGapMs = ledger.longestGapMs(begun);
  begun = performance.now();
  assert.equal(await cluster.get(second).stop(), 0);
  const third = await cluster.leads(20_000, second);
  await sleep(1_000);
  const stopGapMs = ledger.longestGapMs(begun);
  t.diagnostic(
    `switchover: gap ${Math.round(commandGapMs)} ms; docker stop: gap ${Math.round(stopGapMs)} ms`,
  );
  assert.ok(commandGapMs <= 5_000 * BUSY && stopGapMs <= 5_000 * BUSY);
  await cluster.get(second).start();
  assert.equal(await cluster.whole(60_000), third);
  await ledger.stop();
  assert.deepEqual(await ledger.lost(await cluster.get(third).address()), []);
});

test("a primary that is cut off acknowledges nothing after the other one accepts", async (t) => {
  const cluster = await open(t);
  const old = await cluster.whole(30_000);
  const ledger = await underLoad(t, cluster);
  // A client in the old primary's own namespace, on Postgres's own port.
  const inner = cluster.get(old).shell(
    `end=$((SECONDS + 25)); last=0; while [ $SECONDS -lt $end ]; do
       timeout 2 psql -h /run/postgresql -p 5433 -U postgres -XAtqc "insert into ledger (id) values (1000000000 + (random() * 1e9)::bigint)" > /dev/null 2>&1 && last=$(date +%s%3N); done; echo $last`,
  );
  await sleep(2_000);
  const begun = performance.now();
  await cluster.cut(old);
  const others = cluster.others(old).map(({ name }) => name);
  const heir = await cluster.leads(40_000, old);
  const opened = /([\d:.TZ-]+) \S+ +doors: open/.exec(
    (await cluster.get(heir).log()).split("promoted").at(-1)!,
  );
  const lastAckMs = Number((await inner).stdout.trim());
  assert.ok(opened !== null, "the heir's log says when its doors opened");
  assert.ok(
    lastAckMs <= Date.parse(opened[1]!),
    `the old primary acknowledged ${lastAckMs - Date.parse(opened[1]!)} ms after ${heir} opened its doors`,
  );
  const gapMs = ledger.longestGapMs(begun);
  t.diagnostic(`cut ${old}: ${heir} leads, longest gap ${Math.round(gapMs)} ms`);
  await cluster.heal(old);
  assert.equal(await cluster.whole(60_000), heir);
  assert.ok(others.includes(heir));
  await ledger.stop();
});
