// A node around a restore, for tests: fetches, starts Postgres as a child, answers its restore_command, fences.

import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RestoreCommand } from "../../src/archive/restore-command.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { systemClock } from "../../src/base/clock.ts";
import { planRestore } from "../../src/recovery/plan.ts";
import { readArchive, readPlanFacts, type ArchiveFacts } from "../../src/recovery/read-archive.ts";
import {
  orderOf,
  type PromotedReplay,
  type ReplayHost,
  type ReplayOrder,
  type ReplayProgress,
} from "../../src/recovery/replay-order.ts";
import { performRestore } from "../../src/recovery/restore.ts";
import type { RestoreRequest } from "../../src/recovery/target.ts";
import type { RestorePlan } from "../../src/recovery/plan.ts";
import { formatParameter, type Parameters } from "../../src/postgres/parameters.ts";
import { readControlFile } from "../../src/postgres/data-directory.ts";
import type { RecoverySettings } from "../../src/postgres/control-file.ts";
import { type Server, type Spawn, startServer } from "../../src/postgres/server.ts";
import { ReconnectingSql } from "../../src/postgres/sql.ts";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { takeOver } from "../../src/tail/take-over.ts";
import { type Answers, Hooks, testLog } from "./archive-bench.ts";
import { killTree } from "./processes.ts";
import { freePort, postgresBin, programUser, type ProgramUser, scratchFolder } from "./scratch-postgres.ts";
import { psql } from "./psql.ts";

/** One machine that is restored: its folder, its hooks, its server. */
export class RestoreBench implements AsyncDisposable {
  readonly root: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly hooks: Hooks;
  readonly user: ProgramUser;
  readonly progress: ReplayProgress[] = [];
  /** What every server of this machine printed. */
  output = "";
  starts = 0;
  server: Server | null = null;
  command: RestoreCommand | null = null;
  readonly #things: AsyncDisposableStack;

  private constructor(
    root: string,
    port: number,
    hooks: Hooks,
    user: ProgramUser,
    things: AsyncDisposableStack,
  ) {
    this.root = root;
    this.dataDirectory = join(root, "data");
    this.port = port;
    this.hooks = hooks;
    this.user = user;
    this.#things = things;
  }

  static async open(): Promise<RestoreBench> {
    const things = new AsyncDisposableStack();
    const folder = things.use(await scratchFolder("holdfast-restore"));
    const user = await programUser();
    const hooks = things.use(await Hooks.open(folder.path, user));
    return new RestoreBench(folder.path, await freePort(), hooks, user, things);
  }

  /** The folder of the Unix socket. */
  get host(): string {
    return this.root;
  }

  get answers(): Answers {
    return this.hooks.answers;
  }

  /** Reads the archive and plans; nothing is touched. */
  async plan(
    source: ArchiveSource,
    request: RestoreRequest,
    signal: AbortSignal,
  ): Promise<{ readonly plan: RestorePlan; readonly archive: ArchiveFacts }> {
    const archive = await readArchive(source, request.timeline, signal);
    const nowUs = BigInt(Date.now()) * 1000n;
    return { archive, plan: planRestore(request, await readPlanFacts(archive, request, nowUs, signal)) };
  }

  /** Performs a plan on a directory that was fetched already; the fence goes to `own`. */
  async perform(
    { plan, archive }: { readonly plan: RestorePlan; readonly archive: ArchiveFacts },
    own: ObjectStore,
    signal: AbortSignal,
    change: Partial<ReplayOrder> = {},
    more: Partial<Pick<ReplayHost, "patience" | "stillMs">> = {},
  ): Promise<PromotedReplay> {
    const order = { ...orderOf(plan, archive, own !== archive.source.store), ...change };
    return await performRestore(order, { ...(await this.surroundings(own, signal)), ...more });
  }

