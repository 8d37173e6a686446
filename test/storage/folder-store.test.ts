import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type FolderStore, openFolderStore } from "../../src/storage/folder-store.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import { objectStoreSuite } from "../support/object-store-suite.ts";

const never = new AbortController().signal;

objectStoreSuite("folder", async (t) => (await scratchStore(t)).store);

async function scratchStore(t: TestContext): Promise<{ store: FolderStore; root: string }> {
  const root = await mkdtemp(join(tmpdir(), "holdfast-folder-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  return { store: await openFolderStore(root), root };
}

test("folder: keys cannot leave the root or pretend to be temporary", async (t) => {
  const { store, root } = await scratchStore(t);
  await writeFile(join(root, "..", "outside-holdfast"), "x");
  t.after(() => rm(join(root, "..", "outside-holdfast"), { force: true }));
  for (const key of [
    "../outside-holdfast",
    "a/../../outside-holdfast",
    "/etc/passwd",
    "a//b",
    "a/",
    "",
    ".",
    "a/./b",
    "a\0b",
    "x.tmp.20260101T000000Z-0123456789abcdef",
  ]) {
    await assert.rejects(store.head(key, never), refused, key);
    await assert.rejects(store.get(key, never), refused, key);
    await assert.rejects(store.put(key, Buffer.from("x"), never), refused, key);
    await assert.rejects(store.create(key, Buffer.from("x"), never), refused, key);
    await assert.rejects(store.delete([key], never), refused, key);
  }
  assert.deepEqual(await readdir(root), []);
});

test("folder: files are for their owner alone, and folders too", async (t) => {
  const { store, root } = await scratchStore(t);
  await store.put("a/b/c", Buffer.from("x"), never);
  assert.equal((await stat(join(root, "a/b/c"))).mode & 0o777, 0o600);
  assert.equal((await stat(join(root, "a/b"))).mode & 0o777, 0o700);
});

test("folder: deleting removes emptied folders, never the root", async (t) => {
  const { store, root } = await scratchStore(t);
  await store.put("a/b/c", Buffer.from("x"), never);
  await store.put("a/d", Buffer.from("x"), never);
  await store.delete(["a/b/c"], never);
  assert.deepEqual(await readdir(root, { recursive: true }), ["a", "a/d"]);
  await store.delete(["a/d"], never);
  assert.deepEqual(await readdir(root), []);
});

test("folder: unfinished files of a killed writer are not listed, and can be swept", async (t) => {
  const { store, root } = await scratchStore(t);
  await store.put("a/x", Buffer.from("x"), never);
  await writeFile(join(root, "a/y.tmp.20260101T000000Z-0123456789abcdef"), "half");
  const keys: string[] = [];
  for await (const { key } of store.list("", never)) keys.push(key);
  assert.deepEqual(keys, ["a/x"]);
  assert.equal(await store.removeLeftovers(60_000, Date.now(), never), 0);
  assert.equal(await store.removeLeftovers(60_000, Date.now() + 120_000, never), 1);
  assert.deepEqual(await readdir(join(root, "a")), ["x"]);
});

test("folder: a root that vanished is refused, not empty", async (t) => {
  const { store, root } = await scratchStore(t);
  await rm(root, { recursive: true });
  await assert.rejects(store.head("x", never), refused);
  await assert.rejects(store.put("x", Buffer.from("x"), never), refused);
  await assert.rejects(store.create("x", Buffer.from("x"), never), refused);
  await assert.rejects(store.delete(["x"], never), refused);
  await assert.rejects(
    (async () => {
      for await (const _ of store.list("", never));
    })(),
    refused,
  );
  await assert.rejects(openFolderStore(root), refused);
  await openFolderStore(root, { create: true });
  assert.equal(await store.head("x", never), null);
});

test("folder: an object cannot stand where a folder is, nor below an object", async (t) => {
  const { store, root } = await scratchStore(t);
  await mkdir(join(root, "folder"));
  await store.put("folder/x", Buffer.from("x"), never);
  await assert.rejects(store.put("folder", Buffer.from("x"), never), refused);
  await assert.rejects(store.create("folder", Buffer.from("x"), never), refused);
  await assert.rejects(store.put("folder/x/y", Buffer.from("x"), never), refused);
  assert.equal(await store.head("folder", never), null);
});

test("folder: no two versions of an object have the same tag, however fast they follow", async (t) => {
  const { store } = await scratchStore(t);
  const tags = new Set<string>();
  for (let i = 0; i < 300; i += 1) {
    await store.put("x", Buffer.from([i & 1]), never);
    tags.add((await store.head("x", never))!.etag);
  }
  assert.equal(tags.size, 300);
});

const refused = (error: unknown): boolean => error instanceof StoreError && error.kind === "refused";
