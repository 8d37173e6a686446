// Promises P5 and behaviours 6, 10 and 12: never initdb over an archive, never write into a foreign one.

import assert from "node:assert/strict";
import { ListObjectsV2Command, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, mustDocker, type ImageNode } from "../support/image.ts";

test("an empty volume waits while the store does not answer, and goes on when it does", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const first = await bench.run({ env });
  await first.ready();
  await first.sql("create table t as select 7 as seven");
  assert.equal(await first.stop(), 0);
  await first.remove();

  await bench.s3.cut();
  const second = await bench.run({ env });
  await waits(second);
  await bench.s3.heal();
  await second.ready(120_000);
  assert.equal(await second.sql("select seven from t"), "7");
});

test("wrong keys: wait and say so, no initdb", async () => {
  await using bench = await Bench.open();
  const node = await bench.run({
    env: { ...bench.s3Env(), AWS_SECRET_ACCESS_KEY: "not-the-right-key-0000" },
  });
  await waits(node);
  assert.ok(!(await node.log()).includes("not-the-right-key-0000"));
});

test("a missing bucket is not an empty archive", async () => {
  await using bench = await Bench.open();
  const node = await bench.run({ env: { ...bench.s3Env(), WALG_S3_PREFIX: "s3://no-such-bucket/db" } });
  await waits(node);
});

test("another cluster's prefix is refused and stays byte for byte as it was", async () => {
  await using bench = await Bench.open();
  const owner = await bench.run({ env: bench.s3Env("one"), name: "one" });
  await owner.ready();
  await owner.sql("create table t as select 1");
  assert.equal(await owner.stop(), 0);
  const stranger = await bench.run({ env: bench.s3Env("two"), name: "two", volume: await bench.volume() });
  await stranger.ready();
  assert.equal(await stranger.stop(), 0);

  const before = await everything(bench.s3.client());
  const volume = await volumeOf(stranger);
  await stranger.remove();
  const intruder = await bench.run({ env: bench.s3Env("one"), name: "two", volume });
  await sleep(6000);
  const log = await intruder.log();
  assert.match(log, /system identifier/i);
  assert.ok(await intruder.sql("select 1").then(() => false, () => true), "a stranger must not serve on a foreign archive"); // prettier-ignore
  assert.deepEqual(await everything(bench.s3.client()), before);
});

test("a broken newest backup: the older one is taken", async () => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const first = await bench.run({ env });
  await first.ready();
  await first.sql("create table t as select 5 as five");
  assert.equal((await first.shell("wal-g backup-push $PGDATA")).status, 0);
  assert.equal(await first.stop(), 0);
  await first.remove();
  const s3 = bench.s3.client();
  const newest = [...(await everything(s3)).keys()]
    .filter((key) => /tar_partitions\/part_/.test(key))
    .sort()
    .at(-1)!;
  await s3.send(new PutObjectCommand({ Bucket: bench.s3.bucket, Key: newest, Body: "damaged" }));

  const second = await bench.run({ env });
  await second.ready(120_000);
  assert.equal(await second.sql("select five from t"), "5");
});

/** It runs, says that it waits, serves nobody and has made no cluster. */
async function waits(node: ImageNode): Promise<void> {
  await node.said(/wait/i, 60_000);
  await sleep(3000);
  assert.equal(await node.running(), true, await node.log());
  assert.equal((await node.shell("test -e $PGDATA/PG_VERSION")).status, 1, "no cluster may have been made");
  assert.notEqual((await node.get(5500, "/health/ready")).status, 200);
  assert.equal((await node.get(5500, "/health/live")).status, 200);
}

/** Every object's key and entity tag. */
async function everything(s3: S3Client): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  let token: string | undefined;
  do {
    const page = await s3.send(new ListObjectsV2Command({ Bucket: "holdfast", ContinuationToken: token }));
    for (const object of page.Contents ?? []) found.set(object.Key!, object.ETag!);
    token = page.NextContinuationToken;
  } while (token !== undefined);
  return found;
}

async function volumeOf(node: ImageNode): Promise<string> {
  return mustDocker(
    "inspect",
    "-f",
    '{{range .Mounts}}{{if eq .Destination "/data"}}{{.Name}}{{end}}{{end}}',
    node.container,
  );
}
