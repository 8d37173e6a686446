// Behaviours 14 to 16 and 18 to 20: points in time, in place, into another cluster, again and again, with closed doors.

import assert from "node:assert/strict";
import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, PASSWORD, seeds, until, type ImageNode } from "../support/image.ts";
import { nothingWaits } from "../support/nothing-waits.ts";
import { makeRandom } from "../support/random.ts";

test("every kind of target gives exactly its rows, in a new cluster that never writes to the source", async (t) => {
  await using bench = await Bench.open();
  const source = bench.s3Env("source");
  const node = await bench.run({ env: source });
  await node.ready();
  await node.sql("create table steps (id int primary key, at timestamptz default clock_timestamp())");
  const marks: { id: number; time: string; lsn: string; xid: string }[] = [];
  for (let id = 1; id <= 6; id += 1) {
    const row = await node.sql(
      `begin; insert into steps (id) values (${id}); select pg_current_xact_id(); commit; select pg_current_wal_insert_lsn(), clock_timestamp()`,
    );
    const [xid, at] = row.split("\n") as [string, string];
    const [lsn, time] = at.split("|") as [string, string];
    marks.push({ id, xid, lsn, time });
    if (id === 3) await node.sql("select pg_create_restore_point('before_the_accident')");
    await sleep(1100);
  }
  await node.sql("drop table steps");
  await sleep(2500);
  await node.kill();
  await node.remove();
  const before = await tags(bench, "source/");

  const third = marks[2]!;
  const targets: readonly (readonly [string, Record<string, string>, number])[] = [
    ["time", { RESTORE_TARGET_TIME: third.time }, 3],
    ["LSN", { RESTORE_TARGET_LSN: third.lsn }, 3],
    ["xid, inclusive", { RESTORE_TARGET_XID: third.xid }, 3],
    ["xid, exclusive", { RESTORE_TARGET_XID: third.xid, RESTORE_TARGET_INCLUSIVE: "false" }, 2],
    ["name", { RESTORE_TARGET_NAME: "before_the_accident" }, 3],
  ];
  const from = source["WALG_S3_PREFIX"]!;
  for (const [index, [what, target, rows]] of targets.entries()) {
    const env = { ...bench.s3Env(`copy-${index}`), RESTORE_FROM: from, ...target };
    const copy = await bench.run({ env, name: `c${index}` });
    await copy.ready(120_000);
    assert.equal(await copy.sql("select count(*) from steps"), String(rows), what);
    await copy.sql("insert into steps (id) values (100)");
    await copy.remove();
    t.diagnostic(`${what}: ${rows} rows`);
  }
  assert.deepEqual(
    await tags(bench, "source/"),
    before,
    "a restore from another prefix writes nothing there",
  );

  const impossible = {
    ...bench.s3Env("never"),
    RESTORE_FROM: from,
    RESTORE_TARGET_TIME: "2001-01-01 00:00:00+00",
  };
  const refused = await bench.run({ env: impossible, name: "never" });
  await refused.said(/reachable|window|earliest/i);
  assert.equal((await refused.shell("test -e $PGDATA/PG_VERSION")).status === 0, false);
});

test("restore in place by command, and undo", async () => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: bench.s3Env() });
  await node.ready();
  await node.sql("create table t as select 1 as i");
  await sleep(1500);
  const time = await node.sql("select clock_timestamp()");
  await sleep(1500);
  await node.sql("drop table t");
  await sleep(1500);

  const unconfirmed = await node.exec("holdfast", "restore", "--target-time", time);
  assert.notEqual(unconfirmed.status, 0);
  assert.match(unconfirmed.stdout + unconfirmed.stderr, /--confirm/);
  const begun = performance.now();
  const answered = await node.exec("holdfast", "restore", "--target-time", time, "--confirm");
  assert.equal(answered.status, 0, answered.stderr);
  assert.ok(performance.now() - begun < 10_000, "the command answers at once");
  await until(
    async () => (await node.sql("select i from t").catch(() => "")) === "1",
    120_000,
    "the restored table",
  );

  assert.equal((await node.exec("holdfast", "restore", "--undo", "--confirm")).status, 0);
  await until(
    async () => (await node.sql("select to_regclass('t') is null").catch(() => "")) === "t",
    120_000,
    "the data from before the restore",
  );
  await node.sql("create table after_undo as select 1");
  await nothingWaits((statement) => node.sql(statement), "after the undo");
});

/** As an undo leaves the volume that is killed right behind its promotion: the log has not heard of the new timeline. */
const PROMOTED_UNDO = `
set -eu
cd /data
cp pgdata/pg_wal/00000002.history /tmp/restored.history
rm -rf pgdata
mv pgdata.aside-* pgdata
printf '{"work":"restore","beganMs":1,"detail":"undo u-1"}' > holdfast/unfinished.json
printf '{"id":"u-1","kind":"undo","fields":{},"askedMs":1}' > holdfast/restore-order.json
rm holdfast/complete.json
touch pgdata/standby.signal
cp /tmp/restored.history pgdata/pg_wal/00000002.history
chown -R postgres:postgres pgdata
run() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
run postgres -D /data/pgdata -c port=5999 -c unix_socket_directories=/tmp -c listen_addresses= -c archive_mode=off \\
  -c restore_command=false -c recovery_target_timeline=1 -c hot_standby=off -c ssl=off &
until pg_controldata pgdata | grep -q 'in archive recovery'; do sleep 0.1; done
sleep 1
run pg_ctl promote -w -D /data/pgdata
test -e pgdata/pg_wal/00000003.history
run pg_ctl stop -m immediate -D /data/pgdata
`;

