// Every step of keeping data aside can be cut short and made again.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { markComplete, type VolumePaths, volumePaths } from "../../src/postgres/data-directory.ts";
import {
  dropMemberAside,
  forgetAside,
  markPerformed,
  memberAsideId,
  moveAside,
  readAside,
  readOrder,
  removeOrder,
  wasPerformed,
  writeOrder,
} from "../../src/supervisor/restore-book.ts";
import { markAdmitted, wasAdmitted } from "../../src/supervisor/admission.ts";
import { MemoryStore } from "../support/memory-store.ts";

async function volume(t: TestContext): Promise<VolumePaths> {
  const root = await mkdtemp(join(tmpdir(), "hf-e-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  return volumePaths(root);
}

async function filled(paths: VolumePaths, content: string): Promise<void> {
  await mkdir(paths.dataDirectory, { recursive: true });
  await writeFile(join(paths.dataDirectory, "PG_VERSION"), content);
  await markComplete(paths, {
    systemId: 7n,
    role: "primary",
    promotionId: null,
    origin: "initdb",
    writtenMs: 1,
  });
}

test("book: an order is there until it is removed", async (t) => {
  const paths = await volume(t);
  assert.equal(await readOrder(paths), null);
  await writeOrder(paths, {
    id: "r-1",
    kind: "restore",
    fields: { time: "2026-11-24 12:00:00+00" },
    askedMs: 5,
  });
  assert.deepEqual(await readOrder(paths), {
    id: "r-1",
    kind: "restore",
    fields: { time: "2026-11-24 12:00:00+00" },
    askedMs: 5,
  });
  await removeOrder(paths);
  assert.equal(await readOrder(paths), null);
});

test("book: data is moved aside once per order, with the mark that made it count", async (t) => {
  const paths = await volume(t);
  await filled(paths, "first");
  await moveAside(paths, "r-1", 10);
  const aside = await readAside(paths);
  assert.equal(aside?.mark.systemId, 7n);
  assert.equal(await readFile(join(aside.path, "PG_VERSION"), "utf8"), "first");
  // The restore fetched half a directory and was killed: the next try must not move that one.
  await mkdir(paths.dataDirectory);
  await writeFile(join(paths.dataDirectory, "PG_VERSION"), "half");
  await moveAside(paths, "r-1", 11);
  assert.equal(await readFile(join(aside.path, "PG_VERSION"), "utf8"), "first");
  assert.equal(await readFile(join(paths.dataDirectory, "PG_VERSION"), "utf8"), "half");
});

test("book: cut short between the note and the move, the move is made up for", async (t) => {
  const paths = await volume(t);
  await filled(paths, "first");
  await moveAside(paths, "r-1", 10);
  const aside = (await readAside(paths))!;
  await rm(paths.dataDirectory, { recursive: true, force: true });
  const { rename } = await import("node:fs/promises");
  await rename(aside.path, paths.dataDirectory);
  await moveAside(paths, "r-1", 12);
  assert.equal(await readFile(join(aside.path, "PG_VERSION"), "utf8"), "first");
});

test("book: the next order takes the place of what was kept", async (t) => {
  const paths = await volume(t);
  await filled(paths, "first");
  await moveAside(paths, "r-1", 10);
  const old = (await readAside(paths))!;
  await filled(paths, "second");
  await moveAside(paths, "r-2", 20);
  const aside = (await readAside(paths))!;
  assert.equal(await readFile(join(aside.path, "PG_VERSION"), "utf8"), "second");
  await assert.rejects(readFile(join(old.path, "PG_VERSION")));
  await forgetAside(paths);
  assert.equal(await readAside(paths), null);
});

test("book: what was never whole is not worth keeping", async (t) => {
  const paths = await volume(t);
  await mkdir(paths.dataDirectory, { recursive: true });
  await moveAside(paths, "r-1", 10);
  assert.equal(await readAside(paths), null);
});

test("book: the environment's request is performed once, whatever volume asks", async () => {
  const store = new MemoryStore();
  const signal = AbortSignal.timeout(5_000);
  assert.equal(await wasPerformed(store, "0011223344556677", signal), false);
  await markPerformed(store, "0011223344556677", signal);
  await markPerformed(store, "0011223344556677", signal);
  assert.equal(await wasPerformed(store, "0011223344556677", signal), true);
});

test("admission: only of this very system", async (t) => {
  const paths = await volume(t);
  await mkdir(paths.marks, { recursive: true });
  assert.equal(await wasAdmitted(paths, 7n), false);
  await markAdmitted(paths, 7n, 5);
  assert.equal(await wasAdmitted(paths, 7n), true);
  assert.equal(await wasAdmitted(paths, 8n), false);
});

test("book: what a member's new copy replaced is removed, what a restore keeps for its undo is not", async (t) => {
  const paths = await volume(t);
  await filled(paths, "old");
  await moveAside(paths, memberAsideId("rejoin", 1_000), 1_000);
  const { path } = (await readAside(paths))!;
  assert.equal(await readFile(join(path, "PG_VERSION"), "utf8"), "old");
  assert.equal(await dropMemberAside(paths), true);
  assert.equal(await readAside(paths), null);
  await assert.rejects(readFile(join(path, "PG_VERSION"), "utf8"));
  await filled(paths, "older");
  await moveAside(paths, "r-1", 2_000);
  assert.equal(await dropMemberAside(paths), false);
  assert.notEqual(await readAside(paths), null);
});
