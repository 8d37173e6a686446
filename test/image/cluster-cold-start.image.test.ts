// All nodes are killed at once and started in any order, with one missing too: what was acknowledged is there. Two orders, or all with --long.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, seeds } from "../support/image.ts";
import { ImageCluster } from "../support/image-cluster.ts";

const ORDERS = [
  ["n3", "n2", "n1"],
  ["n2", "n3"],
  ["n1", "n2", "n3"],
  ["n1", "n3", "n2"],
  ["n2", "n1", "n3"],
  ["n2", "n3", "n1"],
  ["n3", "n1", "n2"],
  ["n1", "n2"],
  ["n3", "n1"],
] as const;

test("a cold start in any order brings back what was acknowledged, with one missing too", async (t) => {
  const bench = await Bench.open();
  t.after(() => bench[Symbol.asyncDispose]());
  const cluster = await ImageCluster.start(bench, ["n1", "n2", "n3"]);
  let rows = 0;
  await cluster.sql("n1", "create table cold (id serial primary key)");
  for (const number of seeds(2, ORDERS.length)) {
    const order = ORDERS[(number - 1) % ORDERS.length]!;
    for (let row = 0; row < 20; row += 1) await cluster.sql("n1", "insert into cold default values");
    rows += 20;
    // Past the flush interval: with one missing, what only it had on its disk would be behind the others.
    await sleep(1_500);
    await Promise.all(cluster.nodes.map(({ node }) => node.kill()));
    for (const name of order) {
      await cluster.get(name).start();
      await sleep(700);
    }
    const begunMs = performance.now();
    const lead = await cluster.leads(120_000);
    t.diagnostic(
      `${order.join(" ")}: ${lead} accepts ${Math.round(performance.now() - begunMs)} ms after the last start`,
    );
    assert.equal(await cluster.sql(lead, "select count(*) from cold"), String(rows));
    for (const { name } of cluster.nodes)
      if (!(order as readonly string[]).includes(name)) await cluster.get(name).start();
    await cluster.whole(120_000);
  }
});
