// A segment is gone from the bucket and from the primary, and only the standby still has it: `holdfast verify --repair` brings it back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DeleteObjectCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import type { RepairReport } from "../../src/cli/verify/repair.ts";
import { openCluster } from "../support/cluster-trial.ts";
import { until } from "../support/image.ts";
import type { ImageCluster } from "../support/image-cluster.ts";

const PG_WAL = "/data/pgdata/pg_wal";

test("a segment that only a standby still has is taken from there", async (t) => {
  const cluster = await openCluster(t, ["n1", "n2"]);
  const first = await cluster.whole(120_000);
  const other = cluster.others(first)[0]!.name;
  await cluster.sql(first, "create table t (i int)");
  for (let segment = 0; segment < 3; segment += 1) {
    await cluster.sql(first, `insert into t values (${segment})`);
    await cluster.sql(first, "select pg_switch_wal()");
  }
  // An orderly hand-over ends with a base: the log itself has nothing of what was before it.
  const handed = await cluster.get(first).exec("holdfast", "cluster", "switchover", other);
  assert.equal(handed.status, 0, handed.stdout + handed.stderr);
  assert.equal(await cluster.whole(180_000), other);
  await until(async () => (await cluster.verify(other)).isSound, 60_000, "a sound archive");

  const lost = (await segments(cluster)).filter(({ name }) => name.startsWith("00000001")).at(-2)!;
  const there = await cluster.get(first).exec("test", "-f", `${PG_WAL}/${lost.name}`);
  assert.equal(there.status, 0, `${first} has ${lost.name} no more`);
  await cluster.get(other).exec("rm", "-f", `${PG_WAL}/${lost.name}`);
  await cluster.bench.s3
    .client()
    .send(new DeleteObjectCommand({ Bucket: cluster.bench.s3.bucket, Key: lost.key }));
  const without = await cluster.get(other).exec("holdfast", "verify");
  assert.equal(without.status, 1, without.stdout);
  assert.match(without.stdout, new RegExp(`${lost.name}: is missing and needed`));

  const ran = await cluster.get(other).exec("holdfast", "verify", "--repair", "--content", "--json");
  assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  const { repair } = JSON.parse(ran.stdout) as { readonly repair: RepairReport };
  assert.deepEqual(repair.created, [{ segment: lost.name, from: `${first} (${first}:5433)` }]);
  assert.deepEqual(repair.left, []);
  assert.ok((await segments(cluster)).some(({ key }) => key === lost.key));
});

/** The complete segments in wal_005, in order. */
async function segments({
  bench,
}: ImageCluster): Promise<readonly { readonly key: string; readonly name: string }[]> {
  const { Contents = [] } = await bench.s3
    .client()
    .send(new ListObjectsV2Command({ Bucket: bench.s3.bucket }));
  return Contents.flatMap(({ Key: key = "" }) => {
    const name = /\/wal_005\/([0-9A-F]{24})\.[a-z0-9]+$/.exec(key)?.[1];
    return name === undefined ? [] : [{ key, name }];
  });
}
