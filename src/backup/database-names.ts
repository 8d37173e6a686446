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

/**
 * `schema.table` to its numbers; indexes and TOAST tables stand by themselves too, as WAL-G lists them. What a user's table
 * cannot be read without (its partitions, indexes and TOAST tables) is repeated under it, in `subtables`.
 */
async function readTables(sql: Sql): Promise<Json> {
  const tables = new Map<string, TableEntry>();
  for (const row of await sql.query(RELATIONS))
    tables.set(must(row, "name"), { oid: Number(must(row, "oid")), relfilenode: Number(must(row, "node")) });
  for (const row of await sql.query(PARTS_OF_TABLES)) {
    const table = tables.get(must(row, "top"));
    if (table === undefined) continue;
    table.subtables ??= {};
    table.subtables[must(row, "name")] = {
      oid: Number(must(row, "oid")),
      relfilenode: Number(must(row, "node")),
    };
  }
  return Object.fromEntries<Json>(tables);
}

/** `relfilenode` 0: it has no file, being partitioned. */
type TableEntry = { readonly oid: number; readonly relfilenode: number; subtables?: Record<string, Json> };

const RELATIONS = `
  select n.nspname || '.' || c.relname as name, c.oid, coalesce(pg_relation_filenode(c.oid), 0) as node
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where pg_relation_filenode(c.oid) is not null or c.relkind = 'p' order by 1`;

const PARTS_OF_TABLES = `
  with family as (
    select c.oid as top, c.oid from pg_class c where c.relkind in ('r', 'm') and c.oid >= 16384
    union select c.oid, t.relid from pg_class c, pg_partition_tree(c.oid) t where c.relkind = 'p'
  ), with_toast as (
    select top, oid from family
    union select f.top, c.reltoastrelid from family f join pg_class c on c.oid = f.oid where c.reltoastrelid <> 0
  ), whole as (
    select top, oid from with_toast
    union select w.top, i.indexrelid from with_toast w join pg_index i on i.indrelid = w.oid
  )
  select tn.nspname || '.' || t.relname as top, n.nspname || '.' || c.relname as name, c.oid, pg_relation_filenode(c.oid) as node
  from whole w join pg_class t on t.oid = w.top join pg_namespace tn on tn.oid = t.relnamespace
    join pg_class c on c.oid = w.oid join pg_namespace n on n.oid = c.relnamespace
  where w.oid <> w.top and pg_relation_filenode(c.oid) is not null order by 1, 2`;
