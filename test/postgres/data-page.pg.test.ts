// Checksums of a real data directory.

import assert from "node:assert/strict";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  hasSoundHeader,
  isNewPage,
  PAGE_BYTES,
  pageLsn,
  verifyInJavaScript,
  verifyPages,
} from "../../src/postgres/data-page.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { scratchPostgres } from "../support/scratch-postgres.ts";

test("every page of a stopped server passes, and pg_checksums and we find the same flipped bit", async () => {
  await using pg = await scratchPostgres();
  await pg.psql(
    "create table t as select i, repeat(md5(i::text), 20) f from generate_series(1, 30000) i; create index on t (i)",
  );
  await pg.psql("vacuum t");
  await pg.psql("checkpoint");
  const path = join(pg.dataDirectory, await pg.psql("select pg_relation_filepath('t')"));
  const end = parseLsn(await pg.psql("select pg_current_wal_insert_lsn()"));
  await pg.stop();
  const relations = globSync("{base/*,global}/[0-9]*", { cwd: pg.dataDirectory }).filter((name) =>
    /\/\d+(_(fsm|vm|init))?(\.\d+)?$/.test(name),
  );
  let pages = 0;
  for (const name of relations) {
    const bytes = readFileSync(join(pg.dataDirectory, name));
    assert.deepEqual(verifyPages(bytes, 0), [], name);
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
      pages += 1;
      if (isNewPage(bytes, at)) continue;
      assert.ok(hasSoundHeader(bytes, at), `${name} at ${at}`);
      assert.ok(pageLsn(bytes, at) <= end, `${name} at ${at}`);
    }
  }
  assert.ok(pages > 5_000, `${pages} pages of ${relations.length} relations`);
  await pg.run("pg_checksums", ["--check", "-D", pg.dataDirectory]);

  const bytes = readFileSync(path);
  const at = 123 * PAGE_BYTES + 4567;
  bytes[at]! ^= 0x08;
  writeFileSync(path, bytes);
  assert.deepEqual(verifyPages(bytes, 0), [123]);
  assert.deepEqual(verifyInJavaScript(bytes, 0), [123]);
  await assert.rejects(pg.run("pg_checksums", ["--check", "-D", pg.dataDirectory]), /block 123: calculated/);
});
