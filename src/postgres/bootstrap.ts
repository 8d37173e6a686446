// A new cluster: initdb, roles, databases, extensions, the user's own scripts. Each step can be repeated.

import { chown, mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AppError } from "../base/errors.ts";
import { removeDurably, syncFolder } from "../base/durable-file.ts";
import type { Log } from "../base/log.ts";
import { mustRun, runCommand } from "../base/run-command.ts";
import { lentName } from "./nameless-user.ts";
import type { OsUser } from "./os-user.ts";
import type { Passwords } from "./passwords.ts";
import { ensureDatabase, ensureExtension } from "./queries.ts";
import { ensureRole, REPLICATION_ROLE, wantedRoles } from "./roles.ts";
import type { ServerAddress } from "./server-address.ts";
import { type Sql, withSql } from "./sql.ts";

export interface InitdbPlan {
  readonly bin: string;
  readonly dataDirectory: string;
  readonly user: OsUser | null;
  readonly superuser: string;
  readonly segmentBytes: number;
  /** POSTGRES_INITDB_ARGS, split. */
  readonly args: readonly string[];
}

/**
 * Makes the data directory; what is there is removed, so the caller has set the mark `initdb` before. UTF-8, page checksums, nobody let in by its
 * pg_hba.conf but local programs. Sets no password: see `ensureRoles`.
 */
export async function runInitdb(plan: InitdbPlan, signal: AbortSignal): Promise<void> {
  await removeDurably(plan.dataDirectory);
  // The volume's top may belong to root: an empty directory of the right owner is what initdb wants there.
  await mkdir(plan.dataDirectory, { mode: 0o700 });
  if (plan.user !== null) await chown(plan.dataDirectory, plan.user.uid, plan.user.gid);
  await mustRun(
    join(plan.bin, "initdb"),
    [
      `--pgdata=${plan.dataDirectory}`,
      `--username=${plan.superuser}`,
      "--auth-local=trust",
      "--auth-host=reject",
      "--encoding=UTF8",
      "--locale=C.UTF-8",
      "--data-checksums",
      `--wal-segsize=${plan.segmentBytes >> 20}`,
      ...plan.args,
    ],
    {
      ...plan.user,
      env: {
        TZ: "UTC",
        ...(plan.user === null ? await lentName(process.getuid?.(), process.getgid?.()) : {}),
      },
      cwd: dirname(plan.dataDirectory),
      signal,
    },
  );
  await syncFolder(dirname(plan.dataDirectory));
}

/** Brings roles and passwords to what the settings say; at every start of a primary. Logs what changed, never a password. */
export async function ensureRoles(
  sql: Sql,
  superuser: string,
  passwords: Passwords,
  log: Log,
): Promise<void> {
  for (const wish of wantedRoles(superuser, passwords)) {
    const changed = await ensureRole(sql, wish);
    if (changed.length > 0)
      log.info(`role "${wish.name}" was brought up to date`, { changed: changed.join(", ") });
  }
}

export interface DatabasePlan {
  readonly superuser: string;
  /** POSTGRES_DB. */
  readonly database: string;
  /** Libraries that are loaded: their extensions are made. */
  readonly preload: readonly string[];
}

/** Databases and extensions of a new cluster, or of one that came from elsewhere. `address` is the superuser's. */
export async function ensureDatabases(address: ServerAddress, plan: DatabasePlan): Promise<void> {
  await withSql({ ...address, database: "postgres" }, async (sql) => {
    if (plan.database !== "postgres") await ensureDatabase(sql, plan.database, plan.superuser);
    if (plan.preload.includes("repmgr")) await ensureDatabase(sql, REPLICATION_ROLE, REPLICATION_ROLE);
  });
  if (plan.preload.includes("repmgr")) {
    await withSql({ ...address, database: REPLICATION_ROLE }, (sql) => ensureExtension(sql, "repmgr"));
  }
  if (plan.preload.includes("pg_stat_statements")) {
    for (const database of new Set(["postgres", plan.database])) {
      await withSql({ ...address, database }, async (sql) => {
        await sql.query("create extension if not exists pg_stat_statements schema public");
      });
    }
  }
}

export interface InitScripts {
  /** `/docker-entrypoint-initdb.d`. */
  readonly folder: string;
  readonly bin: string;
  readonly user: OsUser | null;
  /** Folder of the socket. */
  readonly host: string;
  readonly port: number;
  readonly superuser: string;
  readonly database: string;
  /** The container's environment, which scripts of the official image expect; ours is laid over it. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Runs the user's scripts in the order of their names, once per cluster: the caller calls it before the mark of completion, so that a script that
 * failed or was killed is met by a fresh cluster the next time. Throws InitScriptError at the first that fails.
 */
export async function runInitScripts(plan: InitScripts, log: Log, signal: AbortSignal): Promise<number> {
  const names = (await readdir(plan.folder).catch(() => [])).sort((a, b) => (a < b ? -1 : 1));
  let count = 0;
  for (const name of names) {
    const path = join(plan.folder, name);
    const step = await stepFor(path);
    if (step === null) {
      log.warn("this file is neither a shell script nor SQL, and is left alone", { path });
      continue;
    }
    log.info("running a script of the user's", { path });
    await runStep(path, step, plan, log, signal);
    count += 1;
  }
  return count;
}

export class InitScriptError extends AppError {
  constructor(path: string, how: string, lastLines: string) {
    super(`"${path}" ended with ${how}: ${lastLines}`, {
      code: "INIT_SCRIPT",
      hint: "mend the script and start again: it will meet a fresh cluster",
    });
  }
}

interface Step {
  readonly file: string;
  readonly args: readonly string[];
}

async function stepFor(path: string): Promise<Step | null> {
  if (path.endsWith(".sh")) {
    const executable = ((await stat(path)).mode & 0o111) !== 0;
    return executable ? { file: path, args: [] } : { file: "bash", args: [path] };
  }
  const unpack = UNPACKERS.find(([ending]) => path.endsWith(ending))?.[1];
  if (unpack === undefined) return null;
  // Names of files are arguments of the shell, never part of its text.
  return {
    file: "bash",
    args: ["-c", `set -o pipefail; ${unpack} "$1" | psql ${PSQL_OPTIONS}`, "bash", path],
  };
}

async function runStep(
  path: string,
  step: Step,
  plan: InitScripts,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const result = await runCommand(step.file, step.args, {
    ...plan.user,
    cwd: "/",
    signal,
    env: {
      ...plan.env,
      PATH: `${plan.bin}:${plan.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"}`,
      PGHOST: plan.host,
      PGPORT: String(plan.port),
      PGUSER: plan.superuser,
      PGDATABASE: plan.database,
      POSTGRES_USER: plan.superuser,
      POSTGRES_DB: plan.database,
    },
  });
  for (const line of `${result.stdout}\n${result.stderr}`.split("\n")) {
    if (line.trim() !== "") log.info(line, { script: path });
  }
  if (result.exitCode === 0) return;
  const how = result.exitCode === null ? `signal ${result.signal}` : `status ${result.exitCode}`;
  throw new InitScriptError(path, how, result.stderr.trim().split("\n").slice(-3).join(" | "));
}

const PSQL_OPTIONS = "--no-psqlrc --quiet -v ON_ERROR_STOP=1";
const UNPACKERS: readonly (readonly [ending: string, command: string])[] = [
  [".sql", "cat --"],
  [".sql.gz", "gunzip -c --"],
  [".sql.xz", "xz -dc --"],
  [".sql.zst", "zstd -dcq --"],
];
