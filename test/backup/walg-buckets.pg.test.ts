// Every bucket that WAL-G wrote is restored to its recorded targets, and the rows are those that WAL-G's own restore had.
// A sample of the targets; all of them with HOLDFAST_LONG. Buckets of another major version than the Postgres at hand are
// told at the end: the suite runs this file once in each image.

import assert from "node:assert/strict";
import { test } from "node:test";
import { join } from "node:path";
import { messageOf } from "../../src/base/errors.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { postgresMajor, scratchFolder } from "../support/scratch-postgres.ts";
import { type Bucket, openBuckets } from "../support/walg-buckets.ts";
import {
  type RecordedTarget,
  decodeArchive,
  fetchFixture,
  readRecordedBucket,
  readRows,
  recoverTo,
} from "../support/walg-restore.ts";

/** What is left of the buckets with a fault: the targets that must fail, and what the message must name. */
const FAULTS: Readonly<Record<string, { readonly unreachable: readonly string[]; readonly names: RegExp }>> =
  {
    "pg17-broken-bit-flip": { unreachable: ["*"], names: /part_001\.tar\.br/ },
    "pg17-broken-missing-part": { unreachable: ["*"], names: /part_002\.tar\.br": is missing/ },
    "pg17-broken-truncated-part": { unreachable: ["*"], names: /part_001\.tar\.br/ },
    "pg17-broken-missing-sentinel": {
      unreachable: ["immediate-3"],
      names: /backup "base_00000001000000000000000B/,
    },
    "pg17-broken-missing-wal": { unreachable: [], names: /$^/ },
    "pg17-broken-zero-length-wal": {
      unreachable: ["immediate-3", "lsn-4", "latest-5"],
      names:
        /could not locate required checkpoint record|WAL ends before end of online backup|could not locate a valid checkpoint/,
    },
  };

const major = await postgresMajor();
const isWhole = process.env["HOLDFAST_LONG"] !== undefined;
const buckets = await openBuckets();
const covered: string[] = [];
const others: string[] = [];

for (const bucket of buckets) {
  const recorded = await readRecordedBucket(bucket.folder);
  (recorded.pg_major === major ? covered : others).push(bucket.name);
  if (recorded.pg_major !== major) continue;
  const targets = recorded.targets.filter((target, index, all) => isWhole || isSampled(target, index, all));
  test(`${bucket.name}: ${targets.length} of ${recorded.targets.length} targets`, async (t) => {
    await bucket.prepare();
    try {
      await using work = await scratchFolder("walg-archive");
      const archive = join(work.path, "wal");
      const store = bucket.store;
      await decodeArchive(bucket.name, store, archive);
      for (const target of targets) await t.test(target.id, () => checkTarget(bucket, target, archive));
    } finally {
      await bucket.remove();
    }
  });
}

test(`covered are the buckets of Postgres ${major}`, () => {
  console.log(`covered: ${covered.join(" ")}; left to other majors: ${others.join(" ")}`);
  assert.ok(covered.length > 0, `no bucket is of Postgres ${major}`);
});

/** The last target, and the first of each backup that targets name. */
function isSampled(target: RecordedTarget, index: number, all: readonly RecordedTarget[]): boolean {
  const isFirst = all.findIndex(({ backup }) => backup === target.backup) === index;
  return index === all.length - 1 || (isFirst && target.backup !== "LATEST");
}

async function checkTarget(bucket: Bucket, target: RecordedTarget, archive: string): Promise<void> {
  await using work = await scratchFolder("walg-restore");
  const directory = join(work.path, "data");
  const fault = FAULTS[bucket.name];
  const isLost =
    fault !== undefined && (fault.unreachable.includes("*") || fault.unreachable.includes(target.id));
  try {
    const store = await openFolderStore(bucket.store);
    await fetchFixture(bucket.name, store, target.backup, directory, join(work.path, "tablespaces"));
    await using server = await recoverTo(target, directory, archive);
    if (!isLost) assert.deepEqual(await readRows(server), target.rows);
  } catch (error) {
    if (!isLost) throw error;
    assert.match(messageOf(error), fault.names);
    return;
  }
  assert.ok(!isLost, "a target that lies behind the fault was reached");
}
