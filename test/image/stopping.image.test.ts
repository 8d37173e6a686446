// Behaviours 34 and 35: a stop is clean and bounded, and there is never a container without its database.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, until, type ImageNode } from "../support/image.ts";
import { Ledger } from "../support/ledger.ts";

test("three stops under load are clean: nothing is lost, nothing has to be recovered", async (t) => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  let volume = await bench.volume();
  let node = await bench.run({ env, volume });
  await node.ready();
  await Ledger.create(await node.address());
  for (let round = 1; round <= 3; round += 1) {
    const ledger = new Ledger({ host: await node.address(), clients: 3 });
    ledger.continueFrom(round * 1_000_000);
    ledger.start();
    await sleep(2000);
    const begun = performance.now();
    assert.equal(await node.stop(), 0);
    t.diagnostic(`stop ${round} took ${Math.round(performance.now() - begun)} ms`);
    await ledger.stop();
    assert.match(await node.log(), /database system is shut down/);
    if (round === 2) {
      // The last WAL is in the store: the volume is not needed.
      await node.remove();
      await bench.deleteVolume(volume);
      volume = await bench.volume();
      node = await bench.run({ env, volume });
    } else {
      await node.remove();
      node = await bench.run({ env, volume });
    }
    await node.ready(120_000);
    assert.deepEqual(await ledger.lost(await node.address()), [], `stop ${round} lost rows`);
    if (round !== 2) assert.doesNotMatch(await node.log(), /was not properly shut down/);
  }
});

test("a stop ends in time although the store is away", async (t) => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: { ...bench.s3Env(), STOP_TIMEOUT: "20" } });
  await node.ready();
  await bench.s3.cut();
  await node.sql("create table t as select generate_series(1, 1000)");
  const begun = performance.now();
  const status = await node.stop(60);
  const tookMs = performance.now() - begun;
  t.diagnostic(`stop took ${Math.round(tookMs)} ms`);
  assert.equal(status, 0);
  assert.ok(tookMs < 30_000);
  assert.match(await node.log(), /database system is shut down/);
});

test("a killed child is back within seconds, or the container ends", async (t) => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: bench.s3Env() });
  await node.ready();
  for (const child of ["haproxy", "postgres"]) {
    const pid = await pidOf(node, child);
    await node.shell(`kill -9 ${pid}`);
    const begun = performance.now();
    await until(
      async () => (await pidOf(node, child).catch(() => pid)) !== pid || !(await node.running()),
      10_000,
      child,
    );
    if (!(await node.running())) assert.notEqual(await node.exitStatus(), 0);
    else await node.ready(15_000);
    t.diagnostic(`${child}: back after ${Math.round(performance.now() - begun)} ms`);
    if (!(await node.running())) await node.start();
    await node.ready(30_000);
  }
  // A process that is just ending is one for a moment.
  const zombies = async (): Promise<string> =>
    (await node.shell("ps -eo stat= | grep -c '^Z' || true")).stdout.trim();
  await until(async () => (await zombies()) === "0", 10_000, "zombies to be reaped");

  const supervisor = await node.shell("cut -d' ' -f1 /proc/1/task/1/children");
  await node.shell(`kill -9 ${supervisor.stdout.trim()}`);
  assert.notEqual(await node.ended(30_000), 0);
});

/** The oldest process of that name. */
async function pidOf(node: ImageNode, name: string): Promise<string> {
  const ran = await node.shell(`pgrep -o -x ${name}`);
  if (ran.status !== 0) throw new Error(`no process "${name}"`);
  return ran.stdout.trim();
}
