// Where settings come from under the name wal-g: flags, environment, files of four kinds; and how flags are parsed.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseConfig } from "../../src/cli/walg/config-file.ts";
import { type Flag, parseDuration, parseFlags, UsageError } from "../../src/cli/walg/flags.ts";
import { callWalg } from "../support/call-walg.ts";

describe("settings", () => {
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "walg-settings-"));
    for (const name of ["flag", "env", "file", "home"]) {
      await mkdir(join(root, name, "basebackups_005"), { recursive: true });
      await writeFile(join(root, name, `basebackups_005/base_${name}_backup_stop_sentinel.json`), "{}");
    }
    await writeFile(join(root, "c.json"), JSON.stringify({ WALG_FILE_PREFIX: join(root, "file") }));
    await writeFile(join(root, ".walg.yaml"), `walg_file_prefix: "${join(root, "home")}"\n`);
  });
  after(() => rm(root, { recursive: true, force: true }));

  const listed = async (args: readonly string[], env: Record<string, string>): Promise<string> => {
    const { stdout, exit, stderr } = await callWalg([...args, "backup-list"], env);
    return exit === 0 ? /base_(\w+) /.exec(stdout)![1]! : stderr;
  };

  test("a flag wins over the environment, that over the file, the named file over the one at home", async () => {
    const env = { WALG_FILE_PREFIX: join(root, "env"), HOME: root };
    const config = ["--config", join(root, "c.json")];
    assert.equal(await listed([...config, "--walg-file-prefix", join(root, "flag")], env), "flag");
    assert.equal(await listed(config, env), "env");
    assert.equal(await listed(config, { HOME: root }), "file");
    assert.equal(await listed([], { WALG_CONFIG_PATH: join(root, "c.json"), HOME: root }), "file");
    assert.equal(await listed([], { HOME: root }), "home");
    assert.match(await listed([], {}), /WALG_S3_PREFIX is missing/);
    assert.match(
      await listed(["--config", join(root, "none.json")], {}),
      /could not read the configuration file/,
    );
  });

  test("a refused setting is told by name, and no data is written in the clear", async () => {
    const env = { WALG_FILE_PREFIX: join(root, "env"), WALG_GPG_KEY_ID: "ABCD" };
    const { exit, stderr } = await callWalg(["backup-push", root], env);
    assert.equal(exit, 1);
    assert.match(stderr, /WALG_GPG_KEY_ID/);
  });
});

test("configuration files of every kind say the same", () => {
  const wanted = {
    WALG_S3_PREFIX: "s3://b/p",
    WALG_UPLOAD_CONCURRENCY: "4",
    AWS_S3_FORCE_PATH_STYLE: "true",
  };
  const texts: Record<string, string> = {
    "a.json": '{"WALG_S3_PREFIX": "s3://b/p", "WALG_UPLOAD_CONCURRENCY": 4, "AWS_S3_FORCE_PATH_STYLE": true}',
    "a.yaml":
      "# notes\nWALG_S3_PREFIX: s3://b/p\nWALG_UPLOAD_CONCURRENCY: 4 # four\nAWS_S3_FORCE_PATH_STYLE: 'true'\n",
    "a.toml": 'WALG_S3_PREFIX = "s3://b/p"\nWALG_UPLOAD_CONCURRENCY = 4\nAWS_S3_FORCE_PATH_STYLE = true\n',
    "a.env": "export WALG_S3_PREFIX=s3://b/p\nWALG_UPLOAD_CONCURRENCY=4\nAWS_S3_FORCE_PATH_STYLE=true\n",
    a: '{"walg_s3_prefix": "s3://b/p", "WALG_UPLOAD_CONCURRENCY": "4", "AWS_S3_FORCE_PATH_STYLE": "true"}',
  };
  for (const [path, text] of Object.entries(texts)) assert.deepEqual(parseConfig(text, path), wanted, path);
  assert.throws(() => parseConfig("{", "a.json"), /cannot be read/);
  assert.throws(() => parseConfig("nonsense", "a.yaml"), /line 1/);
});

test("flags are parsed as pflag does", () => {
  const flags: readonly Flag[] = [
    { name: "full", short: "f", kind: "bool", usage: "" },
    { name: "permanent", short: "p", kind: "bool", usage: "" },
    { name: "after", short: "a", kind: "string", usage: "" },
    { name: "only", kind: "list", usage: "" },
    { name: "count", kind: "int", usage: "" },
  ];
  const parse = (...args: string[]): unknown => {
    const { values, rest } = parseFlags(args, flags);
    return [Object.fromEntries(values), rest];
  };
  assert.deepEqual(parse("-fp", "x", "--after=b", "y"), [
    { full: "true", permanent: "true", after: "b" },
    ["x", "y"],
  ]);
  assert.deepEqual(parse("-a", "b", "--", "-f"), [{ after: "b" }, ["-f"]]);
  assert.deepEqual(parse("-ab"), [{ after: "b" }, []]);
  assert.deepEqual(parse("--only", "a,b", "--only", "c", "--full=false"), [
    { only: "a,b,c", full: "false" },
    [],
  ]);
  for (const args of [["--none"], ["-z"], ["--after"], ["--count", "x"], ["--full=maybe"]]) {
    assert.throws(() => parse(...args), UsageError, args.join(" "));
  }
});

test("durations are Go's", () => {
  assert.equal(parseDuration("1m30s"), 90_000);
  assert.equal(parseDuration("500ms"), 500);
  assert.equal(parseDuration("0"), 0);
  assert.equal(parseDuration("1.5h"), 5_400_000);
  for (const text of ["", "5", "x", "5d"]) assert.equal(parseDuration(text), null);
});
