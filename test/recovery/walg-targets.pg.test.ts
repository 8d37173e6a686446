// Buckets that WAL-G wrote, restored to their recorded targets by plan, restore_command, fence and promotion as in production.
// A sample; all targets of all buckets of this major version with HOLDFAST_LONG.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import { systemClock } from "../../src/base/clock.ts";
import { cipherOf, readCipherKey } from "../../src/codec/encryption.ts";
import { parseRequest } from "../../src/recovery/target.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { testLog } from "../support/archive-bench.ts";
import { RestoreBench } from "../support/restore-bench.ts";
import { postgresMajor, type ScratchPostgres } from "../support/scratch-postgres.ts";
import { fixtureCipher } from "../support/walg-fixtures.ts";
import { type Bucket, openBuckets } from "../support/walg-buckets.ts";
import { fetchFixture, type RecordedTarget, readRecordedBucket, readRows } from "../support/walg-restore.ts";

/** Buckets whose faults are the subject of other tests. */
const BROKEN = /broken/;
const SAMPLED = new Set(["pg17-lz4", "pg17-timelines", "pg17-high-lsn", "pg18-full"]);
const major = await postgresMajor();
const isWhole = process.env["HOLDFAST_LONG"] !== undefined;

for (const bucket of await openBuckets()) {
  const recorded = await readRecordedBucket(bucket.folder);
  if (recorded.pg_major !== major || BROKEN.test(bucket.name)) continue;
  if (!isWhole && !SAMPLED.has(bucket.name)) continue;
  test(`${bucket.name}: ${isWhole ? "every recorded target" : "one target of each kind"}`, async (t) => {
    await bucket.prepare();
    try {
      for (const target of recorded.targets.filter(isWhole ? () => true : isFirstOfItsKind)) {
        await t.test(target.id, () => checkTarget(bucket, target, recorded.wal_segment_size));
      }
    } finally {
      await bucket.remove();
    }
  });
}

/** One of each kind of target and timeline. */
function isFirstOfItsKind(target: RecordedTarget, index: number, all: readonly RecordedTarget[]): boolean {
  return (
    all.findIndex(({ what, timeline }) => what === target.what && timeline === target.timeline) === index
  );
}

test("a bucket of this major version was restored", async () => {
  const majors = await Promise.all((await openBuckets()).map(({ folder }) => readRecordedBucket(folder)));
  assert.ok(
    majors.some(({ pg_major }) => pg_major === major) || major === 15,
    `no bucket is of Postgres ${major}`,
  );
});

async function checkTarget(bucket: Bucket, target: RecordedTarget, segmentBytes: number): Promise<void> {
  const signal = AbortSignal.timeout(120_000);
  await using bench = await RestoreBench.open();
  const store = await openFolderStore(bucket.store);
  const own = await openFolderStore(join(bench.root, "own"), { create: true });
  const source: ArchiveSource = {
    store,
    cipher: await cipherOf(await readCipherKey(fixtureCipher(bucket.name))),
    likely: "lz4",
    clock: systemClock,
    log: testLog,
    segmentBytes,
    systemId: null,
    magic: null,
  };
  const planned = await bench.plan(source, requestOf(target), signal);
  await fetchFixture(
    bucket.name,
    store,
    planned.plan.backup.name,
    bench.dataDirectory,
    join(bench.root, "tablespaces"),
  );
  const promoted = await bench.perform(planned, own, signal);
  assert.equal(promoted.isGenesis, true);
  assert.equal(promoted.change.parent, planned.plan.timeline);
  assert.deepEqual(await readRows(bench as unknown as ScratchPostgres), target.rows);
}

function requestOf({ what, value, timeline, backup }: RecordedTarget): ReturnType<typeof parseRequest> {
  const given = what === "latest" ? {} : what === "immediate" ? { immediate: true } : { [what]: value ?? "" };
  return parseRequest({ ...given, timeline, backup });
}
