// A cluster that comes from elsewhere may have another superuser than the settings name.

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { ensureRoles } from "../../src/postgres/bootstrap.ts";
import { reachableSuperuser } from "../../src/postgres/superuser.ts";
import { withSql } from "../../src/postgres/sql.ts";
import { PASSWORDS } from "../support/local-server.ts";
import { scratchPostgres } from "../support/scratch-postgres.ts";

test("the wanted one if it is there, else the one that is, by which the wanted one is made", async () => {
  await using pg = await scratchPostgres();
  const address = { host: pg.host, port: pg.port, applicationName: "trial" };
  assert.equal(await reachableSuperuser({ ...address, user: "postgres" }), "postgres");
  assert.equal(await reachableSuperuser({ ...address, user: "boss" }), "postgres");
  await withSql({ ...address, user: "postgres" }, (sql) => ensureRoles(sql, "boss", PASSWORDS, silentLog));
  assert.equal(await reachableSuperuser({ ...address, user: "boss" }), "boss");
  await pg.psql("alter role boss nosuperuser");
  assert.equal(await reachableSuperuser({ ...address, user: "boss" }), "postgres");
});

test("none at all is the wanted one's error; a server that is away is its own", async () => {
  await using pg = await scratchPostgres();
  const address = { host: pg.host, port: pg.port, user: "boss", applicationName: "trial" };
  await pg.psql("create role hidden superuser login; create role boss login");
  await pg.psql("set session authorization hidden; alter role postgres rename to other");
  await assert.rejects(reachableSuperuser(address), { message: 'the role "boss" is no superuser' });
  await pg.stop();
  await assert.rejects(reachableSuperuser(address), /could not connect to boss@/);
});
