// Ends whoever still writes where nobody should.

import { must } from "./queries.ts";
import type { QueryOptions, Sql } from "./sql.ts";

/**
 * Ends the sessions whose transaction has written something and began more than `sinceMs` ago, or is not a superuser's. Resolves to their roles.
 * repmgr's are left alone: what they write is little.
 */
export async function endWriters(
  sql: Sql,
  sinceMs: number,
  options?: QueryOptions,
): Promise<readonly string[]> {
  const rows = await sql.query(
    `select a.usename as role, pg_terminate_backend(a.pid) as ended
     from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
     where a.backend_type = 'client backend' and a.pid <> pg_backend_pid() and a.backend_xid is not null
       and a.usename <> 'repmgr'
       and (not r.rolsuper or a.xact_start < clock_timestamp() - $1 * interval '1 millisecond')`,
    [Math.round(sinceMs)],
    options,
  );
  return rows.map((row) => must(row, "role"));
}
