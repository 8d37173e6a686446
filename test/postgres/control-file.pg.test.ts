// pg_control of this machine's server, in every state it passes through.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readControlFile } from "../../src/postgres/data-directory.ts";
import { assertSameAsControldata } from "../support/controldata.ts";
import { scratchPostgres } from "../support/scratch-postgres.ts";

test("running, killed, recovered, stopped: the same as pg_controldata", async () => {
  await using pg = await scratchPostgres({
    segmentMb: 1,
    conf: ["max_connections = 77", "wal_log_hints = on"],
  });
  const look = async (state: string): Promise<void> => {
    const { stdout } = await pg.run("pg_controldata", [pg.dataDirectory]);
    const control = await readControlFile(pg.dataDirectory);
    assertSameAsControldata(control, stdout);
    assert.equal(control.state, state);
  };
  await look("in production");
  await pg.psql("create table t as select generate_series(1, 1000)");
  await pg.psql("checkpoint");
  await pg.kill();
  await look("in production");
  await pg.start();
  await pg.stop();
  await look("shut down");
  await pg.start();
  await pg.stop("immediate");
  await look("in production");
});

test("read while the server writes it as fast as it can, it is never wrong", async () => {
  await using pg = await scratchPostgres();
  const writing = pg.psql(
    "do $$ begin for i in 1..200 loop create table if not exists x (i int); drop table x; end loop; end $$; checkpoint; checkpoint; checkpoint",
  );
  const { systemId } = await readControlFile(pg.dataDirectory);
  for (let round = 0; round < 500; round += 1) {
    assert.equal((await readControlFile(pg.dataDirectory)).systemId, systemId);
  }
  await writing;
});
