// A server that archives into an S3 server and is backed up there, full and delta, with the wal-g commands; restored from there it has its rows.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock, waitUntil } from "../../src/base/clock.ts";
import { sharedS3Server } from "../support/s3-server.ts";
import { scratchFolder, scratchPostgres } from "../support/scratch-postgres.ts";
import { callWalg, type CallResult } from "../support/call-walg.ts";

const s3Server = sharedS3Server();

test("backup-push, wal-push, delta, verification and restore over S3", async () => {
  const s3 = await s3Server();
  await using folder = await scratchFolder("push-s3");
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: folder.path,
    WALG_S3_PREFIX: `s3://${await s3.makeBucket()}/some/db`,
    AWS_ENDPOINT: s3.endpoint,
    AWS_ACCESS_KEY_ID: s3.accessKey,
    AWS_SECRET_ACCESS_KEY: s3.secretKey,
    AWS_REGION: "us-east-1",
    AWS_S3_FORCE_PATH_STYLE: "true",
    WALG_PG_WAL_SIZE: "1",
    WALG_DELTA_MAX_STEPS: "2",
    WALG_DOWNLOAD_CONCURRENCY: "1",
  };
  const words = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
  const program = `${process.execPath} ${process.cwd()}/bin/wal-g.js`;
  const quoted = (command: string): string => `'${`${words.join(" ")} ${command}`.replaceAll("'", "''")}'`;
  await using server = await scratchPostgres({
    segmentMb: 1,
    conf: ["archive_mode = on", `archive_command = ${quoted(`${program} wal-push %p`)}`, "fsync = off"],
  });
  const walg = async (args: readonly string[], isHoldfast = false): Promise<CallResult> => {
    const more = {
      PGHOST: server.host,
      PGPORT: String(server.port),
      PGUSER: "postgres",
      PGDATA: server.dataDirectory,
    };
    const result = await callWalg(args, { ...env, ...more }, {}, isHoldfast ? "holdfast" : "wal-g");
    assert.equal(result.exit, 0, `${args.join(" ")}: ${result.stderr}`);
    return result;
  };

  await server.psql(
    "create table t as select g as id, repeat(md5(g::text), 20) as note from generate_series(1, 3000) g",
  );
  await walg(["backup-push", server.dataDirectory, "--full"]);
  await server.psql("update t set note = 'changed' where id % 50 = 0");
  await walg(["backup-push", server.dataDirectory]);
  const listed = JSON.parse((await walg(["backup-list", "--json"])).stdout) as { backup_name: string }[];
  assert.deepEqual(
    listed.map(({ backup_name }) => /_D_/.test(backup_name)),
    [false, true],
  );
  await server.psql("insert into t select g, 'behind the backups' from generate_series(10000, 10100) g");
  const expected = await server.psql(ROWS);
  await server.psql("select pg_switch_wal()");
  const isArchived = async (): Promise<boolean> =>
    (await server.psql("select count(*) from pg_ls_archive_statusdir() where name like '%.ready'")) === "0";
  assert.ok(await waitUntil(isArchived, 60_000, { clock: systemClock }));
  assert.match((await walg(["wal-verify", "integrity"])).stdout, /integrity check status: OK/);
  await walg(["verify", "--content"], true);

  const directory = join(folder.path, "restored");
  await walg(["backup-fetch", directory, "LATEST"]);
  await writeFile(join(directory, "recovery.signal"), "");
  const { uid = 0, gid = 0 } = server.user;
  assert.equal(spawnSync("chown", ["-R", `${uid}:${gid}`, directory]).status, 0);
  await using restored = await scratchPostgres({
    dataDirectory: directory,
    start: false,
    conf: ["archive_mode = off", "fsync = off", `restore_command = ${quoted(`${program} wal-fetch %f %p`)}`],
  });
  await restored.start();
  const isPromoted = async (): Promise<boolean> =>
    (await restored.psql("select pg_is_in_recovery()")) === "f";
  assert.ok(await waitUntil(isPromoted, 60_000, { clock: systemClock }), restored.log.slice(-2000));
  assert.equal(await restored.psql(ROWS), expected);
});

const ROWS = "select count(*), md5(string_agg(t::text, ',' order by id)) from t";