  async surroundings(own: ObjectStore, signal: AbortSignal): Promise<ReplayHost> {
    const tools = { clock: systemClock, log: testLog, signal };
    return {
      ...tools,
      dataDirectory: this.dataDirectory,
      spool: join(this.root, "spool"),
      stillMs: 500,
      start: (recovery) => this.start(recovery),
      sql: this.#things.use(
        new ReconnectingSql({
          host: this.root,
          port: this.port,
          user: "postgres",
          applicationName: "restore",
        }),
      ),
      route: (command) => {
        this.command = command;
        this.hooks.answers.restore = (request, inner) => command.answer(request, inner);
        return () => undefined;
      },
      objection: async () => null,
      fence: async (known) => {
        const { systemId, segmentBytes } = await readControlFile(this.dataDirectory);
        return await takeOver(own, {
          ...tools,
          identity: { systemId, segmentBytes },
          purpose: "restore",
          node: "restored",
          fencing: "conditional",
          cipher: noCipher,
          random: Math.random,
          known,
        });
      },
      tell: (progress) => {
        testLog.debug(`progress: ${progress.phase}`, {
          because: progress.because,
          fraction: progress.fraction,
        });
        this.progress.push(progress);
      },
    };
  }

  /** Starts Postgres with our own configuration over whatever the directory brought. */
  async start(recovery: Parameters): Promise<Server> {
    const { recoverySettings } = await readControlFile(this.dataDirectory);
    await mkdir(join(this.dataDirectory, "pg_wal", "archive_status"), { recursive: true });
    const settings: Parameters = {
      hba_file: join(this.root, "hba.conf"),
      unix_socket_directories: this.root,
      listen_addresses: "",
      port: String(this.port),
      shared_buffers: "16MB",
      fsync: "off",
      logging_collector: "off",
      ...minimums(recoverySettings),
      ...recovery,
    };
    const lines = Object.entries(settings).map(([name, value]) => formatParameter(name, value));
    await writeFile(join(this.root, "test.conf"), [...lines, ...this.hooks.conf, ""].join("\n"), {
      mode: 0o644,
    });
    await writeFile(join(this.root, "hba.conf"), "local all all trust\nlocal replication all trust\n", {
      mode: 0o644,
    });
    this.starts += 1;
    this.server = await startServer(
      {
        bin: postgresBin(),
        dataDirectory: this.dataDirectory,
        args: ["-c", `config_file=${join(this.root, "test.conf")}`],
        ...this.user,
      },
      { spawn: this.#spawn, clock: systemClock, log: testLog },
    );
    return this.server;
  }

  psql(sql: string, { database = "postgres" }: { database?: string } = {}): Promise<string> {
    return psql(this, sql, database);
  }

  /** SIGKILL to the postmaster and its children. */
  async kill(): Promise<void> {
    if (this.server === null) return;
    await killTree(this.server.pid);
    await this.server.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.server?.running === true) await this.server.stop({ fastMs: 5_000, immediateMs: 5_000 });
    await this.#things.disposeAsync();
  }

  readonly #spawn: Spawn = ({ file, args, cwd, env, uid, gid }) => {
    const child = spawn(file, [...args], {
      cwd,
      env: { ...env },
      stdio: ["ignore", "pipe", "pipe"],
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    const keep = (data: Buffer): void => {
      this.output += data.toString();
      testLog.debug(data.toString().trim());
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
      child.once("exit", (code, signal) => resolve({ code, signal })),
    );
    return { pid: child.pid!, exited, kill: (name) => child.kill(name) };
  };
}

const minimums = (settings: RecoverySettings): Parameters => ({
  max_connections: String(Math.max(settings.maxConnections, 50)),
  max_worker_processes: String(Math.max(settings.maxWorkerProcesses, 8)),
  max_wal_senders: String(Math.max(settings.maxWalSenders, 10)),
  max_prepared_transactions: String(settings.maxPreparedTransactions),
  max_locks_per_transaction: String(settings.maxLocksPerTransaction),
});
