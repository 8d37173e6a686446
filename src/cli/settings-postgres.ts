// Roles, passwords and Postgres's own settings, out of the environment. Pure.

import { checkParameters } from "../postgres/parameters.ts";
import type { Environment, Findings, ValuesOf } from "./read-table.ts";
import type { POSTGRES_TABLE } from "./settings-table.ts";
import type { PostgresSettings } from "./settings-types.ts";
import { splitWords } from "./shell-words.ts";

/** `passwordNeeded`: none may be generated. */
export function assemblePostgres(
  values: ValuesOf<typeof POSTGRES_TABLE>,
  env: Environment,
  passwordNeeded: boolean,
  findings: Findings,
): PostgresSettings {
  const { POSTGRES_PASSWORD: superuserPassword, TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile } = values;
  const superuser = values.POSTGRES_USER ?? "postgres";
  const problems = findings.problems;
  const faulty = problems.some((problem) => /^(POSTGRES|SU)_PASSWORD(_FILE)? /.test(problem));
  if (superuserPassword === null && passwordNeeded && !faulty) {
    problems.push(
      "POSTGRES_PASSWORD is missing (or SU_PASSWORD): with a bucket or other nodes it must be the same everywhere",
    );
  }
  if (RESERVED_ROLES.includes(superuser) || superuser.startsWith("pg_")) {
    problems.push(`POSTGRES_USER is "${superuser}", a name that is taken`);
  }
  if ((certFile === null) !== (keyFile === null)) {
    problems.push(
      `${certFile === null ? "TLS_CERT_FILE" : "TLS_KEY_FILE"} is missing: certificate and key belong together`,
    );
  }
  if (values.POSTGRES_HOST_AUTH_METHOD === "trust") {
    findings.notices.push(
      "POSTGRES_HOST_AUTH_METHOD is trust: everybody who reaches the port is let in without a password",
    );
  }
  const checked = checkParameters(configEntries(env, findings));
  problems.push(...checked.problems.map((problem) => `POSTGRES_CONFIG_…: ${problem}`));
  return {
    superuser,
    superuserPassword,
    operatorPassword: values.OPERATOR_PASSWORD,
    replicationPassword: values.REPL_PASSWORD,
    database: values.POSTGRES_DB ?? superuser,
    initdbArgs: readInitdbArgs(values.POSTGRES_INITDB_ARGS, problems),
    hostAuth: values.POSTGRES_HOST_AUTH_METHOD === "trust" ? "trust" : "scram-sha-256",
    preload: [...new Set([...PRELOAD, ...(values.POSTGRES_PRELOAD ?? [])])],
    parameters: checked.parameters,
    tls: certFile === null || keyFile === null ? null : { certFile, keyFile },
    tlsRequired: values.TLS_REQUIRED ?? false,
  };
}

function readInitdbArgs(given: string | null, problems: string[]): readonly string[] {
  const words = splitWords(given ?? "");
  if (words === null) {
    problems.push("POSTGRES_INITDB_ARGS has a quote that is never closed");
    return [];
  }
  for (const word of words) {
    const owned = OWNED_INITDB_ARGS.find((name) => word === name || word.startsWith(`${name}=`));
    if (owned !== undefined)
      problems.push(`POSTGRES_INITDB_ARGS holds ${owned}, which Holdfast sets by itself`);
  }
  return words;
}

/** POSTGRES_CONFIG_WORK_MEM is work_mem, POSTGRES_CONFIG_CRON__DATABASE_NAME is cron.database_name. */
function configEntries(env: Environment, { problems }: Findings): readonly (readonly [string, string])[] {
  const entries: (readonly [string, string])[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(CONFIG_PREFIX) || value === undefined) continue;
    if (value.endsWith("\r"))
      problems.push(`${name} ends with a carriage return: the file has Windows line ends`);
    const quoted = /^(["']).*\1$/.test(value.trim());
    if (quoted) problems.push(`${name} begins and ends with a quote: write the value as it is`);
    else entries.push([name.slice(CONFIG_PREFIX.length).toLowerCase().replaceAll("__", "."), value.trim()]);
  }
  return entries;
}

/** What the image loads; what is not installed is left out at the start. */
const PRELOAD: readonly string[] = ["pg_stat_statements", "repmgr"];
const RESERVED_ROLES: readonly string[] = ["repmgr", "operator", "public", "none"];
const CONFIG_PREFIX = "POSTGRES_CONFIG_";
const OWNED_INITDB_ARGS = [
  "-D",
  "--pgdata",
  "-U",
  "--username",
  "-W",
  "--pwprompt",
  "--pwfile",
  "-A",
  "--auth",
  "--auth-host",
  "--auth-local",
  "-X",
  "--waldir",
  "--wal-segsize",
  "-N",
  "--no-sync",
  "--no-data-checksums",
  "-S",
  "--sync-only",
] as const;
