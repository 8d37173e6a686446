// A server started with our files and arguments: its doors, its promises, what wins over what.

import assert from "node:assert/strict";
import { chown, cp, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Secret } from "../../src/base/secret.ts";
import { ensureRoles } from "../../src/postgres/bootstrap.ts";
import { settingProblems, showSetting } from "../../src/postgres/queries.ts";
import type { ServerAddress } from "../../src/postgres/server-address.ts";
import { ServerError } from "../../src/postgres/server-error.ts";
import { ensureOwnership, writeDoors } from "../../src/postgres/server-files.ts";
import { connectSql, withSql } from "../../src/postgres/sql.ts";
import { localServer, PASSWORDS } from "../support/local-server.ts";
import { runningProcesses } from "../support/processes.ts";

/** The SQLSTATE by which the door was shut, or "in". */
async function knock(address: ServerAddress): Promise<string> {
  try {
    await using sql = await connectSql(address);
    return (await sql.query("select current_user as u"))[0]!["u"] === address.user ? "in" : "odd";
  } catch (error) {
    assert.ok(error instanceof ServerError, String(error));
    return error.sqlState ?? "none";
  }
}
const open = { clients: "open", replication: "open" } as const;
const reloaded = async (server: { reload(): void }): Promise<void> => {
  server.reload();
  await delay(300);
};

test("closed, then open: nobody without a password, ever", async () => {
  await using run = await localServer();
  await run.initdb();
  const server = await run.start();
  await withSql(run.local, (sql) => ensureRoles(sql, "boss", PASSWORDS, run.log));
  const wrong = new Secret("wrong-password");
  const member = { ...run.tcp, user: "repmgr", password: PASSWORDS.replication };
  const REFUSED = "28000";
  assert.equal(await knock(run.local), "in", "local programs");
  for (const address of [run.tcp, { ...run.tcp, password: wrong }, member])
    assert.equal(await knock(address), REFUSED);
  const { password: _password, ...naked } = run.tcp;
  assert.equal(await knock(naked), REFUSED);

  await writeDoors(run.plan, { ...run.moment.doors, ...open }, run.log);
  await reloaded(server);
  assert.equal(await knock(run.tcp), "in");
  assert.equal(await knock({ ...run.tcp, password: wrong }), "28P01");
  assert.notEqual(await knock(naked), "in");
  assert.equal(await knock(member), "in");
  assert.equal(await knock({ ...run.tcp, user: "operator", password: PASSWORDS.operator! }), "in");
  assert.equal(
    await knock({ ...run.tcp, user: "postgres" }),
    "28P01",
    "no such role looks like a wrong password",
  );

  await writeDoors(run.plan, { ...run.moment.doors, ...open, replicationFrom: ["198.51.100.0/24"] }, run.log);
  await reloaded(server);
  assert.equal(await knock(member), REFUSED, "a member from elsewhere");
  await writeDoors(run.plan, run.moment.doors, run.log);
  await reloaded(server);
  assert.equal(await knock(run.tcp), REFUSED);
  for (const line of run.lines) {
    for (const secret of [PASSWORDS.superuser, PASSWORDS.operator!, PASSWORDS.replication]) {
      assert.ok(!line.includes(secret.reveal()), line);
    }
  }
});

test("TLS is offered with a certificate of our own, kept over starts, and can be required", async () => {
  await using run = await localServer();
  await run.initdb();
  const server = await run.start({ doors: { ...run.moment.doors, ...open } });
  await withSql(run.local, (sql) => ensureRoles(sql, "boss", PASSWORDS, run.log));
  const ca = await readFile(run.plan.files.certificate, "utf8");
  const secure: ServerAddress = { ...run.tcp, tls: { kind: "verify", ca, serverName: "n1" } };
  await withSql(secure, async (sql) => {
    const [row] = await sql.query("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()");
    assert.deepEqual([row?.["ssl"], /^TLSv1\.[23]$/.test(row?.["version"] ?? "")], ["t", true]);
  });
  const key = await stat(run.plan.files.key);
  assert.deepEqual([key.mode & 0o777, key.uid], [0o600, run.user?.uid ?? process.getuid?.()]);
  await server.stop({ fastMs: 10_000, immediateMs: 5_000 });
  await run.start({ doors: { ...run.moment.doors, ...open, tlsRequired: true, replicationFrom: [] } });
  assert.equal(await readFile(run.plan.files.certificate, "utf8"), ca);
  assert.equal(await knock(run.tcp), "in", "from this machine without TLS, as HAProxy comes");
});

