// The life of a cluster: two nodes, lost volumes, ghosts, rolls, and commits that wait for a standby.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openCluster, underLoad } from "../support/cluster-trial.ts";

test("two nodes are useful: writes go on without the standby, and without the primary", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2"]);
  const first = await cluster.whole(120_000);
  const second = cluster.others(first)[0]!.name;
  const ledger = await underLoad(t, cluster);
  await cluster.get(second).kill();
  await sleep(3_000);
  const before = ledger.entries.length;
  await sleep(2_000);
  assert.ok(ledger.entries.length > before, "writes go on without the standby");
  await cluster.get(second).start();
  assert.equal(await cluster.whole(120_000), first);
  await cluster.get(first).kill();
  assert.equal(await cluster.leads(120_000, first), second);
  await cluster.get(first).start();
  assert.equal(await cluster.whole(120_000), second);
  await ledger.stop();
});

test("a standby and then the primary lose their volumes; a ghost is forgotten, its slot dropped", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2", "n3"]);
  const first = await cluster.whole(120_000);
  await cluster.sql("n1", "create table kept as select generate_series(1, 1000) as id");
  await sleep(1_500);
  const [standby, other] = cluster.others(first).map(({ name }) => name) as [string, string];
  await cluster.replace(standby, await cluster.bench.volume());
  assert.equal(await cluster.whole(120_000), first);
  await cluster.replace(first, await cluster.bench.volume());
  const heir = await cluster.whole(120_000);
  assert.notEqual(heir, first);
  assert.equal(await cluster.sql(first, "select count(*) from kept"), "1000");
  const ghost = [standby, other, first].find((name) => name !== heir)!;
  await cluster.get(ghost).remove();
  await sleep(9_000);
  const ran = await cluster.get(heir).exec("holdfast", "cluster", "forget", ghost);
  assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  await sleep(3_000);
  const slots = await cluster.sql(heir, "select slot_name from pg_replication_slots order by 1");
  assert.ok(!slots.includes(`holdfast_${ghost}_`), slots);
  const shown = await cluster
    .get(heir)
    .shell("setpriv --reuid postgres --regid postgres --clear-groups repmgr cluster show --csv");
  assert.equal(shown.status, 0, shown.stdout + shown.stderr);
  assert.equal(shown.stdout.trim().split("\n").length, 2, shown.stdout);
});

test("a roll over all nodes hands over once, and loses nothing", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2", "n3"]);
  const first = await cluster.whole(120_000);
  const ledger = await underLoad(t, cluster);
  const begun = performance.now();
  const order = [...cluster.others(first).map(({ name }) => name), first];
  for (const name of order) {
    assert.equal(await cluster.get(name).stop(), 0);
    await cluster.replace(name);
    await cluster.whole(120_000);
  }
  const last = await cluster.whole(120_000);
  await sleep(1_000);
  t.diagnostic(
    `roll: longest gap ${Math.round(ledger.longestGapMs(begun))} ms, ${first} handed over to ${last}`,
  );
  await ledger.stop();
  assert.notEqual(last, first);
  assert.deepEqual(await ledger.lost(await cluster.get(last).address()), []);
  const timeline = (await cluster.status(last))?.members.find(({ name }) => name === last)?.timeline;
  assert.equal(timeline, 2, "one promotion");
});

test("DURABILITY=standby: what was acknowledged survives the primary, its volume included", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2", "n3"], { env: { DURABILITY: "standby" } });
  const first = await cluster.whole(120_000);
  const ledger = await underLoad(t, cluster);
  const synced = async (): Promise<readonly string[]> =>
    ((await cluster.status(first))?.members ?? [])
      .filter(({ inSync }) => inSync === true)
      .map(({ name }) => name);
  for (let waits = 0; (await synced()).length === 0 && waits < 30; waits += 1) await sleep(500);
  const inSync = await synced();
  assert.equal(inSync.length, 1);
  await cluster.get(first).kill();
  const heir = await cluster.leads(120_000, first);
  assert.equal(heir, inSync[0], "only the one in sync is promoted");
  await cluster.replace(first, await cluster.bench.volume());
  await cluster.whole(120_000);
  await ledger.stop();
  assert.ok(ledger.entries.length > 50);
  assert.deepEqual(await ledger.lost(await cluster.get(heir).address()), []);
});
