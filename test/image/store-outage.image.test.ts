// Behaviours 2 and 3: WAL leaves by itself, an idle database asks for nothing, an outage of the store is survived and seen.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, mustDocker, until, type ImageNode } from "../support/image.ts";
import { Ledger } from "../support/ledger.ts";

/** How long the store is away; ten minutes with --long. */
const OUTAGE_MS = process.env["HOLDFAST_LONG"] === undefined ? 40_000 : 600_000;

test("the store is away under load: commits go on, it is seen, the backlog drains, nothing is missing", async (t) => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const node = await bench.run({ env });
  await node.ready();
  await Ledger.create(await node.address());
  const ledger = new Ledger({ host: await node.address(), clients: 2, pauseMs: 2 });
  ledger.start();
  await sleep(1000);
  await bench.s3.cut();
  const cutMs = performance.now();
  void node.sql(
    "create table filler as select g, repeat(md5(g::text), 20) as t from generate_series(1, 200000) g",
  );
  await until(async () => (await lag(node)) > 20, 60_000, "the metric to show the lag");
  assert.equal((await node.get(5500, "/flycheck/vm")).status === 200, true);
  await sleep(Math.max(0, OUTAGE_MS - (performance.now() - cutMs)));
  assert.ok(
    ledger.entries.some((entry) => entry.ackMs > cutMs + OUTAGE_MS - 5000),
    "commits stopped during the outage",
  );
  await bench.s3.heal();
  const healedMs = performance.now();
  await until(async () => (await lag(node)) < 3, 60_000, "the backlog to drain");
  t.diagnostic(`drained ${Math.round(performance.now() - healedMs)} ms after the store came back`);
  await ledger.stop();
  await sleep(2500);
  await node.kill();
  await node.remove();

  const second = await bench.run({ env });
  await second.ready(120_000);
  assert.deepEqual(await ledger.lost(await second.address()), []);
  const verify = await second.shell("wal-g wal-verify integrity timeline");
  assert.doesNotMatch(verify.stdout, /FAILURE|MISSING_LOST/);
});

test("one insert and no more traffic: two seconds later the row survives the loss of everything", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const node = await bench.run({ env });
  await node.ready();
  await node.sql("create table t (i int)");
  await sleep(2000);
  await node.sql("insert into t values (1)");
  await sleep(2500);
  await node.kill();
  await node.remove();
  const second = await bench.run({ env });
  await second.ready(120_000);
  assert.equal(await second.sql("select i from t"), "1");
});

test("an idle database makes no requests", async (t) => {
  await using bench = await Bench.open();
  // Autovacuum visits the fresh catalogue once a minute, and what it does is WAL like any other.
  const node = await bench.run({ env: { ...bench.s3Env(), POSTGRES_CONFIG_autovacuum: "off" } });
  await node.ready();
  await sleep(20_000); // the checkpoint after the start, and what it makes Postgres log
  const before = await bytesReceived(bench.s3.container);
  await sleep(30_000);
  const bytes = (await bytesReceived(bench.s3.container)) - before;
  t.diagnostic(`the store received ${bytes} bytes in 30 idle seconds`);
  // A PUT is far above this; keepalives of the kernel are below.
  assert.ok(bytes < 3000, `${bytes} bytes`);
  assert.ok(await node.running());
});

async function lag(node: ImageNode): Promise<number> {
  const metrics = (await node.get(9187, "/metrics")).body;
  return Number(/^holdfast_archive_lag_seconds(?:\{[^}]*\})? (\S+)$/m.exec(metrics)?.[1] ?? Number.NaN);
}

async function bytesReceived(container: string): Promise<number> {
  return Number(await mustDocker("exec", container, "cat", "/sys/class/net/eth0/statistics/rx_bytes"));
}
