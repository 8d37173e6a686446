// Which file holds which table, for partial restores (`DatabasesByNames`). Storage format, section 5.

import type { Json } from "../base/lossless-json.ts";
import type { Log } from "../base/log.ts";
import type { ServerAddress } from "../postgres/server-address.ts";
import { type Sql, withSql } from "../postgres/sql.ts";
import type { DatabaseNames } from "./files-metadata.ts";
import { must } from "../postgres/queries.ts";

/** Asks every database that takes connections. One that cannot be asked is left out with a warning. */
export async function readDatabaseNames(
  sql: Sql,
  address: ServerAddress,
  log: Log,
): Promise<Map<string, DatabaseNames>> {
  const names = new Map<string, DatabaseNames>();
  const rows = await sql.query("select datname, oid from pg_database where datallowconn order by datname");
  for (const row of rows) {
    const [name, oid] = [must(row, "datname"), Number(must(row, "oid"))];
    try {
      const tables = await withSql({ ...address, database: name }, readTables);
      names.set(name, { oid, tables });
    } catch (error) {
      log.warn("the tables of a database could not be listed; it cannot be restored alone", {
        database: name,
        because: error,
      });
    }
  }
  return names;
}

/** `schema.table` to its numbers; indexes and TOAST tables also stand by themselves. */
async function readTables(sql: Sql): Promise<Json> {
  const rows = await sql.query(
    `select n.nspname || '.' || c.relname as name, c.oid, pg_relation_filenode(c.oid) as node
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where pg_relation_filenode(c.oid) is not null order by 1`,
  );
  const entries = rows.map((row) => [
    must(row, "name"),
    { oid: Number(must(row, "oid")), relfilenode: Number(must(row, "node")) },
  ]);
  return Object.fromEntries(entries) as Json;
}
