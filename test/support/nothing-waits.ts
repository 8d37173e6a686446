// Postgres is let go of every file that it filled. One that archive_command never takes would keep all later ones on the disk.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

const WAITING =
  "select coalesce(string_agg(name, ' '), '') from pg_ls_archive_statusdir() where name like '%.ready'";
const LIMIT_MS = 60_000;

/** A checkpoint offers what the last timeline left in pg_wal, a switch the open segment; then the archiver must come to its end. */
export async function nothingWaits(sql: (statement: string) => Promise<string>, what: string): Promise<void> {
  await sql("checkpoint");
  await sql("select pg_switch_wal()");
  let left = "";
  for (const begun = performance.now(); performance.now() - begun < LIMIT_MS; await sleep(250)) {
    left = await sql(WAITING);
    if (left === "") return;
  }
  assert.fail(`${what}: archive_command does not take ${left}`);
}
