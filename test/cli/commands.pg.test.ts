// A life with the wal-g commands on a real server: archive, back up, list, verify, delete, restore, receive, catch up.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, chmod, cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock, waitUntil } from "../../src/base/clock.ts";
import { archived } from "../support/backup-source.ts";
import { type ScratchPostgres, scratchFolder, scratchPostgres } from "../support/scratch-postgres.ts";

interface Ran {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

describe("the wal-g commands on a real server", () => {
  let root: string;
  let folder: Awaited<ReturnType<typeof scratchFolder>>;
  let server: ScratchPostgres;
  let env: Record<string, string>;

  before(async () => {
    folder = await scratchFolder("walg-commands");
    root = folder.path;
    await mkdir(join(root, "store"));
    await chmod(join(root, "store"), 0o777);
    env = {
      PATH: process.env["PATH"] ?? "",
      HOME: root,
      WALG_FILE_PREFIX: join(root, "store"),
      WALG_PG_WAL_SIZE: "1",
      WALG_COMPRESSION_METHOD: "zstd",
      WALG_DELTA_MAX_STEPS: "2",
    };
    const archive = Object.entries(env)
      .map(([name, value]) => `${name}='${value}'`)
      .join(" ");
    server = await scratchPostgres({
      segmentMb: 1,
      conf: [
        "archive_mode = on",
        `archive_command = '${`${archive} ${process.execPath} ${process.cwd()}/bin/wal-g.js wal-push %p`.replaceAll("'", "''")}'`,
        "max_wal_senders = 5",
        "wal_level = replica",
      ],
    });
    env = { ...env, PGHOST: server.host, PGPORT: String(server.port), PGDATA: server.dataDirectory };
    await server.psql(
      "create table t as select g as id, repeat(md5(g::text), 20) as note from generate_series(1, 2000) g",
    );
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  const walg = async (
    args: readonly string[],
    more: Record<string, string> = {},
    program = "wal-g",
  ): Promise<Ran> => {
    const child = spawn(process.execPath, [`bin/${program}.js`, ...args], {
      ...server.user,
      env: { ...env, ...more },
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data) => void (stdout += String(data)));
    child.stderr.on("data", (data) => void (stderr += String(data)));
    const [exit] = (await once(child, "close")) as [number | null];
    return { exit, stdout, stderr };
  };
  const good = async (
    args: readonly string[],
    more: Record<string, string> = {},
    program = "wal-g",
  ): Promise<Ran> => {
    const ran = await walg(args, more, program);
    assert.equal(ran.exit, 0, `${args.join(" ")}: ${ran.stderr}`);
    return ran;
  };
  const names = async (): Promise<string[]> =>
    (JSON.parse((await good(["backup-list", "--json"])).stdout) as { backup_name: string }[]).map(
      (one) => one.backup_name,
    );

  test("backup-push takes a full backup and then a delta; lists, marks and user data know them", async () => {
    const full = await good([
      "backup-push",
      server.dataDirectory,
      "--full",
      "--add-user-data",
      '{"night":1}',
    ]);
    assert.match(full.stderr, /Wrote backup with name base_[0-9A-F]{24} to storage default/);
    await server.psql("update t set note = 'changed' where id % 50 = 0");
    await good(["backup-push", server.dataDirectory]);
    const [first = "", second = ""] = await names();
    assert.equal(second, `base_${second.slice(5, 29)}_D_${first.slice(5)}`);
    const detail = JSON.parse((await good(["backup-list", "--json", "--detail"])).stdout) as Record<
      string,
      unknown
    >[];
    assert.deepEqual(
      detail.map((one) => one["user_data"]),
      [{ night: 1 }, undefined],
    );
    await good(["backup-mark", second]);
    assert.equal((await walg(["backup-mark", "-i", first])).exit, 1);
    await good(["backup-mark", "-i", second]);
    await good(["backup-mark", "-i", first]);
  });

  test("wal-show, wal-verify and verify find nothing missing; the server is asked where it stands", async () => {
    await archived(server);
    assert.match((await good(["wal-show"])).stdout, /\| OK /);
    const verified = await good(["wal-verify", "integrity", "timeline"]);
    assert.match(verified.stdout, /integrity check status: OK/);
    assert.match(verified.stdout, /timeline check status: OK/);
    const whole = await good(["verify", "--content", "--json"], {}, "holdfast");
    const { verdict, findings } = JSON.parse(whole.stdout) as { verdict: string; findings: unknown[] };
    assert.equal(verdict, "ok", JSON.stringify(findings));
  });

  test("--repair pushes a lost segment again while the server has it", async () => {
    const wal = (await readdir(join(root, "store/wal_005")))
      .filter((name) => /^[0-9A-F]{24}\.zst$/.test(name))
      .sort();
    const lost = wal.at(-2)!;
    await cp(join(root, "store/wal_005", lost), join(root, lost));
    await good(["st", "rm", `wal_005/${lost}`]);
    assert.equal((await walg(["verify"], {}, "holdfast")).exit, 1);
    const repaired = await good(["verify", "--repair"], {}, "holdfast");
    assert.match(repaired.stderr, /created 1 missing segments, left 0 as they are/);
  });

  test("a restore from the delta with wal-fetch has the rows", async () => {
    await server.psql("insert into t values (5000, 'after the backups')");
    await archived(server);
    const rows = await server.psql(
      "select count(*) as count, md5(string_agg(t::text, ',' order by id)) as sum from t",
    );
    const data = join(root, "restored");
    await good(["backup-fetch", data, "LATEST"]);
    const restored = await scratchPostgres({ dataDirectory: data, start: false });
    try {
      const command = Object.entries(env)
        .filter(([name]) => !name.startsWith("PG"))
        .map(([name, value]) => `${name}='${value}'`)
        .join(" ");
      await appendFile(
        join(data, "postgresql.auto.conf"),
        `restore_command = '${`${command} ${process.execPath} ${process.cwd()}/bin/wal-g.js wal-fetch %f %p`.replaceAll("'", "''")}'\narchive_mode = off\n`,
      );
      await writeFile(join(data, "recovery.signal"), "");
      await chmod(join(data, "recovery.signal"), 0o644);
      await restored.start();
      assert.ok(
        await waitUntil(
          async () => (await restored.psql("select pg_is_in_recovery() as r")) === "f",
          300_000,
          { clock: systemClock },
        ),
      );
      assert.equal(
        await restored.psql(
          "select count(*) as count, md5(string_agg(t::text, ',' order by id)) as sum from t",
        ),
        rows,
      );
    } finally {
      await restored[Symbol.asyncDispose]();
    }
  });

  test("a drill restores to scratch, checks, and leaves nothing", async () => {
    const query = "select count(*) from t";
    const ran = await good(
      ["drill", "--json", "--directory", join(root, "drills"), "--query", query],
      {},
      "holdfast",
    );
    const result = JSON.parse(ran.stdout) as {
      verdict: string;
      answer: string;
      checks: { name: string; ok: boolean; detail: string }[];
    };
    assert.equal(result.verdict, "ok", ran.stdout);
    assert.equal(result.answer, await server.psql(query));
    assert.deepEqual(
      result.checks.map(({ name, ok }) => [name, ok]),
      [
        ["starts and answers", true],
        ["amcheck", true],
        ["page checksums", true],
      ],
    );
    assert.match(result.checks[2]!.detail, /^\d+ blocks$/);
    assert.deepEqual(await readdir(join(root, "drills")), []);
  });

  test("wal-receive archives whole segments, from a slot, and ends at a signal", async () => {
    await mkdir(join(root, "received"));
    await chmod(join(root, "received"), 0o777);
    const child = spawn(process.execPath, ["bin/wal-g.js", "wal-receive"], {
      ...server.user,
      env: { ...env, WALG_FILE_PREFIX: join(root, "received"), WALG_SLOTNAME: "receiver" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (data) => void (stderr += String(data)));
    const count = async (): Promise<number> =>
      (await readdir(join(root, "received/wal_005")).catch(() => [])).length;
    assert.ok(
      await waitUntil(
        async () => (await server.psql("select active from pg_replication_slots")) === "t",
        120_000,
        { clock: systemClock },
      ),
      stderr,
    );
    await server.psql("insert into t select g, repeat('x', 1000) from generate_series(10000, 13000) g");
    assert.ok(await waitUntil(async () => (await count()) >= 2, 120_000, { clock: systemClock }), stderr);
    child.kill("SIGTERM");
    await once(child, "exit");
    assert.match(stderr, /archived [0-9A-F]{24}/);
    await server.psql("select pg_drop_replication_slot('receiver')");
  });

  test("catchup brings an old copy up", async () => {
    const copy = join(root, "old-copy");
    await good(["backup-fetch", copy, (await names())[0]!]);
    const lsn = await server.psql("select (pg_current_wal_lsn() - '0/0')::text as lsn");
    await good(["catchup-push", server.dataDirectory, "--from-lsn", String(BigInt(lsn) - 1n)]);
    const listed = JSON.parse((await good(["catchup-list", "--json"])).stdout) as { backup_name: string }[];
    await good(["catchup-fetch", copy, listed[0]!.backup_name]);
    assert.ok((await readdir(copy)).includes("backup_label"));
    assert.deepEqual((await names()).length, 2);
  });

  test("delete retain keeps the newest and what it needs", async () => {
    await good(["backup-push", server.dataDirectory, "--full"]);
    const dry = await good(["delete", "retain", "Full", "1"]);
    assert.match(dry.stderr, /Dry run: objects would be deleted/);
    assert.equal((await names()).length, 3);
    await good(["delete", "retain", "Full", "1", "--confirm"]);
    assert.equal((await names()).length, 1);
    await good(["verify", "--content"], {}, "holdfast");
  });
});
