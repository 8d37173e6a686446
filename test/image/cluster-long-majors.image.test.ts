// Two nodes of every other major that the image is built with: they start, one is seeded, one takes over, the killed one comes back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, IMAGE } from "../support/image.ts";
import { ImageCluster } from "../support/image-cluster.ts";

for (const major of [15, 18]) {
  test(`Postgres ${major} fails over`, async (t) => {
    const bench = await Bench.open();
    t.after(() => bench[Symbol.asyncDispose]());
    const image = IMAGE.replace(/:.*$/, `:${major}`);
    const cluster = await ImageCluster.start(bench, ["n1", "n2"], { image });
    const first = await cluster.whole(120_000);
    assert.match(await cluster.sql(first, "show server_version"), new RegExp(`^${major}`));
    await cluster.sql(first, "create table kept as select generate_series(1, 1000) as id");
    await sleep(1_500);
    const begunMs = performance.now();
    await cluster.get(first).kill();
    const heir = await cluster.leads(120_000, first);
    t.diagnostic(`${heir} leads after ${Math.round(performance.now() - begunMs)} ms`);
    await cluster.sql(heir, "insert into kept select generate_series(1001, 2000)");
    await cluster.get(first).start();
    assert.equal(await cluster.whole(120_000), heir);
    assert.equal(await cluster.sql(first, "select count(*) from kept"), "2000");
    const archive = await cluster.verify(heir);
    assert.ok(archive.isSound, archive.text);
  });
}
