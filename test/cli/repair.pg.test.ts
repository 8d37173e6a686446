// `holdfast verify --repair` on the archive of a server without a log: what is missing is created, and nothing else is ever written.

import assert from "node:assert/strict";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { repairSegments } from "../../src/cli/verify/repair.ts";
import { verifyAll } from "../../src/cli/verify/verify-command.ts";
import { type Call, FlagValues, Settings } from "../../src/cli/walg/command.ts";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { type ObjectStore, readWhole } from "../../src/storage/object-store.ts";
import { LZ4 } from "../support/archive-bench.ts";
import { archived } from "../support/backup-source.ts";
import { callWalg } from "../support/call-walg.ts";
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
import { type ScratchPostgres, scratchFolder, scratchPostgres } from "../support/scratch-postgres.ts";

const never = new AbortController().signal;

describe("without a log, in a folder", () => {
  const things = new AsyncDisposableStack();
  let root: string;
  let store: ObjectStore;
  let server: ScratchPostgres;
  let env: Env;

  before(async () => {
    root = things.use(await scratchFolder("repair")).path;
    await mkdir(join(root, "store"));
    await chmod(join(root, "store"), 0o777);
    store = await openFolderStore(join(root, "store"));
    const own = { WALG_FILE_PREFIX: join(root, "store"), WALG_PG_WAL_SIZE: "1", HOME: root };
    const words = Object.entries({ ...own, PATH: process.env["PATH"] ?? "" }).map(
      ([name, value]) => `${name}=${value}`,
    );
    const command = `env ${words.join(" ")} ${process.execPath} ${process.cwd()}/bin/wal-g.js wal-push %p`;
    server = things.use(
      await scratchPostgres({
        segmentMb: 1,
        conf: ["archive_mode = on", `archive_command = '${command}'`, "fsync = off", "wal_keep_size = 1GB"],
      }),
    );
    env = { ...own, ...serverEnv({ server }) };
    const pushed = await callWalg(["backup-push", server.dataDirectory], {
      ...env,
      PGDATA: server.dataDirectory,
    });
    assert.equal(pushed.exit, 0, pushed.stderr);
    await server.psql(
      "create table t as select g as id, repeat(md5(g::text), 60) as note from generate_series(1, 3000) g",
    );
    await archived(server);
    await archived(server);
  });
  after(() => things.disposeAsync());

  /** A data directory with these files in its pg_wal. */
  async function nodeWith(name: string, files: Readonly<Record<string, Uint8Array>>): Promise<Env> {
    await mkdir(join(root, name, "pg_wal"), { recursive: true });
    for (const [file, bytes] of Object.entries(files))
      await writeFile(join(root, name, "pg_wal", file), bytes);
    return { PGDATA: join(root, name), ...NOBODY };
  }

  const file = (name: string): Promise<Buffer> => readFile(join(server.dataDirectory, "pg_wal", name));

  test("a segment that cannot be repaired does not stop the others, and the exit status tells", async () => {
    const names = await segments(store);
    const [good, torn, old] = [names.at(-8)!, names.at(-6)!, names.at(-4)!];
    const kept = await lose(store, [good, torn, old]);
    const half = await file(torn);
    (await file(names.at(-9)!)).copy(half, half.byteLength / 2, half.byteLength / 2);
    const node = await nodeWith("node", {
      [good]: await file(good),
      [torn]: half,
      [old]: await file(names.at(-9)!),
    });
    const some = await verify({ ...env, ...node }, "--repair");
    assert.equal(some.exit, 1);
    assert.deepEqual(some.repair.created, [{ segment: good, from: "pg_wal of this node" }]);
    const because = new Map(some.repair.left.map((each) => [each.segment, each.because]));
    assert.match(because.get(torn)!, /pg_wal of this node: its records end at .*: page at /);
    assert.match(because.get(old)!, /it holds WAL of .*: a recycled file/);
    // The same node, and now a server that has them.
    const all = await verify({ ...env, ...node, ...serverEnv({ server }) }, "--repair", "--content");
    assert.equal(all.exit, 0, JSON.stringify(all.repair));
    await assertBack(store, kept);
  });

  test("another cluster's server has files of the same names, and none is taken", async () => {
    await using other = await scratchPostgres({ segmentMb: 1, conf: ["fsync = off", "wal_keep_size = 1GB"] });
    await other.psql(
      "create table t as select g as id, repeat(md5(g::text), 60) as note from generate_series(1, 4000) g",
    );
    const lost = (await segments(store)).at(-5)!;
    const kept = await lose(store, [lost]);
    const refused = await verify({ ...env, ...serverEnv({ server: other }) }, "--repair");
    assert.equal(refused.exit, 1);
    assert.match(refused.repair.left[0]!.because, /system identifier/);
    assert.equal((await verify(env, "--repair")).exit, 0);
    await assertBack(store, kept);
  });

  test("a damaged object is never replaced, and the report says what to do", async () => {
    const name = (await segments(store)).at(-5)!;
    const sound = await readWhole((await store.get(keyOf(name), never))!);
    const bad = Uint8Array.from(sound).fill(0, sound.byteLength / 2);
    await store.put(keyOf(name), bad, never);
    const { exit, repair } = await verify(env, "--repair", "--content");
    assert.equal(exit, 1);
    assert.deepEqual(repair.created, []);
    assert.match(
      repair.left[0]!.because,
      /a repair replaces nothing; the server .* has a sound copy: save .* and run verify --repair again/,
    );
    assert.equal(Buffer.compare(await readWhole((await store.get(keyOf(name), never))!), bad), 0);
    const alone = await verify({ ...env, ...NOBODY }, "--repair", "--content");
    assert.match(
      alone.repair.left[0]!.because,
      /no sound copy was found .*: leave the object, and take a base backup now/,
    );
    // As it was told to.
    await store.delete([keyOf(name)], never);
    assert.equal((await verify(env, "--repair", "--content")).exit, 0);
    await assertBack(store, new Map([[name, sound]]));
  });

  test("what comes into the archive meanwhile stays, also with WALG_PREVENT_WAL_OVERWRITE off", async () => {
    const [first = "", second = ""] = (await segments(store)).slice(-7, -5);
    const kept = await lose(store, [first, second]);
    const foreign = Buffer.from("somebody else's");
    // Between the look and the create: what the server's own archive_command makes of one, a stranger's of the other.
    const racing = racingStore(store, async (key) =>
      store.put(key, key === keyOf(first) ? kept.get(first)! : foreign, never),
    );
    const call = {
      settings: new Settings({ ...env, WALG_PREVENT_WAL_OVERWRITE: "false" }),
      flags: new FlagValues(new Map()),
      ...{ log: silentLog, clock: systemClock, signal: never },
      openStore: async () => racing,
      openCodec: async () => LZ4,
    } as unknown as Call;
    const { wal } = await verifyAll(call, false, []);
    const repair = await repairSegments(call, wal);
    assert.deepEqual(
      repair.created.map(({ segment }) => segment),
      [first],
      "equal bytes are what was wanted",
    );
    assert.equal(repair.left[0]!.segment, second);
    assert.equal(
      String(Buffer.from(await readWhole((await store.get(keyOf(second), never))!))),
      String(foreign),
    );
    await store.put(keyOf(second), kept.get(second)!, never);
  });
});

/** Somebody else writes between the look for an object and its creation. */
const racingStore = (store: ObjectStore, race: (key: string) => Promise<void>): ObjectStore => ({
  name: store.name,
  get: (...args) => store.get(...args),
  head: (...args) => store.head(...args),
  put: (...args) => store.put(...args),
  replace: (...args) => store.replace(...args),
  list: (...args) => store.list(...args),
  delete: (...args) => store.delete(...args),
  copy: (...args) => store.copy(...args),
  create: async (key, body, signal) => {
    await race(key);
    return await store.create(key, body, signal);
  },
});
