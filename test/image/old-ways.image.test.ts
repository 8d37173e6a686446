// What people type with the official image and with postgres-walg keeps working.

import assert from "node:assert/strict";
import { chmod, chown, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Bench, PASSWORD, type Ran } from "../support/image.ts";

test("dump.sh fills an archive and stops, load.sh restores it and serves, both with honest statuses", async (t) => {
  await using bench = await Bench.open();
  const env = { ...bench.s3Env("walg"), PGBENCH_SCALE: "2", PGBENCH_SECONDS: "3" };
  const dumped = await bench.runOnce({ env, command: ["sh", "/root/dump.sh"] });
  assert.equal(dumped.status, 0, `${dumped.stderr}\n${dumped.stdout.slice(-4000)}`);
  const backups = new Set(dumped.stdout.match(/^base_[0-9A-F]{24}/gm));
  t.diagnostic(`dump.sh left ${backups.size} backups`);
  assert.ok(backups.size >= 2, dumped.stdout.slice(-2000));

  const loaded = await bench.run({ env, command: ["sh", "/root/load.sh"] });
  await loaded.ready(120_000);
  assert.equal(await loaded.sql("select count(*) from pgbench_accounts"), "200000");
  assert.notEqual(await loaded.sql("select count(*) from pgbench_history"), "0");
  assert.equal(await loaded.stop(), 0);

  const failed = await bench.runOnce({
    env: { ...env, WALG_S3_PREFIX: "s3://no-such-bucket/x", DUMP_LIMIT_SECONDS: "5" },
    options: ["--stop-timeout", "5"],
    command: ["sh", "-c", "timeout 20 sh /root/dump.sh"],
  });
  assert.notEqual(failed.status, 0, "a store that refuses is no success");
});

test("users, databases, scripts, arguments and commands as in the official image", async () => {
  await using bench = await Bench.open({ s3: false });
  const scripts = await bench.folder();
  await writeFile(join(scripts, "1.sql"), "create table from_sql as select 1 as one;\n");
  await writeFile(
    join(scripts, "2.sh"),
    'psql -c "create table from_sh as select 2 as two"; echo "$POSTGRES_DB" > /tmp/database\n',
  );
  await chmod(scripts, 0o755);
  const volume = await bench.volume();
  const run = async () =>
    bench.run({
      env: { POSTGRES_USER: "app", POSTGRES_PASSWORD: PASSWORD, POSTGRES_DB: "shop" },
      volume,
      options: ["-v", `${scripts}:/docker-entrypoint-initdb.d:ro`],
      command: ["-c", "work_mem=7MB"],
    });
  const node = await run();
  const as = async (statement: string): Promise<Ran> =>
    node.shell(`PGPASSWORD=${PASSWORD} psql -h 127.0.0.1 -U app -d shop -Atc "${statement}"`);
  await node.said("node is running", 60_000);
  assert.equal((await as("select one + two from from_sql, from_sh")).stdout.trim(), "3");
  assert.equal((await as("show work_mem")).stdout.trim(), "7MB");
  assert.equal((await node.shell("cat /tmp/database")).stdout.trim(), "shop");
  assert.equal((await node.exec("psql", "-U", "app", "shop", "-Atc", "select 1")).stdout.trim(), "1");
  assert.equal(await node.stop(), 0);
  await node.remove();

  const again = await run();
  await again.said("node is running", 60_000);
  assert.doesNotMatch(await again.log(), /running a script of the user's/, "scripts run once per cluster");

  const version = await bench.runOnce({ env: {}, command: ["postgres", "--version"] });
  assert.match(version.stdout, /^postgres \(PostgreSQL\) \d+/);
  const bash = await bench.runOnce({ env: {}, command: ["bash", "-c", "echo $PGDATA; exit 3"] });
  assert.deepEqual([bash.status, bash.stdout.trim()], [3, "/data/pgdata"]);
});

test("a script that fails ends the container, and the next start meets a fresh cluster", async () => {
  await using bench = await Bench.open({ s3: false });
  const scripts = await bench.folder();
  await writeFile(join(scripts, "1.sql"), "create table first_try as select 1; select 1/0;\n");
  await chmod(scripts, 0o755);
  const volume = await bench.volume();
  const options = ["-v", `${scripts}:/docker-entrypoint-initdb.d:ro`];
  const env = { POSTGRES_PASSWORD: PASSWORD };
  const failed = await bench.run({ env, volume, options });
  assert.notEqual(await failed.ended(60_000), 0);
  assert.match(await failed.log(), /division by zero/);
  await failed.remove();
  await writeFile(join(scripts, "1.sql"), "create table second_try as select 1;\n");
  const mended = await bench.run({ env, volume, options });
  await mended.ready(60_000);
  assert.equal(
    await mended.sql("select to_regclass('first_try') is null and to_regclass('second_try') is not null"),
    "t",
  );
});

test("a machine that runs a release command founds nothing", async () => {
  await using bench = await Bench.open();
  const env = { ...bench.s3Env("release"), RELEASE_COMMAND: "1" };
  const ran = await bench.runOnce({ env });
  assert.equal(ran.status, 0, ran.stderr);
  assert.match(ran.stdout, /release command/);
  const node = await bench.run({ env: bench.s3Env("release") });
  await node.said(/listing proved the store's prefix empty/);
});

test("any user may run it, on a folder of his own", async () => {
  await using bench = await Bench.open({ s3: false });
  const folder = await bench.folder();
  await chown(folder, 12345, 12345);
  const node = await bench.run({
    env: { POSTGRES_PASSWORD: PASSWORD },
    volume: folder,
    options: ["--user", "12345:12345"],
  });
  await node.ready(60_000);
  assert.equal(await node.sql("select 1"), "1");
  assert.equal(await node.stop(), 0);
});
