// `st`: objects in and out, sealed and opened, and nothing around the tail log.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { globPattern } from "../../src/cli/walg/glob.ts";
import { callWalg, type CallResult } from "../support/call-walg.ts";

describe("st", () => {
  let root: string;
  const key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "walg-st-"));
    await mkdir(join(root, "store"));
    await writeFile(join(root, "notes.txt"), "known plaintext ".repeat(1000));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const st = (...args: string[]): Promise<CallResult> =>
    callWalg(["st", ...args], {
      WALG_FILE_PREFIX: join(root, "store"),
      WALG_COMPRESSION_METHOD: "zstd",
      WALG_LIBSODIUM_KEY: key,
      WALG_LIBSODIUM_KEY_TRANSFORM: "base64",
    });

  test("put seals, get opens, and an object is not overwritten by accident", async () => {
    assert.equal((await st("put", join(root, "notes.txt"), "a/notes.txt")).exit, 0);
    const stored = await readFile(join(root, "store/a/notes.txt.zst"));
    assert.ok(!stored.includes("plaintext"));
    assert.match((await st("put", join(root, "notes.txt"), "a/notes.txt")).stderr, /already exists/);
    assert.equal((await st("put", "-f", join(root, "notes.txt"), "a/notes.txt")).exit, 0);
    assert.equal((await st("get", "a/notes.txt.zst", join(root, "back"))).exit, 0);
    assert.equal(await readFile(join(root, "back"), "utf8"), await readFile(join(root, "notes.txt"), "utf8"));
    assert.equal((await st("get", "a/notes.txt.zst", join(root, "back"))).exit, 1);
    assert.equal((await st("get", "a/none", join(root, "none"))).exit, 1);
    assert.equal(
      (await st("put", "--no-compress", "--no-encrypt", join(root, "notes.txt"), "plain")).exit,
      0,
    );
    assert.equal(
      await readFile(join(root, "store/plain"), "utf8"),
      await readFile(join(root, "notes.txt"), "utf8"),
    );
  });

  test("ls, stat, check and rm", async () => {
    for (const name of ["a/1", "a/2", "b/1"]) await st("put", "--no-compress", join(root, "notes.txt"), name);
    assert.match((await st("ls")).stdout, /^dir .* a\/ +\ndir .* b\/ +\n$/m);
    assert.equal((await st("ls", "-r")).stdout.match(/^obj/gm)?.length, 3);
    assert.equal((await st("ls", "-g", "*/1")).stdout.match(/^obj/gm)?.length, 2);
    assert.match((await st("stat", "a/1")).stdout, /^obj .* a\/1 +$/m);
    assert.equal((await st("stat", "a/9")).exit, 1);
    assert.match((await st("check", "read", "a/1")).stderr, /Read check OK/);
    assert.match((await st("check", "read", "a/1", "a/9")).stderr, /files are missing: a\/9/);
    assert.match((await st("check", "write")).stderr, /Write check OK/);
    assert.equal((await st("rm", "a")).exit, 1);
    assert.equal((await st("rm", "a/")).exit, 0);
    assert.equal((await st("rm", "-g", "b/[0-9]")).exit, 0);
    assert.equal((await st("rm", "b/1")).exit, 1);
    assert.doesNotMatch((await st("ls", "-r")).stdout, /^obj/m);
  });

  test("the tail log, and WAL beside it, is not touched by hand", async () => {
    await mkdir(join(root, "store/tail_v1/log"), { recursive: true });
    await writeFile(join(root, "store/tail_v1/log/00000000000000000001"), "x");
    for (const args of [
      ["rm", "tail_v1/"],
      ["put", join(root, "notes.txt"), "wal_005/000000010000000000000001"],
    ]) {
      const result = await st(...args);
      assert.equal(result.exit, 1);
      assert.match(result.stderr, /belongs to the tail log/);
    }
    const everything = await callWalg(["delete", "everything", "FORCE", "--confirm"], {
      WALG_FILE_PREFIX: join(root, "store"),
    });
    assert.equal(everything.exit, 0);
    assert.equal(await readFile(join(root, "store/tail_v1/log/00000000000000000001"), "utf8"), "x");
  });
});

test("patterns are Go's", () => {
  const cases: readonly [string, string, boolean][] = [
    ["wal_005/*", "wal_005/x", true],
    ["wal_005/*", "wal_005/x/y", false],
    ["?", "a", true],
    ["[^a-c]x", "dx", true],
    ["[a-c]x", "dx", false],
    ["a\\*", "a*", true],
    ["a\\*", "ab", false],
    ["a.c", "abc", false],
  ];
  for (const [pattern, name, fits] of cases)
    assert.equal(globPattern(pattern).test(name), fits, `${pattern} ${name}`);
  assert.throws(() => globPattern("[a"), RangeError);
});