/** Makes a table `later` and restores in place to before it. */
async function makeLaterAndRestore(node: ImageNode): Promise<void> {
  await sleep(1500);
  const time = await node.sql("select clock_timestamp()");
  await sleep(1500);
  await node.sql("create table later as select 2 as i");
  await sleep(1500);
  assert.equal((await node.exec("holdfast", "restore", "--target-time", time, "--confirm")).status, 0);
  await until(
    async () => (await node.sql("select to_regclass('later') is null").catch(() => "")) === "t",
    120_000,
    "the restore",
  );
}

test("an undo killed between its promotion and the log's acceptance goes on from there", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const volume = await bench.volume();
  const node = await bench.run({ env, volume });
  await node.ready();
  await node.sql("create table t as select 1 as i");
  await makeLaterAndRestore(node);
  assert.equal(await node.stop(), 0);
  const left = await bench.runOnce({ env, volume, command: ["bash", "-c", PROMOTED_UNDO] });
  assert.equal(left.status, 0, left.stdout + left.stderr);

  await node.start();
  await node.said("the undo was promoted already");
  await node.ready(120_000);
  assert.equal(await node.sql("select i from later"), "2");
  await node.sql("insert into later values (3)");
  assert.equal((await node.exec("holdfast", "restore", "--undo", "--confirm")).status, 1);
  await sleep(2500);
  await node.kill();
  await node.remove();
  const heir = await bench.run({ env, name: "heir" });
  await heir.ready(120_000);
  assert.equal(await heir.sql("select string_agg(i::text, ',' order by i) from later"), "2,3");
  await nothingWaits((statement) => heir.sql(statement), "the heir");
});

test("an undo killed at a seeded moment always ends in the data from before the restore", async () => {
  await using bench = await Bench.open();
  for (const seed of seeds(2, 20)) {
    const random = makeRandom(seed);
    const node = await bench.run({ env: bench.s3Env(`undo-${seed}`), name: `u${seed}` });
    await node.ready();
    await makeLaterAndRestore(node);
    assert.equal((await node.exec("holdfast", "restore", "--undo", "--confirm")).status, 0);
    for (let kill = 0; kill < 2; kill += 1) {
      await sleep(random() * 7000);
      await node.kill();
      await node.start();
    }
    await node.ready(120_000);
    await until(
      async () => (await node.sql("select i from later").catch(() => "")) === "2",
      120_000,
      `seed ${seed}: the data from before the restore`,
    );
    await nothingWaits((statement) => node.sql(statement), `seed ${seed}`);
    await node.remove();
  }
});

test("the archive goes on after a restore: two lives later both are there", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  let last = 0;
  for (let life = 1; life <= 3; life += 1) {
    const node = await bench.run({ env });
    await node.ready(120_000);
    if (life === 1) await node.sql("create table lives (n int)");
    assert.equal(await node.sql("select coalesce(max(n), 0) from lives"), String(last));
    await node.sql(`insert into lives values (${life})`);
    last = life;
    await sleep(2500);
    await node.kill();
    await node.remove();
  }
  const node = await bench.run({ env });
  await node.ready(120_000);
  assert.equal(await node.sql("select string_agg(n::text, ',' order by n) from lives"), "1,2,3");
  assert.equal((await node.shell("wal-g wal-show")).status, 0);
});

test("a smaller machine with other passwords starts from a bigger one's archive, doors closed meanwhile", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const big = await bench.run({
    env: { ...env, POSTGRES_CONFIG_max_connections: "400" },
    options: ["--memory", "4g"],
  });
  await big.ready();
  await big.sql("create table t as select g, repeat('x', 500) as x from generate_series(1, 100000) g");
  assert.equal(await big.stop(), 0);
  await big.remove();

  const small = await bench.run({
    env: { ...env, POSTGRES_PASSWORD: "another-password_2" },
    options: ["--memory", "1g"],
  });
  let openings = 0;
  await until(
    async () => {
      const bare = await small.exec(
        "psql",
        "-h",
        "127.0.0.1",
        "-p",
        "5433",
        "-U",
        "postgres",
        "-wAtc",
        "select 1",
      );
      const old = await small.shell(
        `PGPASSWORD=${PASSWORD} psql -h 127.0.0.1 -p 5432 -U postgres -wAtc 'select 1'`,
      );
      if (bare.status === 0 || old.status === 0) openings += 1;
      return (await withPassword(small, "another-password_2")).status === 0 || !(await small.running());
    },
    120_000,
    "the smaller machine",
  );
  assert.equal(openings, 0, "nobody gets in without the new password");
  const rows = await withPassword(small, "another-password_2", "select count(*) from t");
  assert.equal(rows.stdout.trim(), "100000");
  const settings = await withPassword(small, "another-password_2", "select string_agg(setting, '') from pg_settings where name like 'recovery_target%' and name not in ('recovery_target_inclusive', 'recovery_target_timeline', 'recovery_target_action')"); // prettier-ignore
  assert.equal(settings.stdout.trim(), "");
});

async function withPassword(
  node: ImageNode,
  password: string,
  sql = "select 1",
): ReturnType<ImageNode["shell"]> {
  return node.shell(`PGPASSWORD=${password} psql -h 127.0.0.1 -p 5432 -U postgres -wAtc "${sql}"`);
}

/** Entity tags of all objects below a prefix of the bench's bucket. */
async function tags(bench: Bench, prefix: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  let token: string | undefined;
  do {
    const page = await bench.s3
      .client()
      .send(new ListObjectsV2Command({ Bucket: bench.s3.bucket, Prefix: prefix, ContinuationToken: token }));
    for (const object of page.Contents ?? []) found[object.Key!] = object.ETag!;
    token = page.NextContinuationToken;
  } while (token !== undefined);
  return found;
}
