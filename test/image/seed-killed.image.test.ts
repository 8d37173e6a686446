// Promise P6 and behaviour 13: a seed killed at any moment is finished or begun anew by the next start.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, seeds } from "../support/image.ts";
import { nothingWaits } from "../support/nothing-waits.ts";
import { makeRandom } from "../support/random.ts";

test("a seed killed at a seeded moment always ends in a right server", async (t) => {
  await using bench = await Bench.open();
  const env = bench.s3Env();
  const first = await bench.run({ env });
  await first.ready();
  await first.sql("create table t as select g, md5(g::text) as m from generate_series(1, 300000) g");
  await first.sql("create index on t (m)");
  assert.equal((await first.shell("wal-g backup-push $PGDATA")).status, 0);
  await first.sql("insert into t select g, md5(g::text) from generate_series(300001, 320000) g");
  const digest = "select count(*) || ' ' || md5(string_agg(m, ',' order by g)) from t";
  const expected = await first.sql(digest);
  assert.equal(await first.stop(), 0);
  await first.remove();

  const whole = await bench.run({ env, name: "w" });
  const wholeMs = await whole.ready(240_000);
  assert.equal(await whole.sql(digest), expected);
  await whole.remove();
  t.diagnostic(`an undisturbed seed takes ${Math.round(wholeMs)} ms`);

  for (const seed of seeds(5, 30)) {
    const random = makeRandom(seed);
    const volume = await bench.volume();
    const kills = 1 + Math.floor(random() * 3);
    for (let kill = 0; kill < kills; kill += 1) {
      const doomed = await bench.run({ env, volume, name: `seeded-${seed}` });
      const afterMs = random() * wholeMs * 1.1;
      await sleep(afterMs);
      await doomed.kill().catch(() => undefined);
      await doomed.remove();
    }
    const last = await bench.run({ env, volume, name: `seeded-${seed}` });
    await last.ready(240_000);
    assert.equal(await last.sql(digest), expected, `seed ${seed}`);
    await nothingWaits((statement) => last.sql(statement), `seed ${seed}`);
    await last.remove();
    await bench.deleteVolume(volume);
  }
});

test("an initdb killed at a seeded moment is begun anew", async () => {
  await using bench = await Bench.open();
  for (const seed of seeds(3, 10)) {
    const random = makeRandom(seed);
    const env = bench.s3Env(`initdb-${seed}`);
    const volume = await bench.volume();
    const doomed = await bench.run({ env, volume });
    await sleep(random() * 5000);
    await doomed.kill().catch(() => undefined);
    await doomed.remove();
    const last = await bench.run({ env, volume });
    await last.ready(240_000);
    assert.equal(await last.sql("select 1"), "1", `seed ${seed}`);
    await last.remove();
  }
});