test("promises hold against ALTER SYSTEM, also after a restart, and the user's own settings last", async () => {
  await using run = await localServer();
  await run.initdb();
  await writeFile(
    join(run.plan.volume.volume, "postgresql.user.conf"),
    "work_mem = '7MB'\nmaintenance_work_mem = 33MB\nfsync = off\nport = 1\n",
  );
  const environment = { work_mem: "8MB", "cron.database_name": "app" };
  const first = await run.start({}, { environment });
  await withSql(run.local, async (sql) => {
    assert.equal(await showSetting(sql, "work_mem"), "8MB", "the environment over the file");
    assert.equal(await showSetting(sql, "maintenance_work_mem"), "33MB", "the file over the tuning");
    assert.equal(await showSetting(sql, "shared_buffers"), "192MB", "the tuning over initdb's file");
    assert.equal(await showSetting(sql, "cron.database_name"), "app");
    assert.deepEqual(await settingProblems(sql), []);
    for (const [name, value] of [
      ["fsync", "off"],
      ["full_page_writes", "off"],
      ["restore_command", "false"],
      ["archive_command", "false"],
      ["work_mem", "9MB"],
    ]) {
      await sql.query(`alter system set ${name} = '${value}'`);
    }
    await sql.query("alter system set primary_conninfo = 'host=nowhere'");
    await sql.query("select pg_reload_conf()");
    await delay(300);
    for (const [name, value] of [
      ["fsync", "on"],
      ["full_page_writes", "on"],
      ["restore_command", "true restore %f %p"],
      ["archive_command", "true archive %f %p"],
      ["work_mem", "9MB"],
    ] as const) {
      assert.equal(await showSetting(sql, name), value, name);
    }
  });
  await first.stop({ fastMs: 10_000, immediateMs: 5_000 });
  await run.start({}, { environment });
  await withSql(run.local, async (sql) => {
    assert.equal(await showSetting(sql, "work_mem"), "9MB");
    assert.equal(await showSetting(sql, "primary_conninfo"), "");
    const [row] = await sql.query(
      "select count(*) as n from pg_file_settings where sourcefile like '%auto.conf'",
    );
    assert.equal(row?.["n"], "1", "what is ours was taken out of postgresql.auto.conf");
  });
  const warnings = run.lines.filter((line) => line.includes("postgresql.user.conf is left out"));
  assert.match(warnings.join("\n"), /fsync cannot be off[^]*port is set by POSTGRES_PORT/);
});

test("a restore on a smaller machine: settings of the source's that recovery needs are raised, those of its memory are dropped", async () => {
  await using run = await localServer();
  await run.initdb();
  const big = await run.start({}, { environment: { max_connections: "250", max_worker_processes: "20" } });
  await withSql(run.local, (sql) => sql.query("alter system set shared_buffers = '64GB'"));
  await big.stop({ fastMs: 10_000, immediateMs: 5_000 });
  await writeFile(join(run.plan.volume.dataDirectory, "standby.signal"), "");
  if (run.user !== null)
    await chown(join(run.plan.volume.dataDirectory, "standby.signal"), run.user.uid, run.user.gid);
  // An archive that has nothing: a standby that waits.
  await run.start({ fromElsewhere: true, recovers: true }, { hook: "false" });
  await withSql(run.local, async (sql) => {
    assert.equal(await showSetting(sql, "max_connections"), "250");
    assert.equal(await showSetting(sql, "max_worker_processes"), "20");
    assert.equal(await showSetting(sql, "shared_buffers"), "192MB");
    assert.equal((await sql.query("select pg_is_in_recovery() as r"))[0]?.["r"], "t");
  });
});

test("a wrong line of pg_hba.user.conf is left out and said; a right one counts", async () => {
  await using run = await localServer();
  await run.initdb();
  await writeFile(
    join(run.plan.volume.volume, "pg_hba.user.conf"),
    "hots all all all trust\nhost all visitor 127.0.0.1/32 trust\n",
  );
  await run.start({ doors: { ...run.moment.doors, ...open } });
  await withSql(run.local, (sql) => sql.query("create role visitor login"));
  const { password: _password, ...naked } = run.tcp;
  assert.equal(await knock({ ...naked, user: "visitor" }), "in");
  assert.match(
    run.lines.join("\n"),
    /a line of pg_hba\.user\.conf is left out problem="line 1 begins with \\"hots\\"/,
  );
});

test("files of ours are for Postgres's user alone, and a data directory of another owner is given to it", async () => {
  await using run = await localServer();
  await run.initdb();
  await run.start();
  const owner = run.user?.uid ?? process.getuid?.();
  for (const path of [
    run.plan.files.passfile,
    run.plan.files.hba,
    run.plan.files.main,
    run.plan.files.role,
  ]) {
    const { mode, uid } = await stat(path);
    assert.deepEqual([mode & 0o777, uid], [0o600, owner], path);
  }
  const other = await mkdtemp(join(tmpdir(), "holdfast-owner-"));
  try {
    await cp(join(run.plan.volume.dataDirectory, "PG_VERSION"), join(other, "PG_VERSION"));
    await ensureOwnership(other, run.user, run.log);
    const { mode, uid } = await stat(other);
    assert.deepEqual([mode & 0o777, uid, (await stat(join(other, "PG_VERSION"))).uid], [0o700, owner, owner]);
  } finally {
    await rm(other, { recursive: true });
  }
});

test("no password stands in any process's arguments", async () => {
  await using run = await localServer();
  await run.initdb();
  await run.start();
  await withSql(run.local, (sql) => ensureRoles(sql, "boss", PASSWORDS, run.log));
  const shown = runningProcesses()
    .map(({ line }) => line)
    .join("\n");
  for (const secret of [PASSWORDS.superuser, PASSWORDS.operator!, PASSWORDS.replication]) {
    assert.ok(!shown.includes(secret.reveal()));
  }
});
