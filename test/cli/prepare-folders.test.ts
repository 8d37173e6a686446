import assert from "node:assert/strict";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { prepareFolders } from "../../src/cli/prepare-folders.ts";

async function scratch(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "hf-folders-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test("folders that are missing are made, and made again without harm", async (t) => {
  const root = await scratch(t);
  const folders = {
    marks: join(root, "v/holdfast"),
    runDirectory: join(root, "run"),
    sockets: [join(root, "s")],
  };
  await prepareFolders(folders, null);
  await prepareFolders(folders, null);
  assert.equal((await stat(folders.marks)).mode & 0o777, 0o711);
  assert.equal((await stat(folders.sockets[0]!)).isDirectory(), true);
});

test("a volume that cannot be written is told by its path and its reason, not as a missing folder", async (t) => {
  const root = await scratch(t);
  const sockets = [join(root, "s")];
  await writeFile(join(root, "file"), "");
  await assert.rejects(
    prepareFolders({ marks: join(root, "file/holdfast"), runDirectory: join(root, "run"), sockets }, null),
    /cannot write to ".*\/file\/holdfast": ENOTDIR/,
  );
});
