import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { markUnfinished, type VolumePaths, volumePaths } from "../../src/postgres/data-directory.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import { factsOfError, gatherStore, gatherVolume } from "../../src/supervisor/boot-facts.ts";
import { LogDamagedError } from "../../src/tail/errors.ts";
import { formatIdentity } from "../../src/tail/cluster-identity.ts";
import { settleFounding } from "../../src/tail/founding.ts";
import { IDENTITY_KEY } from "../../src/tail/keys.ts";
import { MemoryStore } from "../support/memory-store.ts";

const signal = AbortSignal.timeout(30_000);
const identity = formatIdentity({ systemId: 77n, segmentBytes: 16 << 20 });
const SENTINEL = "basebackups_005/base_000000010000000000000002_backup_stop_sentinel.json";

async function storeWith(objects: Record<string, string | Uint8Array>): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const [key, body] of Object.entries(objects)) await store.put(key, Buffer.from(body), signal);
  return store;
}

test("store: empty only after a listing that showed nothing", async () => {
  assert.deepEqual(await gatherStore(await storeWith({}), signal), { kind: "empty" });
});

test("store: what a killed probe left is no sign of a cluster", async () => {
  const store = await storeWith({ "tail_v1/probe/00ff-one": "first" });
  assert.deepEqual(await gatherStore(store, signal), { kind: "empty" });
});

test("store: a claim without a backup is an unfinished founding", async () => {
  const facts = await gatherStore(await storeWith({ [IDENTITY_KEY]: identity }), signal);
  assert.deepEqual(facts, { kind: "unfinished-founding", systemId: "77", outcome: null });
});

test("store: what became of a founding is read with it", async () => {
  for (const outcome of ["admitted", "given-up"] as const) {
    const store = await storeWith({ [IDENTITY_KEY]: identity });
    await settleFounding(store, 77n, outcome, signal);
    assert.deepEqual(await gatherStore(store, signal), {
      kind: "unfinished-founding",
      systemId: "77",
      outcome,
    });
  }
});

test("store: a claim and a backup are a cluster", async () => {
  const facts = await gatherStore(await storeWith({ [IDENTITY_KEY]: identity, [SENTINEL]: "{}" }), signal);
  assert.deepEqual(facts, { kind: "cluster", systemId: "77" });
});

test("store: WAL without a backup is never taken for empty", async () => {
  const facts = await gatherStore(await storeWith({ "wal_005/000000010000000000000001.lz4": "x" }), signal);
  assert.equal(facts.kind, "damaged");
});

test("store: a claim that cannot be read is damage", async () => {
  assert.equal((await gatherStore(await storeWith({ [IDENTITY_KEY]: "?" }), signal)).kind, "damaged");
});

test("store: errors keep their meaning", () => {
  assert.equal(factsOfError(new StoreError("refused", "403")).kind, "refused");
  assert.equal(factsOfError(new StoreError("unknown", "reset")).kind, "unknown");
  assert.equal(factsOfError(new LogDamagedError("slot 3")).kind, "damaged");
  assert.equal(factsOfError(new Error("?")).kind, "unknown");
});

async function volume(t: TestContext): Promise<VolumePaths> {
  const root = await mkdtemp(join(tmpdir(), "hf-e-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  return volumePaths(root);
}

test("volume: nothing but lost+found is empty", async (t) => {
  const paths = await volume(t);
  await mkdir(join(paths.volume, "lost+found"));
  assert.deepEqual(await gatherVolume(paths, 17), { kind: "empty" });
});

test("volume: a mark of unfinished work counts, whatever the directory looks like", async (t) => {
  const paths = await volume(t);
  await mkdir(paths.dataDirectory, { recursive: true });
  await writeFile(join(paths.dataDirectory, "PG_VERSION"), "17\n");
  await markUnfinished(paths, { work: "seed", beganMs: 1, detail: "base_1" });
  assert.deepEqual(await gatherVolume(paths, 17), { kind: "unfinished", work: "seed" });
});

test("volume: half a directory without any mark is foreign", async (t) => {
  const paths = await volume(t);
  await mkdir(paths.dataDirectory, { recursive: true });
  await writeFile(join(paths.dataDirectory, "PG_VERSION"), "17\n");
  assert.equal((await gatherVolume(paths, 17)).kind, "foreign");
});

test("volume: what a killed backup-fetch by hand left is unfinished", async (t) => {
  const paths = await volume(t);
  await mkdir(paths.dataDirectory, { recursive: true });
  const { UNFINISHED_FETCH_NAME } = await import("../../src/backup/fetch.ts");
  await writeFile(join(paths.dataDirectory, UNFINISHED_FETCH_NAME), "{}");
  assert.deepEqual(await gatherVolume(paths, 17), { kind: "unfinished", work: "seed" });
});
