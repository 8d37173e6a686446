// The wal-g commands on an S3 server: a bucket of WAL-G's moved there is listed, shown, verified, fetched, copied, pushed to and deleted from.

import assert from "node:assert/strict";
import { access, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { type S3Store, openS3Store } from "../../src/storage/s3-store.ts";
import { sharedS3Server } from "../support/s3-server.ts";
import { type Bucket, openBucket } from "../support/walg-buckets.ts";
import { callWalg, type CallResult } from "../support/call-walg.ts";

const server = sharedS3Server();
const NAMES = [
  "base_000000010000000000000002",
  "base_000000010000000000000005_D_000000010000000000000002",
  "base_000000010000000000000007_D_000000010000000000000005",
  "base_000000010000000000000009_D_000000010000000000000007",
];
const SEGMENT = "000000010000000000000004";

describe("the wal-g commands on an S3 server", () => {
  let folder: Bucket;
  let scratch: string;
  let store: S3Store;
  let env: Readonly<Record<string, string>>;

  before(async () => {
    folder = await openBucket("pg17-delta-zstd");
    await folder.prepare();
    scratch = await folder.scratch();
    const s3 = await server();
    const bucket = await s3.makeBucket();
    env = {
      ...folder.envAt(""),
      WALG_FILE_PREFIX: "",
      WALG_S3_PREFIX: `s3://${bucket}/some/db`,
      AWS_ENDPOINT: s3.endpoint,
      AWS_ACCESS_KEY_ID: s3.accessKey,
      AWS_SECRET_ACCESS_KEY: s3.secretKey,
      AWS_REGION: "us-east-1",
      AWS_S3_FORCE_PATH_STYLE: "true",
      WALG_DOWNLOAD_CONCURRENCY: "1",
    };
    const tools = { clock: systemClock, log: silentLog };
    store = await openS3Store(s3.settings(bucket, { prefix: "some/db" }), tools);
    const signal = new AbortController().signal;
    // In order of their names: so the store sees them in the order in which they were made.
    for (const key of await folder.objectsAt(folder.store))
      await store.put(key, await readFile(join(folder.store, key)), signal);
  });
  after(() => folder.remove());

  const walg = (args: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<CallResult> =>
    callWalg(args, { ...env, ...more });
  const good = async (args: readonly string[]): Promise<CallResult> => {
    const result = await walg(args);
    assert.equal(result.exit, 0, `${args.join(" ")}: ${result.stderr}`);
    return result;
  };
  const keys = async (prefix = ""): Promise<string[]> => {
    const found: string[] = [];
    for await (const { key } of store.list(prefix, new AbortController().signal)) found.push(key);
    return found;
  };
  const exists = (path: string): Promise<boolean> =>
    access(path).then(
      () => true,
      () => false,
    );

  test("backup-list, wal-show and wal-verify say what they say of the folder", async () => {
    const onFolder = (args: readonly string[]): Promise<CallResult> =>
      callWalg(args, folder.envAt(folder.store));
    const withoutTimes = (text: string): unknown =>
      (JSON.parse(text) as Record<string, unknown>[]).map((one) => ({ ...one, time: "", modified: "" }));
    const listed = await good(["backup-list", "--json", "--detail"]);
    assert.deepEqual(
      withoutTimes(listed.stdout),
      withoutTimes((await onFolder(["backup-list", "--json", "--detail"])).stdout),
    );
    for (const args of [
      ["wal-show", "--detailed-json"],
      ["wal-show"],
      ["wal-verify", "integrity", "timeline"],
    ]) {
      const [here, there] = [await walg(args), await onFolder(args)];
      // Times of listing differ, and nothing else.
      const same = (text: string): string => text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "");
      assert.equal(same(here.stdout), same(there.stdout), args.join(" "));
      assert.equal(here.exit, there.exit);
    }
  });

  test("backup-fetch brings the newest of the chain, and refuses what is not there", async () => {
    const target = join(scratch, "restored");
    await good(["backup-fetch", target, "LATEST"]);
    assert.match(await readFile(join(target, "backup_label"), "utf8"), /START WAL LOCATION: 0\/9000028 /);
    assert.ok(await exists(join(target, "global/pg_control")));
    assert.equal(
      (await walg(["backup-fetch", join(scratch, "none"), "base_0000000100000000000000FF"])).exit,
      1,
    );
  });

  test("wal-fetch serves, says 74 for what a listing proves absent, and 255 where nothing is proven", async () => {
    const target = join(scratch, "RECOVERYXLOG");
    await good(["wal-fetch", SEGMENT, target]);
    assert.equal((await readFile(target)).byteLength, 16 << 20);
    const absent = "0000000100000000000000FF";
    assert.equal((await walg(["wal-fetch", absent, join(scratch, "x")])).exit, 74);
    const foreign: readonly Readonly<Record<string, string>>[] = [
      { WALG_S3_PREFIX: "s3://no-such-bucket-here/db" },
      { AWS_SECRET_ACCESS_KEY: "another secret" },
    ];
    for (const more of foreign) {
      assert.equal(
        (await walg(["wal-fetch", absent, join(scratch, "x")], more)).exit,
        255,
        JSON.stringify(more),
      );
    }
    assert.ok(!(await exists(join(scratch, "x"))));
  });

  test("wal-push stores once, takes the same again, and never replaces", async () => {
    const wal = join(scratch, "pg_wal");
    await mkdir(join(wal, "archive_status"), { recursive: true });
    const fetched = join(scratch, "fetched");
    await good(["wal-fetch", SEGMENT, fetched]);
    const bytes = await readFile(fetched);
    await good(["st", "rm", `wal_005/${SEGMENT}.zst`]);
    await writeFile(join(wal, SEGMENT), bytes);
    await good(["wal-push", join(wal, SEGMENT)]);
    assert.deepEqual(await keys(`wal_005/${SEGMENT}`), [`wal_005/${SEGMENT}.zst`]);
    await good(["wal-push", join(wal, SEGMENT)]);
    bytes[5000] = bytes[5000]! ^ 1;
    await writeFile(join(wal, SEGMENT), bytes);
    const other = await walg(["wal-push", join(wal, SEGMENT)]);
    assert.equal(other.exit, 1);
    assert.match(other.stderr, /contents differ/);
  });

  test("st puts, lists, shows, gets, checks and removes objects", async () => {
    await writeFile(join(scratch, "notes"), "some notes\n");
    await good(["st", "put", join(scratch, "notes"), "by-hand/notes"]);
    assert.match((await good(["st", "ls", "by-hand"])).stdout, /^obj .* notes\.zst +$/m);
    assert.match((await good(["st", "stat", "by-hand/notes.zst"])).stdout, /^obj /m);
    await good(["st", "get", "by-hand/notes.zst", join(scratch, "back")]);
    assert.equal(await readFile(join(scratch, "back"), "utf8"), "some notes\n");
    assert.match((await good(["st", "check", "write"])).stderr, /Write check OK/);
    assert.match((await good(["st", "check", "read", "by-hand/notes.zst"])).stderr, /Read check OK/);
    await good(["st", "rm", "by-hand/"]);
    assert.deepEqual(await keys("by-hand/"), []);
  });

  test("copy brings a backup with its chain and its WAL into another prefix", async () => {
    const config = async (name: string, prefix: string): Promise<string> => {
      const path = join(scratch, `${name}.json`);
      await writeFile(path, JSON.stringify({ ...env, WALG_FILE_PREFIX: undefined, WALG_S3_PREFIX: prefix }));
      return path;
    };
    const prefix = env["WALG_S3_PREFIX"]!;
    const [from, to] = [await config("from", prefix), await config("to", `${prefix}-copy`)];
    await good(["copy", "--from", from, "--to", to, "--backup-name", NAMES[1]!, "--with-history"]);
    const copied = await walg(["backup-list", "--json"], { WALG_S3_PREFIX: `${prefix}-copy` });
    const names = (JSON.parse(copied.stdout) as { backup_name: string }[]).map((one) => one.backup_name);
    assert.deepEqual(names, NAMES.slice(0, 2));
    const target = join(scratch, "from-copy");
    const fetched = await walg(["backup-fetch", target, NAMES[1]!], { WALG_S3_PREFIX: `${prefix}-copy` });
    assert.equal(fetched.exit, 0, fetched.stderr);
  });

  test("delete marks the same objects as it removes, and what is left is whole", async () => {
    const before = await keys();
    const dry = await good(["delete", "everything"]);
    assert.deepEqual(await keys(), before, "a dry run removes nothing");
    assert.ok(dry.stdout.length + dry.stderr.length > 0);
    assert.equal((await walg(["delete", "target", NAMES[3]!, "--confirm"])).exit, 0);
    const names = (
      JSON.parse((await good(["backup-list", "--json"])).stdout) as { backup_name: string }[]
    ).map((one) => one.backup_name);
    assert.deepEqual(names, NAMES.slice(0, 3));
    await good(["backup-fetch", join(scratch, "after"), "LATEST"]);
    await good(["delete", "everything", "FORCE", "--confirm"]);
    assert.deepEqual(await keys("basebackups_005/"), []);
  });
});
