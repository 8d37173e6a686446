// pg_rewind, asked as the supervisor asks it: an old primary follows again, and what it cannot see is told apart.

import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Secret } from "../../src/base/secret.ts";
import { passfileLine } from "../../src/postgres/config-files.ts";
import { postgresUser } from "../../src/postgres/os-user.ts";
import { rewind, RewindError } from "../../src/postgres/rewind.ts";
import { giveTo } from "../support/local-server.ts";
import { type ScratchPostgres, scratchPostgres } from "../support/scratch-postgres.ts";

const soon = (): AbortSignal => AbortSignal.timeout(120_000);
const user = await postgresUser(process.getuid?.());

/** A primary with a standby that has been promoted away from it; the old one wrote on and is stopped. */
async function diverged(): Promise<
  AsyncDisposable & { old: ScratchPostgres; next: ScratchPostgres; archive: string }
> {
  const old = await scratchPostgres({
    segmentMb: 1,
    conf: ["wal_keep_size = 64MB", "archive_mode = on", "wal_log_hints = on"],
  });
  const archive = join(old.root, "archive");
  await mkdir(archive);
  giveTo(user, archive);
  await old.configure([`archive_command = 'cp %p ${archive}/%f'`, `restore_command = 'cp ${archive}/%f %p'`]);
  old.reload();
  await old.psql(
    "create role rewinder superuser login password 'rewinder-password_1'; create table t (what text)",
  );
  // Without --write-recovery-conf: pg_rewind would copy its postgresql.auto.conf, and the old primary would follow itself.
  await old.run("pg_basebackup", ["-D", `${old.root}/next`, "-X", "stream", "-c", "fast"]);
  await writeFile(join(old.root, "next", "standby.signal"), "");
  giveTo(user, join(old.root, "next", "standby.signal"));
  const next = await scratchPostgres({
    dataDirectory: `${old.root}/next`,
    tcp: true,
    conf: ["archive_mode = off", `primary_conninfo = 'host=${old.host} port=${old.port} user=postgres'`],
    hba: ["host all rewinder 127.0.0.1/32 scram-sha-256", "host all all all reject"],
  });
  await old.psql("insert into t values ('both')");
  for (
    let tries = 0;
    (await next.psql("select count(*) from t").catch(() => "0")) !== "1" && tries < 100;
    tries += 1
  )
    await delay(50);
  await next.psql("select pg_promote()");
  await next.psql("insert into t values ('winner')");
  await next.psql("checkpoint");
  return {
    old,
    next,
    archive,
    [Symbol.asyncDispose]: async () => {
      await next[Symbol.asyncDispose]();
      await old[Symbol.asyncDispose]();
    },
  };
}
const plan = (
  old: ScratchPostgres,
  next: ScratchPostgres,
  passfile: string,
): Parameters<typeof rewind>[0] => ({
  bin: old.bin,
  dataDirectory: old.dataDirectory,
  configFile: join(old.dataDirectory, "postgresql.conf"),
  source: { host: "127.0.0.1", port: next.port, user: "rewinder", passfile },
  user,
});
async function passfile(pg: ScratchPostgres, password: string): Promise<string> {
  const path = join(pg.root, `pgpass-${password.length}`);
  await writeFile(path, passfileLine("rewinder", new Secret(password)), { mode: 0o600 });
  giveTo(user, path);
  return path;
}

test("an old primary that wrote on is turned back, with WAL from the archive, and follows", async () => {
  await using pair = await diverged();
  const { old, next, archive } = pair;
  for (let round = 0; round < 4; round += 1) {
    await old.psql(`insert into t select 'loser' from generate_series(1, 2000)`);
    await old.psql("checkpoint");
    await old.psql("select pg_switch_wal()");
  }
  await old.stop();
  // Not in pg_wal any more: only restore_command has it.
  const segments = (await old.run("pg_controldata", [old.dataDirectory])).stdout;
  assert.match(segments, /shut down/);
  for (const name of ["000000010000000000000003", "000000010000000000000004"]) {
    await rm(join(old.dataDirectory, "pg_wal", name), { force: true });
  }
  const outcome = await rewind(plan(old, next, await passfile(old, "rewinder-password_1")), soon());
  assert.equal(outcome.kind, "rewound", outcome.output);
  assert.match(outcome.output, /servers diverged at WAL location/);
  await writeFile(join(old.dataDirectory, "standby.signal"), "");
  giveTo(user, join(old.dataDirectory, "standby.signal"));
  await old.configure([
    `primary_conninfo = 'host=${next.host} port=${next.port} user=postgres'`,
    "archive_mode = off",
    `restore_command = 'cp ${archive}/%f %p'`,
  ]);
  await old.start();
  const rows = async (): Promise<string> =>
    old.psql("select string_agg(distinct what, ',' order by what) from t").catch(() => "");
  for (let tries = 0; (await rows()) !== "both,winner" && tries < 200; tries += 1) await delay(50);
  assert.equal(await rows(), "both,winner");
});

test("a wrong password is an error that does not show it, and a server that runs cannot be rewound", async () => {
  await using pair = await diverged();
  const { old, next } = pair;
  await old.stop();
  await assert.rejects(
    rewind(plan(old, next, await passfile(old, "wrong-password")), soon()),
    (error: unknown) => {
      assert.ok(error instanceof RewindError);
      assert.match(
        error.message,
        /pg_rewind ended with status 1: .*password authentication failed for user "rewinder"/,
      );
      assert.doesNotMatch(error.message, /wrong-password/);
      return true;
    },
  );
  await old.start();
  const right = await passfile(old, "rewinder-password_1");
  await assert.rejects(rewind(plan(old, next, right), soon()), RewindError);
});

test("what pg_rewind does not see as diverged is told apart: it proves nothing", async () => {
  await using pair = await diverged();
  const { next, old } = pair;
  await old.stop("immediate");
  // The winner's twin: the same timeline.
  await next.psql("checkpoint");
  await next.run("pg_basebackup", ["-D", `${next.root}/copy`, "-X", "stream", "-c", "fast"]);
  await using twin = await scratchPostgres({ dataDirectory: `${next.root}/copy` });
  await twin.stop();
  const outcome = await rewind(plan(twin, next, await passfile(old, "rewinder-password_1")), soon());
  assert.equal(outcome.kind, "not-needed", outcome.output);
});
