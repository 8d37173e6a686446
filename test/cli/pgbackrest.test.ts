// A repository that pgBackRest wrote is listed and restored, file by file as its manifests say; damage is refused.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { readManifest } from "../../src/cli/pgbackrest/manifest.ts";
import { callWalg, type CallResult } from "../support/call-walg.ts";

const LABELS = [
  "20261125-012042F",
  "20261125-012042F_20261125-012048D",
  "20261125-012042F_20261125-012050I",
  "20261125-012053F",
];

describe("a repository of pgBackRest", () => {
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgbackrest-"));
    const tar = zstdDecompressSync(await readFile("test/fixtures/pgbackrest/repository.tar.zst"));
    assert.equal(spawnSync("tar", ["x", "-C", root], { input: tar }).status, 0);
  });
  after(() => rm(root, { recursive: true, force: true }));

  const call = (args: readonly string[], store = join(root, "repo")): Promise<CallResult> =>
    callWalg(["pgbackrest", ...args], { WALG_FILE_PREFIX: store, WALG_PG_WAL_SIZE: "1" });

  test("its backups are listed, oldest first", async () => {
    const { stdout } = await call(["backup-list"]);
    assert.deepEqual(stdout.match(/^2026\S+/gm), LABELS);
    const detail = JSON.parse((await call(["backup-list", "--detail", "--json"])).stdout) as Record<
      string,
      unknown
    >[];
    assert.deepEqual(
      detail.map((one) => [one["wal_file_name"], one["pg_version"], one["start_lsn"]]),
      [
        ["000000010000000000000009", 150_000, 0x90_0028],
        ["00000001000000000000000B", 150_000, 0xb0_0028],
        ["00000001000000000000000D", 150_000, 0xd0_0028],
        ["00000001000000000000000E", 150_000, 0xe0_0028],
      ],
    );
  });

  for (const label of LABELS) {
    test(`${label} is restored as its manifest says`, async () => {
      const target = join(root, `restored-${label}`);
      const result = await call(["backup-fetch", target, label]);
      assert.equal(result.exit, 0, result.stderr);
      const manifest = await readFile(join(root, "repo/backup/main", label, "backup.manifest"), "utf8");
      let files = 0;
      for (const [, name, json] of manifest.matchAll(/^pg_data\/(\S+)=(\{.*"size".*\})$/gm)) {
        const { checksum, size } = JSON.parse(json!) as { checksum?: string; size: number };
        const bytes = await readFile(join(target, name!));
        assert.equal(bytes.byteLength, size, name);
        if (checksum !== undefined)
          assert.equal(createHash("sha1").update(bytes).digest("hex"), checksum, name);
        files += 1;
      }
      assert.ok(files > 300, `${files} files`);
      assert.equal((await stat(target)).mode & 0o777, 0o700);
      for (const folder of ["pg_wal", "pg_notify", "pg_replslot"])
        assert.ok((await readdir(target)).includes(folder));
      await rm(target, { recursive: true });
    });
  }

  test("WAL is fetched by name, checked; what is absent is 74, damage 255", async () => {
    const [good, none, damaged] = [join(root, "good"), join(root, "none"), join(root, "damaged")];
    assert.equal((await call(["wal-fetch", "000000010000000000000010", good])).exit, 0);
    assert.equal((await stat(good)).size, 1 << 20);
    assert.equal((await call(["wal-fetch", "0000000100000000000000FF", none])).exit, 74);
    assert.equal((await call(["wal-fetch", "00000002.history", none])).exit, 74);
    const copy = join(root, "copy");
    await cp(join(root, "repo"), copy, { recursive: true });
    const folder = join(copy, "archive/main/15-1/0000000100000000");
    const [from, to] = (await readdir(folder)).filter((name) => /^00000001000000000000001[01]-/.test(name));
    await writeFile(join(folder, to!), await readFile(join(folder, from!)));
    const result = await call(["wal-fetch", "000000010000000000000011", damaged], copy);
    assert.equal(result.exit, 255);
    assert.match(result.stderr, /has the SHA-1/);
    await rm(copy, { recursive: true });
  });

  test("wal-show groups segments", async () => {
    const { stdout } = await call(["wal-show"]);
    assert.match(
      stdout,
      /\| {3}1 \| +0 \| +0\/0 \| 000000010000000000000008 \| 000000010000000000000011 \| +10 \| +10 \| OK {5}\|/,
    );
    const [one] = JSON.parse((await call(["wal-show", "--detailed-json"])).stdout) as {
      segments_count: number;
    }[];
    assert.equal(one?.segments_count, 10);
  });

  test("a damaged or missing file is named, and the directory cannot be started", async () => {
    const copy = join(root, "damaged-copy");
    await cp(join(root, "repo"), copy, { recursive: true });
    const path = join(copy, "backup/main/20261125-012042F/pg_data/base/5/1255.zst");
    const bytes = await readFile(path);
    bytes[bytes.byteLength >> 1]! ^= 4;
    await writeFile(path, bytes);
    const target = join(root, "not-started");
    const result = await call(["backup-fetch", target, LABELS[1]!], copy);
    assert.equal(result.exit, 1, result.stderr);
    assert.match(result.stderr, /1255|zstd/);
    assert.ok(!(await readdir(join(target, "global"))).includes("pg_control"));
    await rm(path);
    const again = await call(["backup-fetch", join(root, "again"), LABELS[1]!], copy);
    assert.equal(again.exit, 1);
    assert.match(again.stderr, /1255\.zst": is missing/);
  });

  test("what cannot be read is refused with what to do", async () => {
    assert.match(
      (await call(["backup-fetch", join(root, "x"), "20200101-000000F"])).stderr,
      /does not exist/,
    );
    const text = (file: string): string =>
      `[backrest]\nbackrest-format=5\n\n[backup]\nbackup-label="x"\n\n[backup:option]\noption-compress-type="none"\n\n[target:file]\n${file}\n`;
    assert.throws(
      () => readManifest(text('pg_data/../../etc/x={"size":1}'), "m"),
      /leads out of the data directory/,
    );
    assert.throws(() => readManifest(text('pg_data/x={"bims":1,"size":1}'), "m"), /block increment/);
    assert.throws(() => readManifest(`Salted__${"x".repeat(20)}`, "m"), /encrypted/);
    assert.throws(() => readManifest(text("pg_data/x={").replace("none", "bz2"), "m"), /holds no JSON/);
    assert.throws(() => readManifest(text('pg_data/x={"size":1}').replace("none", "bz2"), "m"), /bz2/);
    assert.equal(readManifest(text('pg_data/a={"user":"x={y","size":1}'), "m").files.length, 1);
  });
});
