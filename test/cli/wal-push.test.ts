// wal-push: create-only, compared with what is there, with other segments uploaded beside it.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, describe, test } from "node:test";
import { openBucket } from "../support/walg-buckets.ts";
import { callWalg } from "../support/call-walg.ts";

const bucket = await openBucket("pg17-none");
await bucket.prepare();
after(() => bucket.remove());
/** Real segments of 1 MiB. */
const segments = (await bucket.objectsAt(bucket.store))
  .filter((key) => /^wal_005\/[0-9A-F]{24}$/.test(key))
  .slice(0, 4);
const names = segments.map((key) => key.slice("wal_005/".length));

describe("wal-push", () => {
  let root: string;
  let wal: string;
  let env: Record<string, string>;

  beforeEach(async (t) => {
    root = await mkdtemp(join(tmpdir(), "wal-push-"));
    (t as { after?: (work: () => Promise<void>) => void }).after?.(() =>
      rm(root, { recursive: true, force: true }),
    );
    wal = join(root, "pg_wal");
    await mkdir(join(wal, "archive_status"), { recursive: true });
    await mkdir(join(root, "store"));
    for (const [at, key] of segments.entries())
      await writeFile(join(wal, names[at]!), await readFile(join(bucket.store, key)));
    env = { WALG_FILE_PREFIX: join(root, "store"), WALG_PG_WAL_SIZE: "1", WALG_COMPRESSION_METHOD: "zstd" };
  });

  const push = (name: string, more: Record<string, string> = {}): ReturnType<typeof callWalg> =>
    callWalg(["wal-push", join(wal, name)], { ...env, ...more });
  const stored = (): Promise<string[]> => readdir(join(root, "store/wal_005")).then((found) => found.sort());

  test("stores a segment, and says nothing against the same bytes again, in any codec", async () => {
    assert.equal((await push(names[0]!)).exit, 0);
    assert.deepEqual(await stored(), [`${names[0]}.zst`]);
    assert.equal((await push(names[0]!)).exit, 0);
    assert.equal((await push(names[0]!, { WALG_COMPRESSION_METHOD: "lz4" })).exit, 0);
    assert.deepEqual(await stored(), [`${names[0]}.zst`]);
  });

  test("refuses other bytes under a name that exists; also in another codec", async () => {
    await push(names[0]!);
    const bytes = await readFile(join(wal, names[0]!));
    bytes[9000] = bytes[9000]! ^ 1;
    await writeFile(join(wal, names[0]!), bytes);
    for (const method of ["zstd", "lz4"]) {
      const result = await push(names[0]!, { WALG_COMPRESSION_METHOD: method });
      assert.equal(result.exit, 1);
      assert.match(result.stderr, /already archived, contents differ, unable to overwrite/);
    }
    assert.equal((await push(names[0]!, { WALG_PREVENT_WAL_OVERWRITE: "false" })).exit, 0);
  });

  test("a history is never replaced", async () => {
    await writeFile(join(wal, "00000002.history"), "1\t0/3000000\tbecause\n");
    assert.equal((await push("00000002.history")).exit, 0);
    await writeFile(join(wal, "00000002.history"), "1\t0/4000000\tbecause\n");
    assert.equal((await push("00000002.history", { WALG_PREVENT_WAL_OVERWRITE: "false" })).exit, 1);
  });

  test("a cut, swapped or empty file is not archived", async () => {
    const whole = await readFile(join(wal, names[0]!));
    for (const bytes of [whole.subarray(0, 1000), await readFile(join(wal, names[1]!)), Buffer.alloc(0)]) {
      await writeFile(join(wal, names[0]!), bytes);
      assert.equal((await push(names[0]!)).exit, 1);
    }
    assert.equal((await push("000000010000000000000099")).exit, 1);
  });

  test("uploads what is ready beside it and then has no more to do for those", async () => {
    for (const name of names) await writeFile(join(wal, "archive_status", `${name}.ready`), "");
    assert.equal((await push(names[0]!)).exit, 0);
    assert.deepEqual(
      await stored(),
      names.map((name) => `${name}.zst`),
    );
    await rm(join(root, "store/wal_005"), { recursive: true });
    // Marked: no request is made. A file that changed since is no longer the marked one.
    assert.equal((await push(names[1]!)).exit, 0);
    await utimes(join(wal, names[2]!), 1, 1);
    await rm(join(wal, "archive_status"), { recursive: true });
    assert.equal((await push(names[2]!)).exit, 0);
    assert.deepEqual(await stored(), [`${names[2]}.zst`]);
  });

  test("PG_READY_RENAME tells Postgres at once", async () => {
    for (const name of names) await writeFile(join(wal, "archive_status", `${name}.ready`), "");
    assert.equal((await push(names[0]!, { PG_READY_RENAME: "true" })).exit, 0);
    const done = await readdir(join(wal, "archive_status"));
    assert.deepEqual(
      done.sort(),
      [`${names[0]}.ready`, ...names.slice(1).map((name) => `${name}.done`)].sort(),
    );
  });

  test("on a prefix with a tail log it is refused where no supervisor answers", async () => {
    await mkdir(join(root, "store/tail_v1/log"), { recursive: true });
    await writeFile(join(root, "store/tail_v1/log/00000000000000000001"), "x");
    const result = await push(names[0]!, { RUN_DIRECTORY: root });
    assert.equal(result.exit, 1);
    assert.match(result.stderr, /tail log/);
  });

  test("an endpoint that refuses connections is told within 30 seconds", async () => {
    const begun = performance.now();
    const result = await callWalg(["wal-push", join(wal, names[0]!)], {
      WALG_S3_PREFIX: "s3://bucket/prefix",
      AWS_ENDPOINT: "http://127.0.0.1:9",
      AWS_ACCESS_KEY_ID: "key",
      AWS_SECRET_ACCESS_KEY: "secret",
      WALG_PG_WAL_SIZE: "1",
    });
    assert.equal(result.exit, 1, result.stderr);
    assert.ok(performance.now() - begun < 30_000);
  });
});
