// Members that come back: rewound, filled again, under their old name on an empty volume, at another address.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openCluster } from "../support/cluster-trial.ts";
import { ClusterLedger } from "../support/cluster-ledger.ts";
import type { ImageCluster } from "../support/image-cluster.ts";
import { IMAGE, mustDocker, until } from "../support/image.ts";

test("an old primary with rows of its own is rewound, and says what they were", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2"]);
  const old = await cluster.whole(120_000);
  await ClusterLedger.create(await cluster.get(old).address());
  const ledger = new ClusterLedger([await cluster.get(old).address()]);
  t.after(() => ledger.stop());
  ledger.start();
  await sleep(1_000);
  const others = await Promise.all(cluster.others(old).map(({ node }) => node.address()));
  await cluster.drop(old, [...others, cluster.bench.s3.address]);
  const heir = await cluster.leads(120_000, old);
  await ledger.stop();
  await cluster.undrop(old);
  const begunMs = performance.now();
  assert.equal(await cluster.whole(120_000), heir);
  t.diagnostic(`streams ${Math.round(performance.now() - begunMs)} ms after the cut`);
  const log = await cluster.get(old).log();
  assert.match(log, /rejoin: rewind .*divergedFrom=\S+ divergedTo=\S+/);
  assert.match(log, /rewound/);
  const rows = "select count(*), coalesce(sum(id), 0) from ledger";
  await until(
    async () => (await cluster.sql(old, rows, 5434)) === (await cluster.sql(heir, rows)),
    20_000,
    "the same rows on both",
  );
});

test("WAL that is missing on the volume comes from the archive, or the node is filled again", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2"]);
  let old = await cluster.whole(120_000);
  for (const keeps of [2, 0]) {
    await cluster.sql(old, "create table if not exists bulk as select 1 as id");
    for (let segment = 0; segment < 4; segment += 1)
      await cluster.sql(old, "insert into bulk select generate_series(1, 20000); select pg_switch_wal()");
    await cluster.get(old).kill();
    const heir = await cluster.leads(120_000, old);
    // All but the newest files, as a clean-up by hand would do it.
    const removed = await mustDocker(
      ...["run", "--rm", "--entrypoint", "bash", "-v", `${volumeOf(cluster, old)}:/data`, IMAGE, "-c"],
      `cd /data/*/pg_wal && ls | grep -E '^[0-9A-F]{24}$' | sort | head -n -${keeps} | xargs -r rm -v | wc -l`,
    );
    assert.ok(Number(removed) > 0, "files were removed");
    const begunMs = performance.now();
    await cluster.get(old).start();
    assert.equal(await cluster.whole(120_000), heir);
    const log = await cluster.get(old).log();
    const how = /rejoin: ([\w-]+)/.exec(log.slice(log.lastIndexOf("rejoin: ")))?.[1];
    t.diagnostic(
      `${removed} files removed, ${how}: back after ${Math.round(performance.now() - begunMs)} ms`,
    );
    assert.equal(
      await cluster.sql(heir, "select count(*) from bulk"),
      await cluster.sql(old, "select count(*) from bulk"),
    );
    if (how === "re-seed") await cluster.get(old).said("the replaced data directory was removed", 30_000);
    old = heir;
  }
});

test("a destroyed member leaves the list by itself, and joins again under its name", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2", "n3"], { env: { FORGET_AFTER: "60s" } });
  const primary = await cluster.whole(120_000);
  const ghost = cluster.others(primary)[0]!.name;
  await cluster.get(ghost).remove();
  await cluster.sql(primary, "create table t as select 1 as id");
  await until(
    async () =>
      (await cluster.status(primary))?.members.find((row) => row.name === ghost)?.inRoster === false,
    120_000,
    "the ghost's leaving",
  );
  await until(
    async () =>
      !(await cluster.sql(primary, "select slot_name from pg_replication_slots")).includes(
        `holdfast_${ghost}_`,
      ),
    20_000,
    "the ghost's slot being dropped",
  );
  // The primary of a list with a ghost is no prisoner of it.
  assert.equal(await cluster.get(primary).stop(), 0);
  await cluster.get(primary).start();
  await cluster.whole(
    60_000,
    cluster.nodes.map(({ name }) => name).filter((name) => name !== ghost),
  );
  await cluster.replace(ghost, await cluster.bench.volume());
  await cluster.whole(120_000);
});

test("nodes with new addresses and containers form the same cluster", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2", "n3"]);
  await cluster.whole(120_000);
  await cluster.sql("n1", "create table kept as select generate_series(1, 100) as id");
  await sleep(1_500);
  const before = await Promise.all(cluster.nodes.map(({ node }) => node.address()));
  await cluster.readdress(["n3", "n1", "n2"]);
  const after = await Promise.all(cluster.nodes.map(({ node }) => node.address()));
  assert.ok(
    before.some((address, index) => address !== after[index]),
    "an address is another one",
  );
  const begunMs = performance.now();
  const lead = await cluster.whole(120_000);
  t.diagnostic(`whole after ${Math.round(performance.now() - begunMs)} ms`);
  assert.equal(await cluster.sql("n2", "select count(*) from kept"), "100");
  // One alone moves: its old address goes to a stranger.
  const moving = cluster.others(lead)[0]!;
  await moving.node.remove();
  await cluster.bench.run({ name: "stranger", volume: null, env: {}, options: ["--entrypoint", "sleep"], command: ["600"] }); // prettier-ignore
  await cluster.replace(moving.name);
  assert.equal(await cluster.whole(120_000), lead);
});

test("every volume is lost after a failover: the rows of both lives come back", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2"]);
  const first = await cluster.whole(120_000);
  await cluster.sql(first, "create table lives as select 1 as life from generate_series(1, 100)");
  await sleep(2_000);
  await cluster.get(first).kill();
  const heir = await cluster.leads(120_000, first);
  await cluster.sql(heir, "insert into lives select 2 from generate_series(1, 50)");
  await cluster.get(heir).said(/base backup done name=base_00000002/, 120_000);
  await sleep(2_000);
  for (const entry of cluster.nodes) {
    await entry.node.remove();
    entry.volume = await cluster.bench.volume();
  }
  await cluster.readdress(["n2", "n1"]);
  const lead = await cluster.whole(240_000);
  const counts = "select life, count(*) from lives group by 1 order by 1";
  assert.equal(await cluster.sql(lead, counts), "1|100\n2|50");
  const archive = await cluster.verify(lead);
  assert.ok(archive.isSound, archive.text);
});

const volumeOf = (cluster: ImageCluster, name: string): string =>
  cluster.nodes.find((node) => node.name === name)!.volume;
