// What happens before the first client is let in: nobody is let in too early, and nothing that is lost then keeps the prefix from being founded.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench, until, type ImageNode } from "../support/image.ts";

/** The first base backup takes some seconds longer: time for a kill. */
const SLOW_BACKUP = { WALG_NETWORK_RATE_LIMIT: "1000000" };

const systemOf = async (node: ImageNode): Promise<string> =>
  await node.sql("select system_identifier from pg_control_system()");

test("a volume lost before its first base backup: the next one founds on the same prefix, and is kept", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  // Twice in a row: the second successor passes what two founders left.
  for (const name of ["a", "b"]) {
    const doomed = await bench.run({ env: { ...env, ...SLOW_BACKUP }, name });
    await doomed.said("taking the first base backup");
    await doomed.kill();
    await doomed.remove();
  }
  const node = await bench.run({ env });
  await node.ready(120_000);
  const log = await node.log();
  assert.match(log, /a founding that never admitted a client is given up/);
  const system = await systemOf(node);
  await node.sql("create table t as select g from generate_series(1, 1000) g");
  // More than a segment, so that something is published beside what the founders left.
  await node.sql("select pg_switch_wal()");
  await node.sql("insert into t select g from generate_series(1001, 2000) g");
  assert.equal((await node.shell("wal-g backup-list")).stdout.match(/^base_/gm)?.length, 1);
  assert.equal(await node.stop(), 0);
  await node.start();
  await node.ready(60_000);
  assert.equal((await node.shell("holdfast verify")).status, 0);
  await node.kill();
  await node.remove();

  const heir = await bench.run({ env, name: "heir" });
  await heir.ready(120_000);
  assert.equal(await systemOf(heir), system);
  assert.equal(await heir.sql("select count(*) from t"), "2000");
  const wal = (await heir.shell("wal-g wal-verify integrity timeline")).stdout;
  assert.match(wal, /integrity check status: OK/);
});

test("a volume whose founding goes on after a kill is not given up", async () => {
  await using bench = await Bench.open();
  const env = { ...bench.s3Env(), ...SLOW_BACKUP };
  const volume = await bench.volume();
  const first = await bench.run({ env, volume });
  await first.said("taking the first base backup");
  await first.kill();
  await first.start();
  await first.ready(120_000);
  const log = await first.log();
  assert.doesNotMatch(log, /given up/);
});

test("a prefix whose backups were all deleted is never founded on: clients were admitted", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const node = await bench.run({ env });
  await node.ready();
  await node.sql("create table t as select 1");
  assert.equal(await node.stop(), 0);
  await node.remove();
  const emptied = await bench.runOnce({
    env,
    command: ["wal-g", "st", "rm", "basebackups_005/"],
  });
  assert.equal(emptied.status, 0, emptied.stderr);
  const next = await bench.run({ env, name: "next" });
  await next.said(/none of system \d+'s base backups is left, though clients were admitted/);
  assert.equal((await next.shell("test -e $PGDATA/PG_VERSION")).status, 1);
});

test("programs in the container find the socket only once clients are let in, and are not cut then", async () => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: { ...bench.s3Env(), ...SLOW_BACKUP } });
  await node.said("taking the first base backup");
  const early = await node.exec("psql", "-U", "postgres", "-c", "select 1");
  assert.notEqual(early.status, 0, "before the first base backup nobody is let in, by the socket neither");
  assert.match(early.stderr, /No such file or directory/);
  let firstOk = "";
  await until(
    async () => {
      const ran = await node.shell(`psql -U postgres -XAtc "select pg_postmaster_start_time()"`);
      if (ran.status === 0) firstOk = ran.stdout.trim();
      return ran.status === 0;
    },
    120_000,
    "the socket",
  );
  await node.ready();
  assert.equal(
    await node.sql("select pg_postmaster_start_time()"),
    firstOk,
    "it is the same server that goes on",
  );
});
