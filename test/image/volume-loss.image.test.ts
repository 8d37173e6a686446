// Promises P1 and P2: kill everything, delete the volume, start again with the same environment file; the rows are there.

import { PutObjectCommand } from "@aws-sdk/client-s3";
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Bench, seeds, type ImageNode } from "../support/image.ts";
import { nothingWaits } from "../support/nothing-waits.ts";
import { Ledger, percentile } from "../support/ledger.ts";
import { makeRandom } from "../support/random.ts";

/** One flush interval and one PUT. A PUT is given a second, or what the slowest of our own took at that time. */
const FLUSH_MS = 1000;
const PUT_MS = 1000;

test("an empty volume and the same environment become the running database", async (t) => {
  await using bench = await Bench.open();
  const ages: number[] = [];
  for (const seed of seeds(3, 30)) {
    const age = await trial(bench, seed);
    t.diagnostic(
      `seed ${seed}: newest lost commit was ${age === null ? "none" : `${Math.round(age)} ms`} old`,
    );
    ages.push(age ?? 0);
  }
  const [p50, p99] = [percentile(ages, 0.5), percentile(ages, 0.99)];
  t.diagnostic(
    `oldest lost commit over ${ages.length} trials: p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, worst ${Math.max(...ages).toFixed(0)} ms`,
  );
});

/** Load, kill, delete the volume, start: resolves to the age of the oldest lost commit, null when nothing was lost. */
async function trial(bench: Bench, seed: number): Promise<number | null> {
  const random = makeRandom(seed);
  const env = bench.s3Env(`trial-${seed}`);
  const volume = await bench.volume();
  const first = await bench.run({ env, volume });
  await first.ready();
  await Ledger.create(await first.address());
  const ledger = new Ledger({ host: await first.address(), clients: 3 });
  const load = background(first, seed % 3 === 0);
  ledger.start();
  const over = new AbortController();
  const probing = slowestPut(bench, over.signal);
  await sleep(3000 + random() * 5000);
  await first.kill();
  over.abort();
  const oldestMs = FLUSH_MS + Math.max(PUT_MS, await probing);
  await ledger.stop();
  await load;
  await first.remove();
  await bench.deleteVolume(volume);

  const second = await bench.run({ env });
  await second.ready(240_000);
  const lost = await ledger.lost(await second.address());
  const age = lost.length === 0 ? null : ledger.lastAckMs() - lost[0]!.ackMs;
  assert.ok(
    ledger.entries.length > 50,
    `seed ${seed}: only ${ledger.entries.length} commits were acknowledged`,
  );
  assert.ok(
    age === null || age <= oldestMs,
    `seed ${seed}: a commit ${age} ms older than the last one is lost; ${oldestMs.toFixed(0)} ms were to be borne`,
  );
  // The second life is archived too.
  await second.sql("insert into ledger (id) select max(id) + 1 from ledger");
  await nothingWaits((statement) => second.sql(statement), `seed ${seed}`);
  await second.remove();
  return age;
}

/** pgbench and, when `long`, records of 1 to 9 MB, so that the log ends inside a record. Ends with the node. */
async function background(node: ImageNode, long: boolean): Promise<void> {
  const bench =
    "pgbench -h 127.0.0.1 -p 5432 -U postgres -i -q -s 1 postgres && pgbench -h 127.0.0.1 -p 5432 -U postgres -c 2 -T 60 postgres";
  const messages = `for i in $(seq 1000); do psql -h 127.0.0.1 -p 5432 -U postgres -qAt -c "select pg_logical_emit_message(true, 'm', repeat('x', (1 + random() * 8)::int * 1000000))"; done`;
  const run = async (script: string): Promise<unknown> =>
    node.shell(`export PGPASSWORD=a-good-password_1; ${script} > /dev/null 2>&1`);
  await Promise.all([run(bench), long ? run(messages) : Promise.resolve()]);
}

/** PUTs a small object again and again until the signal aborts; resolves to the longest time that one took, in milliseconds. */
async function slowestPut(bench: Bench, signal: AbortSignal): Promise<number> {
  const client = bench.s3.client();
  let worst = 0;
  for (let count = 0; !signal.aborted; count += 1) {
    const begun = performance.now();
    await client.send(
      new PutObjectCommand({ Bucket: bench.s3.bucket, Key: `probe/${count % 10}`, Body: "x".repeat(16_384) }),
    );
    worst = Math.max(worst, performance.now() - begun);
    await sleep(200);
  }
  return worst;
}
