// wal-fetch on buckets of WAL-G's: the exit status and the length of every segment, as recorded or better.

import assert from "node:assert/strict";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Bucket, openBuckets } from "../support/walg-buckets.ts";
import { callWalg } from "../support/call-walg.ts";

/** Without a look-ahead, which would start processes. */
const ALONE = { WALG_DOWNLOAD_CONCURRENCY: "1" };

for (const bucket of await openBuckets()) {
  const recorded = JSON.parse(
    await readFile(join(bucket.folder, "recorded/wal-fetch.json"), "utf8").catch(() => "{}"),
  ) as Record<string, { exit: number; size: number | null }>;
  if (Object.keys(recorded).length === 0) continue;
  describe(bucket.name, () => {
    before(() => bucket.prepare());
    after(() => bucket.remove());
    for (const [name, { exit, size }] of Object.entries(recorded)) {
      test(name, async () => {
        const { status, bytes } = await fetch(bucket, name);
        // WAL-G serves an empty or cut segment with exit 0: Postgres would take it for the end of the WAL.
        const isDamaged = exit === 0 && size !== 1 << 20;
        assert.equal(status, isDamaged ? 255 : exit);
        assert.equal(bytes, isDamaged ? null : size);
      });
    }
  });
}

async function fetch(bucket: Bucket, name: string): Promise<{ status: number; bytes: number | null }> {
  const place = await bucket.placeFor({ file: "", args: [], exit: 0 });
  const target = join(await bucket.scratch(), "RECOVERYXLOG");
  const result = await callWalg(["wal-fetch", name, target], { ...bucket.envAt(place), ...ALONE });
  const bytes = await stat(target).then(
    (info) => info.size,
    () => null,
  );
  return { status: result.exit, bytes };
}

describe("what is no proof of absence ends with 255", () => {
  let bucket: Bucket;
  before(async () => {
    bucket = (await openBuckets()).find(({ name }) => name === "pg17-brotli")!;
    await bucket.prepare();
  });
  after(() => bucket.remove());
  const name = "0000000100000000000000FF";

  test("a missing storage folder", async () => {
    const scratch = await bucket.scratch();
    const env = { WALG_FILE_PREFIX: join(scratch, "nowhere"), ...ALONE };
    assert.equal((await callWalg(["wal-fetch", name, join(scratch, "x")], env)).exit, 255);
  });

  test("an endpoint that refuses connections, in less than 30 seconds", async () => {
    const scratch = await bucket.scratch();
    const env = {
      WALG_S3_PREFIX: "s3://bucket/prefix",
      AWS_ENDPOINT: "http://127.0.0.1:9",
      AWS_ACCESS_KEY_ID: "key",
      AWS_SECRET_ACCESS_KEY: "secret",
      AWS_S3_FORCE_PATH_STYLE: "true",
      ...ALONE,
    };
    const begun = performance.now();
    const result = await callWalg(["wal-fetch", name, join(scratch, "x")], env);
    assert.equal(result.exit, 255, result.stderr);
    assert.ok(performance.now() - begun < 30_000);
  });

  test("an existing destination stays as it is", async () => {
    const scratch = await bucket.scratch();
    await writeFile(join(scratch, "x"), "mine");
    const env = { ...bucket.envAt(await bucket.copy()), ...ALONE };
    assert.equal(
      (await callWalg(["wal-fetch", "000000010000000000000006", join(scratch, "x")], env)).exit,
      255,
    );
    assert.equal(await readFile(join(scratch, "x"), "utf8"), "mine");
  });

  test("a file without WAL's name that is absent is absent", async () => {
    const scratch = await bucket.scratch();
    const env = { ...bucket.envAt(await bucket.copy()), ...ALONE };
    for (const absent of ["00000009.history", "no-such-file", name]) {
      assert.equal((await callWalg(["wal-fetch", absent, join(scratch, "x")], env)).exit, 74, absent);
    }
  });
});

test("files fetched ahead are checked before they are served", async (t) => {
  const bucket = (await openBuckets()).find(({ name }) => name === "pg17-brotli")!;
  await bucket.prepare();
  t.after(() => bucket.remove());
  const scratch = await bucket.scratch();
  const segments = (await bucket.objectsAt(bucket.store))
    .filter((key) => /^wal_005\/[0-9A-F]{24}\.br$/.test(key))
    .map((key) => key.slice("wal_005/".length, -".br".length));
  const [first, second, third] = segments;
  const env = { ...bucket.envAt(bucket.store), WALG_PREFETCH_DIR: scratch };
  assert.equal((await callWalg(["wal-prefetch", first!, join(scratch, "x")], env)).exit, 0);
  const ahead = join(scratch, ".wal-g/prefetch");
  assert.equal((await stat(join(ahead, second!))).size, 1 << 20);
  // A swapped one must not be served; the right one is fetched instead.
  await writeFile(join(ahead, second!), await readFile(join(ahead, third!)));
  await mkdir(join(scratch, "out"));
  const alone = { ...env, ...ALONE };
  assert.equal((await callWalg(["wal-fetch", second!, join(scratch, "out/a")], alone)).exit, 0);
  assert.equal((await callWalg(["wal-fetch", third!, join(scratch, "out/b")], alone)).exit, 0);
  const [a, b] = [await readFile(join(scratch, "out/a")), await readFile(join(scratch, "out/b"))];
  assert.ok(!a.equals(b));
  assert.equal(b.byteLength, 1 << 20);
});
