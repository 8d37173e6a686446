// The roles of the image, made and kept as the settings say. Every step can be repeated, and does nothing when nothing is to do.

import type { Secret } from "../base/secret.ts";
import type { Passwords } from "./passwords.ts";
import { matchesVerifier, scramVerifier } from "./scram.ts";
import { quoteIdentifier, quoteLiteral, type QueryOptions, type Sql } from "./sql.ts";

/** The role nodes replicate by, and the owner of repmgr's database. */
export const REPLICATION_ROLE = "repmgr";
/** The role that runs things without being a superuser. */
const OPERATOR_ROLE = "operator";

/** What may be true of a role, as ALTER ROLE takes it. */
export interface RoleWish {
  readonly name: string;
  /** `SUPERUSER LOGIN …`; set anew each time. */
  readonly attributes: readonly string[];
  /** null: no login by password. */
  readonly password: Secret | null;
  /** Roles it is a member of. */
  readonly memberOf?: readonly string[];
  /** `name=value` as ALTER ROLE … SET keeps them. */
  readonly settings?: readonly string[];
}

/** The roles of a primary. `superuser` is POSTGRES_USER. */
export function wantedRoles(superuser: string, passwords: Passwords): readonly RoleWish[] {
  const roles: RoleWish[] = [
    {
      name: superuser,
      attributes: ["SUPERUSER", "LOGIN", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS"],
      password: passwords.superuser,
    },
    // repmgr reads and writes its own tables, promotes, and asks for checkpoints: its manual wants a superuser. pg_hba lets it in from members only.
    {
      name: REPLICATION_ROLE,
      attributes: ["SUPERUSER", "LOGIN", "REPLICATION"],
      password: passwords.replication,
      // On a nearly full volume its list must still be right.
      settings: ["default_transaction_read_only=off"],
    },
  ];
  if (passwords.operator === null) return roles;
  return [
    ...roles,
    {
      name: OPERATOR_ROLE,
      attributes: ["NOSUPERUSER", "LOGIN", "CREATEDB", "CREATEROLE", "NOREPLICATION"],
      password: passwords.operator,
      memberOf: ["pg_monitor", "pg_signal_backend"],
    },
  ];
}

/** Makes the role, or makes it what is wished. Writes nothing when it is so already. The names of what was changed. */
export async function ensureRole(
  sql: Sql,
  wish: RoleWish,
  options?: QueryOptions,
): Promise<readonly string[]> {
  const name = quoteIdentifier(wish.name);
  const changed: string[] = [];
  const [found] = await sql.query(
    `select rolpassword, rolsuper, rolcanlogin, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls
     from pg_authid where rolname = $1`,
    [wish.name],
    options,
  );
  if (found === undefined) {
    await sql.query(`create role ${name} ${wish.attributes.join(" ")}`, [], options);
    changed.push("created");
  } else if (wish.attributes.some((attribute) => !hasAttribute(found, attribute))) {
    await sql.query(`alter role ${name} ${wish.attributes.join(" ")}`, [], options);
    changed.push("attributes");
  }
  if (wish.password !== null && !(await matchesVerifier(wish.password, found?.["rolpassword"] ?? ""))) {
    // The verifier, never the password: whatever the server logs, the password is not in it.
    await sql.query(
      `alter role ${name} password ${quoteLiteral(await scramVerifier(wish.password))}`,
      [],
      options,
    );
    changed.push("password");
  }
  for (const group of wish.memberOf ?? []) {
    const [member] = await sql.query(
      "select pg_has_role($1::name, $2::name, 'member') as yes",
      [wish.name, group],
      options,
    );
    if (member?.["yes"] === "t") continue;
    await sql.query(`grant ${quoteIdentifier(group)} to ${name}`, [], options);
    changed.push(`member of ${group}`);
  }
  for (const setting of wish.settings ?? []) {
    const [kept] = await sql.query(
      `select coalesce($2 = any(s.setconfig), false) as yes from pg_roles r
       left join pg_db_role_setting s on s.setrole = r.oid and s.setdatabase = 0 where r.rolname = $1`,
      [wish.name, setting],
      options,
    );
    if (kept?.["yes"] === "t") continue;
    const [parameter = "", value = ""] = setting.split("=");
    await sql.query(
      `alter role ${name} set ${quoteIdentifier(parameter)} = ${quoteLiteral(value)}`,
      [],
      options,
    );
    changed.push(`set ${setting}`);
  }
  return changed;
}

function hasAttribute(row: Readonly<Record<string, string | null>>, attribute: string): boolean {
  const wanted = !attribute.startsWith("NO");
  const column = COLUMNS[wanted ? attribute : attribute.slice(2)];
  return column === undefined || (row[column] === "t") === wanted;
}

const COLUMNS: Readonly<Record<string, string>> = {
  SUPERUSER: "rolsuper",
  LOGIN: "rolcanlogin",
  CREATEDB: "rolcreatedb",
  CREATEROLE: "rolcreaterole",
  REPLICATION: "rolreplication",
  BYPASSRLS: "rolbypassrls",
};
