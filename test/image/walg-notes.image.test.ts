// The notes of somebody who runs WAL-G in a Postgres container, command by command, in our image.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench, PASSWORD, until, type ImageNode, type Ran } from "../support/image.ts";

test("the commands of a WAL-G user's notes work as they are", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env("notes");
  const volume = await bench.volume();
  const node = await bench.run({ env, volume });
  await node.ready();

  ok(await node.shell(`PGPASSWORD=${PASSWORD} pgbench -h 127.0.0.1 -U postgres -i -q -s 2 postgres`));
  ok(await node.shell("psql -U postgres -Atc 'SELECT pg_switch_wal()'"));
  await until(
    async () => Number(await node.sql("select archived_count from pg_stat_archiver")) > 0,
    30_000,
    "pg_stat_archiver to count a segment",
  );
  assert.equal(await node.sql("select failed_count from pg_stat_archiver"), "0");

  ok(await node.shell("wal-g backup-push $PGDATA"));
  const list = ok(await node.shell("wal-g backup-list"));
  const rows = list.stdout.trim().split("\n");
  assert.match(rows[0]!, /^backup_name\s+modified\s+wal_file_name\s+storage_name$/);
  assert.equal(rows.length, 3, list.stdout); // the first backup, and ours
  assert.match(rows[2]!, /^base_[0-9A-F]{24}\s/);

  const show = ok(await node.shell("wal-g wal-show"));
  assert.match(show.stdout, /\| TLI \| PARENT TLI \| SWITCHPOINT LSN \| START SEGMENT/);
  assert.match(show.stdout, /\| OK\s+\|/);
  const verify = ok(await node.shell("wal-g wal-verify integrity timeline"));
  assert.match(verify.stdout, /integrity check status: (OK|WARNING)/);
  assert.match(verify.stdout, /timeline check status: OK/);

  ok(await node.shell("wal-g delete retain Full 5 --confirm"));
  ok(await node.shell("wal-g delete retain FULL 5 --confirm"));
  assert.equal(
    ok(await node.shell("wal-g backup-list"))
      .stdout.trim()
      .split("\n").length,
    3,
  );

  // The same segment once more is harmless; other bytes under its name are refused.
  ok(
    await node.shell(
      "f=$(ls $PGDATA/pg_wal | grep -E '^[0-9A-F]{24}$' | head -1); WALG_PREVENT_WAL_OVERWRITE=1 wal-g wal-push $PGDATA/pg_wal/$f",
    ),
  );
  const other = await node.shell(
    "f=$(ls $PGDATA/pg_wal | grep -E '^[0-9A-F]{24}$' | head -1); mkdir -p /tmp/x && head -c 16777216 /dev/urandom > /tmp/x/$f && WALG_PREVENT_WAL_OVERWRITE=1 wal-g wal-push /tmp/x/$f",
  );
  assert.notEqual(other.status, 0);

  await restoreInPlace(node);
  await restoreFetched(bench, env, node);
});

/** `touch recovery.signal` and a restart replay what the archive has. */
async function restoreInPlace(node: ImageNode): Promise<void> {
  await node.sql("create table kept as select 1 as one");
  ok(await node.shell("touch $PGDATA/recovery.signal"));
  assert.equal(await node.stop(), 0);
  await node.start();
  await node.ready(120_000);
  assert.equal(await node.sql("select one from kept"), "1");
  assert.equal(await node.sql("select pg_is_in_recovery()"), "f");
  assert.notEqual(await node.sql("select coalesce(pg_last_xact_replay_timestamp()::text, 'none')"), "");
  assert.ok(Number(await node.sql("select timeline_id from pg_control_checkpoint()")) > 1);
}

/** backup-fetch into an empty volume and recovery.signal, before a start. */
async function restoreFetched(bench: Bench, env: Record<string, string>, old: ImageNode): Promise<void> {
  await old.sql("create table later as select 2 as two");
  assert.equal(await old.stop(), 0);
  await old.remove();
  const volume = await bench.volume();
  const fetch = "wal-g backup-fetch $PGDATA LATEST; touch $PGDATA/recovery.signal";
  ok(await bench.runOnce({ env, volume, command: ["sh", "-c", fetch] }));
  const node = await bench.run({ env, volume });
  await node.ready(120_000);
  assert.equal(await node.sql("select two from later"), "2");
  assert.equal(await node.sql("select count(*) from pgbench_accounts"), "200000");
}

function ok(ran: Ran): Ran {
  assert.equal(ran.status, 0, `status ${ran.status}: ${ran.stderr}\n${ran.stdout}`);
  return ran;
}
