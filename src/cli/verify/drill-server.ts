// The scratch server of a drill: it recovers, promotes, and never talks to anybody but us.

import { chown, readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../../base/durable-file.ts";
import { AppError } from "../../base/errors.ts";
import { type ControlFile, parseControlFile } from "../../postgres/control-file.ts";
import type { OsUser } from "../../postgres/os-user.ts";
import type { Programs } from "../../postgres/programs.ts";
import { type Server, startServer } from "../../postgres/server.ts";
import type { ServerAddress } from "../../postgres/server-address.ts";
import { connectSql, type SqlConnection } from "../../postgres/sql.ts";
import { recoveryParameters, type ReplayOrder } from "../../recovery/replay-order.ts";
import { spawnProgram } from "../../supervisor/process-tree.ts";
import type { Call } from "../walg/command.ts";

export interface Scratch {
  readonly root: string;
  readonly dataDirectory: string;
  readonly programs: Programs;
  readonly user: OsUser | null;
}

export interface RecoveryPoint {
  readonly lsn: string;
  readonly timeline: number;
  /** Of the last commit that was replayed; null when none was. */
  readonly time: string | null;
}

/** Starts the server on the restored directory and resolves once it has recovered and takes writes. No deadline. Throws when it ends first. */
export async function recoverScratch(
  scratch: Scratch,
  order: ReplayOrder,
  restoreCommand: string,
  { clock, log, signal, settings }: Call,
): Promise<ScratchServer> {
  const control = parseControlFile(await readFile(join(scratch.dataDirectory, "global/pg_control")));
  await writeConfig(scratch);
  const lastLines: string[] = [];
  const server = await startServer(
    {
      bin: scratch.programs.bin,
      dataDirectory: scratch.dataDirectory,
      args: parameterArgs(scratch, order, control, restoreCommand),
      ...scratch.user,
    },
    {
      clock,
      log,
      spawn: (command) =>
        spawnProgram(command, (line) => {
          log.debug(line, { from: "scratch server" });
          lastLines.push(line);
          if (lastLines.length > 5) lastLines.shift();
        }),
    },
  );
  const address: ServerAddress = {
    host: scratch.root,
    port: PORT,
    user: settings.text("POSTGRES_USER") ?? "postgres",
    database: "postgres",
    applicationName: "holdfast drill",
  };
  try {
    await server.ready(signal, (status, waitedMs) => {
      if (waitedMs % 10_000 < 1_000) log.info("drill: replaying", { status, waitedMs: Math.round(waitedMs) });
    });
    const scratchServer = new ScratchServer(
      server,
      await connectSql(address, { queryTimeoutMs: Infinity }),
      address,
      control,
    );
    for (;;) {
      if (await scratchServer.isPromoted()) return scratchServer;
      if (!server.running) throw new AppError("the scratch server ended", { code: "DRILL_SERVER", hint: "" });
      await clock.sleep(200, signal);
    }
  } catch (error) {
    if (server.running) await server.quit(5_000);
    signal.throwIfAborted();
    throw new AppError(`the restored database does not recover: ${lastLines.join(" | ")}`, {
      code: "DRILL_RECOVERY",
      hint: "`holdfast verify --content` tells which object is at fault",
      cause: error,
    });
  }
}

/** A folder that only we may enter is the access control. */
async function writeConfig({ root, user }: Scratch): Promise<void> {
  const files = { "postgresql.conf": "", "pg_hba.conf": "local all all trust\n", "pg_ident.conf": "" };
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, name);
    await writeDurably(path, text);
    if (user !== null) await chown(path, user.uid, user.gid);
  }
  const signal = join(root, "data", "recovery.signal");
  await writeDurably(signal, "");
  if (user !== null) await chown(signal, user.uid, user.gid);
}

/** On the command line, so that nothing of the restored postgresql.auto.conf can reach the outside. */
function parameterArgs(
  { root }: Scratch,
  order: ReplayOrder,
  { recoverySettings }: ControlFile,
  restoreCommand: string,
): string[] {
  // A time at or past the newest commit may never come; then everything that is there is right.
  const target = order.ending === "either" ? { ...order, target: { kind: "latest" } as const } : order;
  const parameters: Record<string, string> = {
    config_file: join(root, "postgresql.conf"),
    hba_file: join(root, "pg_hba.conf"),
    ident_file: join(root, "pg_ident.conf"),
    listen_addresses: "",
    unix_socket_directories: root,
    port: String(PORT),
    archive_mode: "off",
    restore_command: restoreCommand,
    primary_conninfo: "",
    primary_slot_name: "",
    synchronous_standby_names: "",
    shared_preload_libraries: "",
    session_preload_libraries: "",
    local_preload_libraries: "",
    ssl: "off",
    logging_collector: "off",
    log_destination: "stderr",
    hot_standby: "on",
    fsync: "off",
    shared_buffers: "64MB",
    huge_pages: "off",
    max_connections: String(recoverySettings.maxConnections),
    max_worker_processes: String(recoverySettings.maxWorkerProcesses),
    max_wal_senders: String(recoverySettings.maxWalSenders),
    max_prepared_transactions: String(recoverySettings.maxPreparedTransactions),
    max_locks_per_transaction: String(recoverySettings.maxLocksPerTransaction),
    track_commit_timestamp: recoverySettings.trackCommitTimestamp ? "on" : "off",
    recovery_target: "",
    recovery_target_time: "",
    recovery_target_lsn: "",
    recovery_target_xid: "",
    recovery_target_name: "",
    ...recoveryParameters(target),
    recovery_target_action: "promote",
  };
  return Object.entries(parameters).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

export class ScratchServer implements AsyncDisposable {
  readonly control: ControlFile;
  readonly address: ServerAddress;
  readonly #server: Server;
  readonly #sql: SqlConnection;

  constructor(server: Server, sql: SqlConnection, address: ServerAddress, control: ControlFile) {
    this.#server = server;
    this.#sql = sql;
    this.address = address;
    this.control = control;
  }

  async isPromoted(): Promise<boolean> {
    const [row] = await this.#sql.query("select pg_is_in_recovery() as recovers");
    return row?.["recovers"] === "f";
  }

  async recoveryPoint(): Promise<RecoveryPoint> {
    const [row] = await this.#sql.query(
      `select pg_last_wal_replay_lsn() as lsn, pg_last_xact_replay_timestamp() as time,
         ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as timeline`,
    );
    return {
      lsn: row?.["lsn"] ?? "unknown",
      time: row?.["time"] ?? null,
      timeline: Number(row?.["timeline"] ?? 0),
    };
  }

  /** The first value of the first row, as text; names are looked up as users' sessions do. */
  async ask(query: string): Promise<string> {
    await this.#sql.query(`set search_path to "$user", public`);
    const [row] = await this.#sql.query(query);
    return Object.values(row ?? {})[0] ?? "";
  }

  /** Stops in order, so that pg_checksums may look. */
  async stop(): Promise<void> {
    await this.#sql.close();
    if (this.#server.running) await this.#server.stop({ fastMs: 120_000, immediateMs: 10_000 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Only a name within the scratch folder. */
const PORT = 5499;
