// Which superuser a restored cluster lets in by the socket: POSTGRES_USER may be another one than where the backup comes from.

import { ServerError, SQLSTATE } from "./server-error.ts";
import type { ServerAddress } from "./server-address.ts";
import { withSql } from "./sql.ts";

/**
 * The first of the address's own user, `postgres` and `repmgr` that exists and is a superuser. Works in recovery too, where none can be made;
 * `ensureRoles` makes the wanted one once the server is a primary. Throws the ServerError of the wanted one when none is let in.
 */
export async function reachableSuperuser(address: ServerAddress): Promise<string> {
  let refusal: ServerError | null = null;
  for (const user of new Set([address.user, "postgres", "repmgr"])) {
    try {
      const [row] = await withSql({ ...address, user }, (sql) =>
        sql.query("select rolsuper as yes from pg_roles where rolname = current_user"),
      );
      if (row?.["yes"] === "t") return user;
      refusal ??= new ServerError(`the role "${user}" is no superuser`, {
        hint: "set POSTGRES_USER to one that is",
      });
    } catch (error) {
      if (!(error instanceof ServerError) || error.sqlState !== SQLSTATE.noHbaEntry) throw error;
      refusal ??= error;
    }
  }
  throw refusal ?? new ServerError("no superuser is let in");
}
