// Store and primary are gone at once: an order by force promotes nobody without a fence, and the cluster comes back as the manual says.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openCluster } from "../support/cluster-trial.ts";
import { until } from "../support/image.ts";
import type { ImageCluster } from "../support/image-cluster.ts";

test("by force without the store: nobody is promoted; the old primary leads again without it", async (t) => {
  const { cluster, primary, standby } = await goneAtOnce(t);
  await orderByForce(cluster, standby);
  assert.equal(await cluster.primary(), null, "nobody holds a fence");
  await cluster.get(primary).start();
  assert.equal(await cluster.leads(120_000), primary);
  await cluster.sql(primary, "insert into t values (2)");
  await cluster.bench.s3.heal();
  assert.equal(await cluster.whole(180_000), primary);
  assert.equal(await cluster.sql(standby, "select string_agg(i::text, ' ' order by i) from t"), "1 2");
  await soundArchive(cluster, primary);
});

test("by force without the store: the order is void, and a standby leads when the store is back", async (t) => {
  const { cluster, primary, standby } = await goneAtOnce(t);
  await orderByForce(cluster, standby);
  await cluster.bench.s3.heal();
  assert.equal(await cluster.leads(120_000), standby);
  await cluster.sql(standby, "insert into t values (2)");
  await cluster.get(primary).start();
  assert.equal(await cluster.whole(180_000), standby);
  assert.equal(await cluster.sql(primary, "select string_agg(i::text, ' ' order by i) from t"), "1 2");
  await soundArchive(cluster, standby);
});

/** Two nodes and a row that both hold; then the store is out of reach and the primary dead. */
async function goneAtOnce(
  t: Parameters<typeof openCluster>[0],
): Promise<{ readonly cluster: ImageCluster; readonly primary: string; readonly standby: string }> {
  const cluster = await openCluster(t, ["n1", "n2"]);
  const primary = await cluster.whole(120_000);
  const standby = cluster.others(primary)[0]!.name;
  await cluster.sql(primary, "create table t (i int)");
  await cluster.sql(primary, "insert into t values (1)");
  await until(
    async () => (await cluster.sql(standby, "select count(*) from t", 5433).catch(() => "")) === "1",
    60_000,
    "the standby to replay the row",
  );
  await cluster.bench.s3.cut();
  await cluster.get(primary).kill();
  return { cluster, primary, standby };
}

/** Without the word it only tells; with it, a gate begins that gets no fence. */
async function orderByForce(cluster: ImageCluster, name: string): Promise<void> {
  const asked = await cluster.get(name).exec("holdfast", "cluster", "promote");
  assert.equal(asked.status, 2, asked.stdout + asked.stderr);
  assert.match(asked.stdout, /while the store does not answer nobody is promoted/);
  const forced = await cluster.get(name).exec("holdfast", "cluster", "promote", "--force");
  assert.equal(forced.status, 0, forced.stdout + forced.stderr);
  await cluster.get(name).said("gate abandoned", 120_000);
}

async function soundArchive(cluster: ImageCluster, name: string): Promise<void> {
  await until(async () => (await cluster.verify(name)).isSound, 60_000, "a sound archive");
}
