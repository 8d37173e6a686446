// `holdfast verify --repair` beside a tail log, in an S3 store: the log, the server, this node's files, and whom they may be taken from.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { type ObjectStore, readWhole } from "../../src/storage/object-store.ts";
import { openS3Store } from "../../src/storage/s3-store.ts";
import { listenLocally } from "../../src/supervisor/local-socket.ts";
import { type Life, Lives, rowsOf } from "../support/lives.ts";
import {
  assertBack,
  type Env,
  keyOf,
  lose,
  NOBODY,
  segments,
  serverEnv,
  verify,
} from "../support/repair-bench.ts";
import { sharedS3Server } from "../support/s3-server.ts";
import { scratchFolder } from "../support/scratch-postgres.ts";

const never = new AbortController().signal;
const sharedServer = sharedS3Server();

/** A supervisor that says whether its doors are open. */
async function supervisor(
  root: string,
  doorsOpen: boolean,
): Promise<AsyncDisposable & { readonly path: string }> {
  const status = JSON.stringify({
    doorsOpen,
    phase: doorsOpen ? "running" : "suspect",
    because: "as the test says",
  });
  return await listenLocally({
    path: join(root, "supervisor.sock"),
    verbs: { status: async () => ({ lines: [status], exit: 0 }) },
    log: silentLog,
    owner: null,
  });
}

