// New clusters: made whole, or recognised as not; roles, databases, the user's scripts.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { Secret } from "../../src/base/secret.ts";
import {
  ensureDatabases,
  ensureRoles,
  InitScriptError,
  runInitScripts,
  type InitScripts,
} from "../../src/postgres/bootstrap.ts";
import {
  clearUnfinished,
  inspectVolume,
  markComplete,
  markUnfinished,
  readControlFile,
} from "../../src/postgres/data-directory.ts";
import { scramVerifier } from "../../src/postgres/scram.ts";
import { withSql } from "../../src/postgres/sql.ts";
import { type LocalServer, localServer, PASSWORDS } from "../support/local-server.ts";
import { processesNaming } from "../support/processes.ts";
import { drawSeed, makeRandom } from "../support/random.ts";
import { postgresMajor } from "../support/scratch-postgres.ts";

const major = await postgresMajor();

test("initdb makes a cluster with checksums, UTF-8, its segment size, and the user's arguments last", async () => {
  await using run = await localServer();
  await run.initdb(["--locale=C", "--encoding=SQL_ASCII"]);
  const control = await readControlFile(run.plan.volume.dataDirectory);
  assert.deepEqual([control.segmentBytes, control.checksumVersion, control.state], [1 << 20, 1, "shut down"]);
  await run.start();
  await withSql(run.local, async (sql) => {
    const [row] = await sql.query(
      "select pg_encoding_to_char(encoding) e, datcollate c from pg_database where datname = 'template1'",
    );
    assert.deepEqual(row, { e: "SQL_ASCII", c: "C" });
  });
  await assert.rejects(run.initdb(["--no-such-argument"]), /initdb" ended with status 1.*no-such-argument/s);
});

test("killed at any moment, initdb leaves a volume that is recognised, cleared, and founded anew", async () => {
  const seed = drawSeed();
  const random = makeRandom(seed);
  for (let round = 0; round < 4; round += 1) {
    await using run = await localServer();
    const { volume } = run.plan;
    const told = `seed ${seed}, round ${round}`;
    await markUnfinished(volume, { work: "initdb", beganMs: Date.now(), detail: told });
    const making = run.initdb().then(
      () => "done",
      () => "killed",
    );
    await delay(random() * 600);
    for (const { pid } of processesNaming(volume.dataDirectory)) process.kill(pid, "SIGKILL");
    const outcome = await making;
    const state = await inspectVolume(volume, major);
    assert.deepEqual(
      [state.kind, state.kind === "unfinished" && state.mark.work],
      ["unfinished", "initdb"],
      `${told}: ${outcome}`,
    );
    await clearUnfinished(volume);
    assert.equal((await inspectVolume(volume, major)).kind, "empty", told);
    await markUnfinished(volume, { work: "initdb", beganMs: Date.now(), detail: "again" });
    await run.initdb();
    const { systemId } = await readControlFile(volume.dataDirectory);
    await markComplete(volume, {
      systemId,
      role: "primary",
      promotionId: null,
      origin: "initdb",
      writtenMs: Date.now(),
    });
    assert.equal((await inspectVolume(volume, major)).kind, "was-primary", told);
  }
});

test("roles come to what the settings say, a second time changes nothing, and no password is ever logged", async () => {
  await using run = await localServer();
  await run.initdb();
  await run.start({}, { environment: { log_statement: "all", log_min_messages: "debug1" } });
  const roles = (): Promise<string> =>
    withSql(run.local, async (sql) =>
      (
        await sql.query(
          "select rolname n, rolsuper s, rolcanlogin l, rolcreatedb d, rolcreaterole c, rolreplication r from pg_roles where rolname !~ '^pg_' order by 1",
        )
      )
        .map((row) => Object.values(row).join(" "))
        .join("\n"),
    );
  const ensure = (passwords = PASSWORDS): Promise<readonly string[]> => {
    const before = run.lines.length;
    return withSql(run.local, (sql) => ensureRoles(sql, "boss", passwords, run.log)).then(() =>
      run.lines.slice(before).filter((line) => line.includes("was brought up to date")),
    );
  };
  assert.equal((await ensure()).length, 3);
  assert.equal(await roles(), "boss t t t t t\noperator f t t t f\nrepmgr t t f f t");
  assert.deepEqual(await ensure(), [], "a second time");
  await withSql(run.local, (sql) => sql.query("alter role operator superuser nologin"));
  assert.match((await ensure()).join(), /role "operator" was brought up to date changed=attributes/);
  const next = { ...PASSWORDS, superuser: new Secret("another'pass\\word_2") };
  assert.match((await ensure(next)).join(), /role "boss" was brought up to date changed=password/);
  assert.deepEqual(await ensure(next), []);
  const stored = await withSql(run.local, (sql) =>
    sql.query("select rolpassword p from pg_authid where rolname = 'boss'"),
  );
  const salt = Buffer.from(/:([^$]+)\$/.exec(stored[0]!["p"]!)![1]!, "base64");
  assert.equal(stored[0]!["p"], await scramVerifier(next.superuser, salt));
  const log = run.lines.join("\n");
  for (const secret of [...Object.values(PASSWORDS), next.superuser]) {
    if (secret instanceof Secret) assert.ok(!log.includes(secret.reveal()), "a password was logged");
  }
  assert.match(log, /ALTER ROLE|alter role/, "statements were logged, so the check above means something");
});

test("databases and extensions of a new cluster, made once", async () => {
  await using run = await localServer();
  await run.initdb();
  await run.start();
  await withSql(run.local, (sql) => ensureRoles(sql, "boss", PASSWORDS, run.log));
  for (let round = 0; round < 2; round += 1) {
    await ensureDatabases(run.local, { superuser: "boss", database: "app", preload: run.plan.preload });
  }
  const extensions = async (database: string): Promise<readonly string[]> =>
    withSql({ ...run.local, database }, async (sql) =>
      (await sql.query("select extname n from pg_extension where extname <> 'plpgsql'")).map(
        (row) => row["n"]!,
      ),
    );
  assert.deepEqual(await extensions("app"), ["pg_stat_statements"]);
  if (run.plan.preload.includes("repmgr")) assert.deepEqual(await extensions("repmgr"), ["repmgr"]);
});

async function scripts(run: LocalServer): Promise<InitScripts> {
  const folder = join(run.plan.volume.volume, "initdb.d");
  await mkdir(folder);
  await ensureDatabases(run.local, { superuser: "boss", database: "app", preload: [] });
  return {
    folder,
    bin: run.plan.bin,
    user: run.user,
    host: run.socket,
    port: run.plan.port,
    superuser: "boss",
    database: "app",
    env: { PATH: process.env["PATH"] ?? "", GREETING: "hello" },
  };
}

test("the user's scripts run in the order of their names, of every kind, as Postgres's user", async () => {
  await using run = await localServer();
  await run.initdb();
  await run.start();
  const plan = await scripts(run);
  const put = (name: string, body: string | Uint8Array, mode = 0o644): Promise<void> =>
    writeFile(join(plan.folder, name), body).then(() => chmod(join(plan.folder, name), mode));
  const insert = (what: string): string => `insert into log (what) values ('${what}');\n`;
  await put("01-table.sql", "create table log (id serial, what text, who text default current_user);\n");
  await put("02-gz.sql.gz", gzipSync(insert("gz")));
  await put("03-zst.sql.zst", zstdCompressSync(insert("zst")));
  await put("04-xz.sql.xz", execFileSync("xz", ["-c"], { input: insert("xz") }));
  await put(
    "05-plain.sh",
    `psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<-EOSQL\n${insert("sh $GREETING")}EOSQL\n`,
  );
  await put(
    "06-run.sh",
    `#!/bin/sh\nset -e\npsql -qc "insert into log (what) values ('run $(id -un)')"\n`,
    0o755,
  );
  await put("07 odd; name.sql", insert("odd"));
  await put("README", "not a script");
  assert.equal(await runInitScripts(plan, run.log, AbortSignal.timeout(60_000)), 7);
  const rows = await withSql({ ...run.local, database: "app" }, (sql) =>
    sql.query("select what, who from public.log order by id"),
  );
  const runner = execFileSync("id", ["-un"], { ...run.user })
    .toString()
    .trim();
  assert.deepEqual(
    rows.map((row) => `${row["what"]} ${row["who"]}`),
    ["gz boss", "zst boss", "xz boss", "sh hello boss", `run ${runner} boss`, "odd boss"],
  );
  assert.match(run.lines.join("\n"), /neither a shell script nor SQL.*README/);
});

test("the first script that fails is named with its last words, and those behind it do not run", async () => {
  await using run = await localServer();
  await run.initdb();
  await run.start();
  const plan = await scripts(run);
  await writeFile(join(plan.folder, "1.sql"), "create table first (i int);\n");
  await writeFile(join(plan.folder, "2.sql"), "select * from nothing_of_the_kind;\nselect 1;\n");
  await writeFile(join(plan.folder, "3.sql"), "create table third (i int);\n");
  await assert.rejects(runInitScripts(plan, run.log, AbortSignal.timeout(60_000)), (error: unknown) => {
    assert.ok(error instanceof InitScriptError);
    assert.match(
      error.message,
      /2\.sql" ended with status 3: .*relation "nothing_of_the_kind" does not exist/,
    );
    assert.equal(error.hint, "mend the script and start again: it will meet a fresh cluster");
    return true;
  });
  const tables = await withSql({ ...run.local, database: "app" }, (sql) =>
    sql.query("select tablename t from pg_tables where schemaname = 'public'"),
  );
  assert.deepEqual(tables, [{ t: "first" }]);
  await writeFile(join(plan.folder, "2.sql"), "");
  await writeFile(join(plan.folder, "1.sql"), "");
  await writeFile(join(plan.folder, "2b.sql.gz"), "not gzip at all");
  await assert.rejects(
    runInitScripts(plan, run.log, AbortSignal.timeout(60_000)),
    /2b\.sql\.gz" ended with status 1/,
  );
  assert.deepEqual((await readdir(plan.folder)).length, 4);
});

test("no folder of scripts is no scripts", async () => {
  await using run = await localServer();
  const plan = {
    folder: "/nowhere",
    bin: "",
    user: null,
    host: "",
    port: 1,
    superuser: "x",
    database: "x",
    env: {},
  };
  assert.equal(await runInitScripts(plan, run.log, AbortSignal.timeout(1_000)), 0);
});
