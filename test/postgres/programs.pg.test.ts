// Which programs there are, and as whom they run.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { postgresUser } from "../../src/postgres/os-user.ts";
import { findPrograms, loadableLibraries } from "../../src/postgres/programs.ts";
import { postgresBin, postgresMajor } from "../support/scratch-postgres.ts";

test("the newest programs are found, with their version", async () => {
  const programs = await findPrograms(null);
  assert.match(programs.version, new RegExp(`^${programs.major}\\.\\d+ `));
  const chosen = await findPrograms(postgresBin());
  assert.deepEqual([chosen.bin, chosen.major], [postgresBin(), await postgresMajor()]);
});

test("no programs is an error that says what to install", async () => {
  await assert.rejects(findPrograms(null, "/nowhere"), {
    code: "NO_POSTGRES",
    message: "no Postgres programs in /nowhere",
  });
  await assert.rejects(findPrograms("/nowhere"), /could not run "\/nowhere\/postgres"/);
});

test("only libraries that are there are loaded", async () => {
  assert.deepEqual(await loadableLibraries(postgresBin(), ["pg_stat_statements", "no_such_library"]), [
    "pg_stat_statements",
  ]);
});

test("as root the user postgres is taken, else we stay who we are", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-passwd-"));
  try {
    const passwd = join(folder, "passwd");
    await writeFile(
      passwd,
      "root:x:0:0::/root:/bin/sh\npostgresql:x:1:1::/:/\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n",
    );
    assert.deepEqual(await postgresUser(0, passwd), { uid: 101, gid: 104 });
    assert.equal(await postgresUser(1000, passwd), null);
    assert.equal(await postgresUser(undefined, passwd), null);
    await writeFile(passwd, "root:x:0:0::/root:/bin/sh\n");
    await assert.rejects(postgresUser(0, passwd), /there is no user "postgres"/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