describe("beside a tail log, in an S3 store", () => {
  const things = new AsyncDisposableStack();
  let lives: Lives;
  let store: ObjectStore;
  let env: Env;
  let first: Life;

  before(async () => {
    const s3 = await sharedServer();
    const bucket = await s3.makeBucket();
    store = await openS3Store(s3.settings(bucket), { clock: systemClock, log: silentLog });
    lives = things.use(await Lives.open(store));
    env = {
      WALG_S3_PREFIX: `s3://${bucket}`,
      AWS_ENDPOINT: s3.endpoint,
      AWS_ACCESS_KEY_ID: s3.accessKey,
      AWS_SECRET_ACCESS_KEY: s3.secretKey,
      AWS_REGION: "us-east-1",
      AWS_S3_FORCE_PATH_STYLE: "true",
      WALG_PG_WAL_SIZE: "1",
    };
    first = await lives.first();
    await write(first, 9);
    await first.archiving.owner.whenAllPublished(never);
  });
  after(() => things.disposeAsync());

  /** Rows, with about so many MiB of WAL between them, all of it durable. */
  async function write(life: Life, count: number): Promise<void> {
    for (let row = 0; row < count; row += 1) {
      await lives.insert(life);
      await life.server.psql("select pg_logical_emit_message(false, 'x', repeat('y', 1000000))");
    }
    await life.archiving.settle(life.server);
  }

  test("what only the log has is written before its next base takes it away", async () => {
    const kept = await lose(store, (await segments(store)).slice(-4, -2));
    const before_ = await verify(env);
    assert.equal(before_.exit, 0, "a restore takes the log's bytes");
    assert.match(JSON.stringify(before_.findings), /only the log has it, until its next base/);
    const { exit, repair } = await verify({ ...env, ...NOBODY }, "--repair");
    assert.equal(exit, 0);
    assert.deepEqual(
      repair.created,
      [...kept.keys()].map((segment) => ({ segment, from: "the tail log" })),
    );
    await assertBack(store, kept);
  });

  test("below the base the server is asked; files of a node whose doors are closed are not used", async () => {
    assert.ok(await first.archiving.owner.stop(60_000), "a base covers everything");
    const names = await segments(store);
    const kept = await lose(store, [...names.slice(-6, -4), names.at(-3)!]);
    const data = { PGDATA: first.server.dataDirectory };
    const alone = await verify({ ...env, ...NOBODY, ...data, HOLDFAST_SOCKET: "/nowhere.sock" }, "--repair");
    assert.equal(alone.exit, 1);
    assert.deepEqual(alone.repair.created, []);
    assert.equal(alone.repair.left.length, 3);
    assert.match(alone.repair.left[0]!.because, /nobody who could be asked has it any more/);
    assert.match(
      JSON.stringify(alone.repair.unasked),
      /pg_wal of this node.*the prefix has a tail log, and no supervisor/,
    );
    assert.match(JSON.stringify(alone.repair.unasked), /the server \(127\.0\.0\.1:1\)/);
    {
      await using folder = await scratchFolder("closed");
      await using closed = await supervisor(folder.path, false);
      const shut = await verify({ ...env, ...NOBODY, ...data, HOLDFAST_SOCKET: closed.path }, "--repair");
      assert.deepEqual(shut.repair.created, []);
      assert.match(shut.repair.unasked[0]!.because, /the doors are closed, the node is suspect/);
    }
    const { exit, repair } = await verify({ ...env, ...serverEnv(first) }, "--repair", "--content");
    assert.equal(exit, 0, JSON.stringify(repair));
    assert.deepEqual(
      repair.created.map(({ segment }) => segment),
      [...kept.keys()],
    );
    assert.match(repair.created[0]!.from, /^the server /);
    await assertBack(store, kept);
  });

  test("nothing is written past the end of the log", async () => {
    const key = await sentinelKey(store);
    const sentinel = Buffer.from(await readWhole((await store.get(key, never))!)).toString("utf8");
    // A backup that says that it ended three segments past the log's end.
    const end = (await lives.end(first)) + 3n * 1_048_576n;
    await store.put(key, Buffer.from(sentinel.replace(/"FinishLSN": ?\d+/, `"FinishLSN":${end}`)), never);
    const { exit, repair } = await verify({ ...env, ...serverEnv(first) }, "--repair");
    assert.equal(exit, 1);
    assert.deepEqual(repair.created, []);
    assert.ok(repair.left.length >= 3);
    for (const { because } of repair.left)
      assert.match(because, /it ends past .*, where the log ends: only the log's owner writes there/);
    await store.put(key, Buffer.from(sentinel), never);
  });

  test("around a change of timeline each segment comes from the node that has it, and a restore has all rows", async () => {
    await lives.lose(first);
    const second = await lives.next(first.server);
    await write(second, 4);
    await second.archiving.owner.stop(60_000);
    const rows = await rowsOf(second);
    const names = await segments(store);
    const parents = names.filter((name) => name.startsWith("00000001")).slice(-2);
    const childs = names.filter((name) => name.startsWith("00000002")).slice(0, 2);
    const kept = await lose(store, [...parents, ...childs]);
    assert.equal((await verify(env)).exit, 1);
    await using folder = await scratchFolder("open");
    await using open = await supervisor(folder.path, true);
    const data = { PGDATA: first.server.dataDirectory, HOLDFAST_SOCKET: open.path };
    const { exit, repair } = await verify({ ...env, ...serverEnv(second), ...data }, "--repair", "--content");
    assert.equal(exit, 0, JSON.stringify(repair));
    const from = new Map(repair.created.map((each) => [each.segment, each.from]));
    assert.equal(from.size, 4);
    for (const name of parents) assert.equal(from.get(name), "pg_wal of this node");
    for (const name of childs) assert.match(from.get(name)!, /^the server /);
    await assertBack(store, kept);
    // Something on the parent's timeline behind the fork leaves a hole there that nobody needs.
    const beyond = parents.at(-1)!.replace(/..$/, "F0");
    await store.put(keyOf(beyond), kept.get(parents.at(-1)!)!, never);
    const off = await verify({ ...env, ...serverEnv(second), ...data }, "--repair");
    assert.equal(off.exit, 0);
    assert.deepEqual(off.repair.created, []);
    assert.match(
      off.repair.left[0]!.because,
      /missing from here on, which no restore to timeline 2 needs: not written/,
    );
    await store.delete([keyOf(beyond)], never);
    await lives.lose(second);
    assert.deepEqual(await rowsOf(await lives.next(second.server)), rows);
  });
});

async function sentinelKey(store: ObjectStore): Promise<string> {
  for await (const { key } of store.list("basebackups_005/", never))
    if (key.endsWith("_backup_stop_sentinel.json")) return key;
  throw new Error("there is no backup");
}
