// Who may lead, who joins and how, how a roll goes in every order, and that slots fill no disk.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openCluster } from "../support/cluster-trial.ts";
import { ClusterLedger } from "../support/cluster-ledger.ts";
import type { ImageCluster } from "../support/image-cluster.ts";
import { seeds } from "../support/image.ts";

test("a node of another region or of priority 0 is never promoted, unless an operator says so", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2", "n3"], {
    env: { PRIMARY_REGION: "ams" },
    nodeEnv: {
      n1: { REGION: "ams" },
      n2: { REGION: "ams", NODE_PRIORITY: "0" },
      n3: { REGION: "fra" },
    },
  });
  assert.equal(await cluster.whole(120_000), "n1");
  await cluster.get("n1").kill();
  await sleep(25_000);
  assert.equal(await cluster.primary(), null, "nobody may take over");
  await cluster.get("n1").start();
  assert.equal(await cluster.whole(120_000), "n1");
  const ran = await cluster.get("n1").exec("holdfast", "cluster", "switchover", "n3");
  assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  assert.equal(await cluster.whole(120_000), "n3");
  const back = await cluster.get("n3").exec("holdfast", "cluster", "switchover");
  assert.equal(back.status, 0, back.stdout + back.stderr);
  assert.equal(await cluster.whole(120_000), "n1", "back to where it may lead");
});

test("a new node joins from the store, and from the primary when the store is away", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2"], { env: { NODES: "n1,n2,n3,n4" } });
  const primary = await cluster.whole(120_000);
  await cluster.sql(primary, "create table big as select id, repeat(md5(id::text), 20) as text from generate_series(1, 100000) as id"); // prettier-ignore
  const backup = await cluster.get(primary).shell('wal-g backup-push "$PGDATA"');
  assert.equal(backup.status, 0, backup.stdout + backup.stderr);
  const reads = async (): Promise<number> => await bytesRead(cluster, primary);
  const before = await reads();
  let begunMs = performance.now();
  await cluster.add("n3");
  assert.equal(await cluster.whole(120_000), primary);
  t.diagnostic(
    `n3 streams after ${Math.round(performance.now() - begunMs)} ms; the primary read ${(await reads()) - before} bytes`,
  );
  assert.doesNotMatch(await cluster.get("n3").log(), /copied from the primary/);
  assert.equal(await cluster.sql("n3", "select count(*) from big"), "100000");

  await cluster.add("n4");
  await cluster.drop("n4", [cluster.bench.s3.address]);
  begunMs = performance.now();
  // The seed asks the store first; without it the primary gives the copy.
  await cluster.get("n4").said("copied from the primary", 180_000);
  t.diagnostic(`n4 copied after ${Math.round(performance.now() - begunMs)} ms`);
  await cluster.undrop("n4");
  assert.equal(await cluster.whole(120_000), primary);
});

const PERMUTATIONS = [
  ["n2", "n3", "n1"],
  ["n1", "n2", "n3"],
  ["n3", "n1", "n2"],
  ["n1", "n3", "n2"],
  ["n2", "n1", "n3"],
  ["n3", "n2", "n1"],
] as const;

test("a roll in any order hands over once, or twice when the primary comes first, and loses nothing", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2", "n3"]);
  for (const number of seeds(PERMUTATIONS.length, PERMUTATIONS.length)) {
    const order = PERMUTATIONS[(number - 1) % PERMUTATIONS.length]!;
    const first = await cluster.whole(120_000);
    const before = await timelineOf(cluster, first);
    const hosts = await Promise.all(cluster.nodes.map(({ node }) => node.address()));
    await ClusterLedger.create(hosts[0]!);
    const ledger = new ClusterLedger(hosts);
    await ledger.continueBehind(await cluster.get(first).address());
    ledger.start();
    await sleep(1_500);
    const begunMs = performance.now();
    for (const name of order) {
      assert.equal(await cluster.get(name).stop(), 0, `${name}'s stop`);
      await cluster.replace(name);
      await cluster.whole(120_000);
    }
    await sleep(1_000);
    await ledger.stop();
    const last = await cluster.whole(120_000);
    const switchovers = (await timelineOf(cluster, last)) - before;
    const gapMs = ledger.gapsMs(begunMs, 200).reduce((sum, ms) => sum + ms, 0);
    t.diagnostic(
      `${order.join(" ")} with ${first} as primary: ${switchovers} switchovers, ${Math.round(gapMs)} ms of gaps, the longest ${Math.round(ledger.longestGapMs(begunMs))} ms`,
    );
    assert.deepEqual(await ledger.lost(await cluster.get(last).address()), [], order.join(" "));
    assert.ok(switchovers <= (order.indexOf(first as never) === 2 ? 1 : 2), `${switchovers} switchovers`);
    assert.ok(gapMs <= 15_000 * BUSY, `gaps of ${gapMs} ms`);
    for (const name of order)
      assert.doesNotMatch(
        await cluster.get(name).log(),
        /rejoin: re-seed|rejoin: rewind|Postgres was killed/,
      );
  }
});

test("a standby that is away fills no disk, and comes back through the archive", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2"], {
    env: { POSTGRES_CONFIG_MAX_SLOT_WAL_KEEP_SIZE: "64MB", POSTGRES_CONFIG_WAL_KEEP_SIZE: "0", POSTGRES_CONFIG_MAX_WAL_SIZE: "64MB", POSTGRES_CONFIG_MIN_WAL_SIZE: "32MB" },
  }); // prettier-ignore
  const primary = await cluster.whole(120_000);
  const away = cluster.others(primary)[0]!.name;
  await cluster.sql(primary, "select pg_create_logical_replication_slot('theirs', 'test_decoding')").catch(() => undefined); // prettier-ignore
  await cluster.get(away).kill();
  await cluster.sql(primary, "create table filler (text text)");
  for (let turn = 0; turn < 24; turn += 1)
    await cluster.sql(
      primary,
      "insert into filler select repeat(md5(i::text), 30) from generate_series(1, 16000) as i; select pg_switch_wal()",
    );
  await cluster.sql(primary, "checkpoint");
  const bytes = Number(await cluster.sql(primary, "select sum(size) from pg_ls_waldir()"));
  t.diagnostic(`pg_wal holds ${Math.round(bytes / 1e6)} MB`);
  assert.ok(bytes <= (64 << 20) + (1 << 30));
  await cluster.get(primary).said(/replication slot "holdfast_n\d_\w+", which nobody reads, /, 30_000);
  const begunMs = performance.now();
  await cluster.get(away).start();
  await cluster.whole(180_000);
  t.diagnostic(`${away} streams after ${Math.round(performance.now() - begunMs)} ms`);
  assert.doesNotMatch(await cluster.get(away).log(), /rejoin: re-seed|copied from the primary/);
});

async function timelineOf(cluster: ImageCluster, name: string): Promise<number> {
  const rows = (await cluster.status(name))?.members ?? [];
  return rows.find((row) => row.name === name)?.timeline ?? Number.NaN;
}

/** What the node's Postgres processes have read from its data directory so far, the page cache included. */
async function bytesRead(cluster: ImageCluster, name: string): Promise<number> {
  const ran = await cluster
    .get(name)
    .shell(
      "awk '/^rchar/ { sum += $2 } END { print sum }' $(grep -ls postgres /proc/[0-9]*/comm | sed s,comm,io,)",
    );
  return Number(ran.stdout.trim());
}

/** A machine of two cores that runs everything at once is given this much more than the targets. */
const BUSY = Number(process.env["HOLDFAST_BUSY"] ?? 4);
