// Writes everything the server is started with, and answers with its arguments: one call before every start, and before every reload.

import { chmod, mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import type { Log } from "../base/log.ts";
import { mustRun } from "../base/run-command.ts";
import type { Secret } from "../base/secret.ts";
import {
  cleanAutoConf,
  type ConfigPaths,
  passfileLine,
  renderMainConfig,
  renderGuardConfig,
  renderRoleConfig,
  type RoleConfig,
  serverArguments,
} from "./config-files.ts";
import type { RecoverySettings } from "./control-file.ts";
import { readControlFile, type VolumePaths } from "./data-directory.ts";
import { checkHbaLines, type HbaConfig, renderHba } from "./hba.ts";
import type { Machine } from "./machine.ts";
import type { OsUser } from "./os-user.ts";
import { checkParameters, parseParameterFile, type Parameters } from "./parameters.ts";
import { REPLICATION_ROLE } from "./roles.ts";
import { ensureCertificate } from "./tls-certificate.ts";
import { MACHINE_PARAMETERS, RECOVERY_NAMES, recoveryMinimums, tuneFor } from "./tuning.ts";

/** What does not change between two starts. */
export interface ServerPlan {
  readonly bin: string;
  readonly volume: VolumePaths;
  readonly files: ConfigPaths;
  readonly user: OsUser | null;
  readonly nodeName: string;
  readonly machine: Machine;
  readonly port: number;
  readonly listenAddress: string;
  readonly socketDirectories: readonly string[];
  readonly hook: string;
  readonly environment: Parameters;
  readonly preload: readonly string[];
  readonly replicationPassword: Secret;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null;
}

/** What changes: the role, and who is let in. */
export interface ServerMoment {
  readonly role: RoleConfig;
  readonly doors: Pick<HbaConfig, "clients" | "replication" | "replicationFrom" | "hostAuth" | "tlsRequired">;
  /** The start recovers WAL of another machine: what was tuned there is taken out of postgresql.auto.conf. */
  readonly fromElsewhere: boolean;
  /** The start recovers: a restore or a standby. */
  readonly recovers: boolean;
  /** The volume is nearly full. */
  readonly isReadOnly: boolean;
  readonly nowMs: number;
}

/**
 * Writes configuration, pg_hba.conf, password file and certificate; cleans postgresql.auto.conf of what the supervisor owns. Returns the arguments
 * behind `postgres -D`. What users wrote and Postgres could not use is logged as a warning and left out: a slip must not keep the server down.
 */
export async function writeServerFiles(
  plan: ServerPlan,
  moment: ServerMoment,
  log: Log,
): Promise<readonly string[]> {
  const { files, volume, user } = plan;
  await mkdir(files.directory, { recursive: true, mode: 0o755 });
  const write = (path: string, text: string): Promise<void> =>
    writeDurably(path, text, 0o600, user ?? undefined);
  const userFile = await readUserFile(join(volume.volume, "postgresql.user.conf"), log);
  await write(
    files.main,
    renderMainConfig({
      paths: files,
      dataDirectory: volume.dataDirectory,
      nodeName: plan.nodeName,
      tuning: tuneFor(plan.machine),
      userFile,
      environment: plan.environment,
      preload: plan.preload,
    }),
  );
  await write(files.role, renderRoleConfig(moment.role));
  await write(files.guard, renderGuardConfig(moment.isReadOnly));
  await writeDoors(plan, moment.doors, log);
  await write(files.ident, "# No name of the system counts as a role.\n");
  await write(files.passfile, passfileLine(REPLICATION_ROLE, plan.replicationPassword));
  await ensureCertificate({
    certificate: files.certificate,
    key: files.key,
    scratch: files.directory,
    user,
    given: plan.tls,
    nodeName: plan.nodeName,
    nowMs: moment.nowMs,
  });
  await tidyAutoConf(plan, moment.fromElsewhere, log);
  const args = serverArguments({ ...plan, paths: files });
  if (!moment.recovers) return args;
  const raised = await raisedForRecovery(plan, args);
  for (const [name, value] of Object.entries(raised)) {
    log.info("a setting is raised to what the recovered WAL needs", { name, value });
  }
  return [...args, ...Object.entries(raised).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
}

/** Writes the role's file alone; reload the server afterwards. */
export async function writeRole(plan: Pick<ServerPlan, "files" | "user">, role: RoleConfig): Promise<void> {
  await writeDurably(plan.files.role, renderRoleConfig(role), 0o600, plan.user ?? undefined);
}

/** Writes the guard's file alone; reload the server afterwards. */
export async function writeGuard(
  plan: Pick<ServerPlan, "files" | "user">,
  isReadOnly: boolean,
): Promise<void> {
  await writeDurably(plan.files.guard, renderGuardConfig(isReadOnly), 0o600, plan.user ?? undefined);
}

/** Writes pg_hba.conf alone; reload the server afterwards. Sessions that are open stay open. */
export async function writeDoors(
  plan: Pick<ServerPlan, "files" | "user" | "volume">,
  doors: ServerMoment["doors"],
  log: Log,
): Promise<void> {
  const path = join(plan.volume.volume, "pg_hba.user.conf");
  const { lines, problems } = checkHbaLines(await textOrEmpty(path));
  for (const problem of problems) log.warn("a line of pg_hba.user.conf is left out", { problem });
  const text = renderHba({ ...doors, replicationUser: REPLICATION_ROLE, userLines: lines });
  await writeDurably(plan.files.hba, text, 0o600, plan.user ?? undefined);
}

/** Gives PGDATA to Postgres's user if its top is not his already (a volume from another image), and closes it to others. */
export async function ensureOwnership(dataDirectory: string, user: OsUser | null, log: Log): Promise<void> {
  if (user !== null) {
    const { uid, gid } = await stat(dataDirectory);
    if (uid !== user.uid || gid !== user.gid) {
      log.info("the data directory is given to the user postgres", {
        from: `${uid}:${gid}`,
        to: `${user.uid}:${user.gid}`,
      });
      await mustRun("chown", ["-R", "--", `${user.uid}:${user.gid}`, dataDirectory]);
    }
  }
  await chmod(dataDirectory, 0o700);
}

async function readUserFile(path: string, log: Log): Promise<Parameters> {
  const { entries, problems } = parseParameterFile(await textOrEmpty(path));
  const checked = checkParameters(entries);
  for (const problem of [...problems, ...checked.problems]) {
    log.warn("a setting in postgresql.user.conf is left out", { problem });
  }
  return checked.parameters;
}

async function tidyAutoConf({ volume, user }: ServerPlan, fromElsewhere: boolean, log: Log): Promise<void> {
  const path = join(volume.dataDirectory, "postgresql.auto.conf");
  const { text, dropped } = cleanAutoConf(await textOrEmpty(path), fromElsewhere ? MACHINE_PARAMETERS : []);
  if (dropped.length === 0) return;
  log.info("settings were taken out of postgresql.auto.conf", { names: dropped.join(", ") });
  await writeDurably(path, text, 0o600, user ?? undefined);
}

async function raisedForRecovery(plan: ServerPlan, args: readonly string[]): Promise<Parameters> {
  const { recoverySettings } = await readControlFile(plan.volume.dataDirectory);
  return recoveryMinimums(recoverySettings, await configuredRecoverySettings(plan, args));
}

/** What the files and arguments come to, asked of the program itself. */
async function configuredRecoverySettings(
  { bin, volume, user }: ServerPlan,
  args: readonly string[],
): Promise<RecoverySettings> {
  const values: Record<string, number> = {};
  for (const [field, name] of RECOVERY_NAMES) {
    const { stdout } = await mustRun(
      join(bin, "postgres"),
      ["-D", volume.dataDirectory, ...args, "-C", name],
      { ...user, cwd: volume.dataDirectory },
    );
    values[field] = Number(stdout.trim());
  }
  return { ...values, trackCommitTimestamp: false } as unknown as RecoverySettings;
}

async function textOrEmpty(path: string): Promise<string> {
  return readFile(path, "utf8").catch((error: unknown) => {
    if (typeof error === "object" && error !== null && "code" in error && error.code === "ENOENT") return "";
    throw error;
  });
}
