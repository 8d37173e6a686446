// G7: a lone node starts with the store away, and makes up for it when the store answers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, until } from "../support/image.ts";

test("a lone node starts on its data while the store is away, and archives when it is back", async (t) => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const volume = await bench.volume();
  const first = await bench.run({ env, volume });
  await first.ready();
  await first.sql("create table t as select 1 as i");
  assert.equal(await first.stop(), 0);
  await first.remove();

  await bench.s3.cut();
  const second = await bench.run({ env, volume });
  const readyMs = await second.ready(90_000);
  t.diagnostic(`ready after ${Math.round(readyMs)} ms with the store away`);
  await second.sql("insert into t values (2)");
  assert.equal((await second.get(5500, "/health/ready")).status, 200);
  assert.match((await second.exec("holdfast", "status")).stdout, /the store does not answer/);

  await bench.s3.heal();
  await until(
    async () => /^holdfast_archive_lag_bytes 0$/m.test((await second.get(9187, "/metrics")).body),
    90_000,
    "the log to be joined",
  );
  await second.sql("insert into t values (3)");
  await sleep(2_500);
  await second.kill();
  await second.remove();
  await bench.deleteVolume(volume);

  const third = await bench.run({ env });
  await third.ready(120_000);
  assert.equal(await third.sql("select string_agg(i::text, ',' order by i) from t"), "1,2,3");
});
