// A bucket that WAL-G wrote becomes ours: restored under the same prefix, led, lost, restored again, now through the log.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import { readSourceLog } from "../../src/archive/archive-source.ts";
import { systemClock } from "../../src/base/clock.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { LATEST } from "../../src/recovery/target.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { Archiving, testLog } from "../support/archive-bench.ts";
import { fetch, PLAIN } from "../support/backup-source.ts";
import { RestoreBench } from "../support/restore-bench.ts";
import { postgresMajor } from "../support/scratch-postgres.ts";
import { openBucket } from "../support/walg-buckets.ts";
import { readRecordedBucket } from "../support/walg-restore.ts";

/** A bucket of each major version, with timelines where there are some. */
const BUCKETS: Readonly<Record<number, string>> = {
  15: "pg15-delta-rating",
  17: "pg17-timelines",
  18: "pg18-full",
};
const name = BUCKETS[await postgresMajor()] ?? "pg17-timelines";

test(`${name} is restored under its own prefix, archived into, and restored again`, async () => {
  const signal = AbortSignal.timeout(240_000);
  const bucket = await openBucket(name);
  await bucket.prepare();
  await using things = new AsyncDisposableStack();
  things.defer(() => bucket.remove());
  const store = await openFolderStore(bucket.store);
  const { wal_segment_size: segmentBytes } = await readRecordedBucket(bucket.folder);
  const source: ArchiveSource = {
    ...{ store, cipher: noCipher, likely: "lz4", clock: systemClock, log: testLog },
    ...{ segmentBytes, systemId: null, magic: null },
  };
  const rows: string[] = [];
  for (const round of [1, 2, 3]) {
    const bench = things.use(await RestoreBench.open());
    const planned = await bench.plan(source, LATEST, signal);
    await fetch(store, planned.plan.backup.name, bench.dataDirectory, PLAIN, {
      tablespaces: { kind: "below", root: join(bench.root, "tablespaces") },
    });
    const { claim, change, backfill, path, isGenesis } = await bench.perform(planned, store, signal);
    assert.equal(isGenesis, round === 1);
    assert.equal(change.cut, false);
    const archiving = things.use(
      await Archiving.begin(bench, store, bench.hooks, {
        ...{ signal, claim, flushMs: 50 },
        ...(isGenesis
          ? {}
          : { beginning: { kind: "bring", change, backfill, parentPath: path.slice(0, -1) } as const }),
      }),
    );
    if (round > 1)
      assert.equal(await bench.psql("select string_agg(note, ',' order by note) from ours"), rows.join());
    await bench.psql("create table if not exists ours(note text)");
    rows.push(`round ${round}`);
    await bench.psql(`insert into ours values ('round ${round}')`);
    await archiving.settle(bench, 60_000);
    await bench.kill();
    await archiving.streamer.stop();
  }
  const view = await readSourceLog(source, signal);
  assert.equal(view?.histories.size, view!.tip!.path.length - 1);
});
