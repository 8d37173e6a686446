// A throwaway Postgres server on a free port, in a folder of its own; `await using` leaves nothing behind.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { appendFile, chown, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { killTree, processesNaming } from "./processes.ts";

const run = promisify(execFile);

export interface ScratchOptions {
  /** Lines for postgresql.conf. */
  readonly conf?: readonly string[];
  /** Lines in front of pg_hba.conf; local connections are trusted anyway. */
  readonly hba?: readonly string[];
  readonly segmentMb?: number;
  readonly initdbArgs?: readonly string[];
  /** Leave the cluster stopped after initdb. */
  readonly start?: boolean;
  /** Use this data directory (a copy, a restore) instead of running initdb. Removed with the rest only if it lies in `root`. */
  readonly dataDirectory?: string;
  /** Listen on 127.0.0.1 too; else only on the Unix socket. */
  readonly tcp?: boolean;
}

/** uid and gid Postgres programs must run under: our own, or those of `postgres` when we are root. */
export interface ProgramUser {
  readonly uid?: number;
  readonly gid?: number;
}

/** The folder of the Postgres programs: HOLDFAST_PG_BIN or the newest in /usr/lib/postgresql. Throws when there is none. */
export function postgresBin(): string {
  const chosen = process.env["HOLDFAST_PG_BIN"];
  if (chosen !== undefined && chosen !== "") return chosen;
  const root = "/usr/lib/postgresql";
  const majors = existsSync(root) ? readdirSync(root).map(Number).filter(Number.isInteger) : [];
  const newest = majors.sort((a, b) => b - a).find((major) => existsSync(`${root}/${major}/bin/postgres`));
  if (newest === undefined) throw new Error(`no Postgres programs in ${root}; set HOLDFAST_PG_BIN`);
  return `${root}/${newest}/bin`;
}

/** 15, 17, 18 … of `postgresBin()`. */
export async function postgresMajor(): Promise<number> {
  const { stdout } = await run(join(postgresBin(), "postgres"), ["--version"]);
  return Number.parseInt(/\(PostgreSQL\) (\d+)/.exec(stdout)?.[1] ?? "", 10);
}

/** Postgres refuses to run as root. */
export async function programUser(): Promise<ProgramUser> {
  if (process.getuid?.() !== 0) return {};
  const passwd = await readFile("/etc/passwd", "utf8");
  const fields = passwd
    .split("\n")
    .find((line) => line.startsWith("postgres:"))
    ?.split(":");
  if (fields === undefined) throw new Error("running as root, and there is no user `postgres` to drop to");
  return { uid: Number(fields[2]), gid: Number(fields[3]) };
}

/** A port nobody listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return address.port;
}

/** A new folder that the Postgres user owns. Remove it yourself, or let `await using` do it. */
export async function scratchFolder(name = "holdfast"): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), `${name}-`));
  const { uid, gid } = await programUser();
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** One server. `host` is the socket's folder, `port` its number; user and database `postgres`, no password. */
export class ScratchPostgres implements AsyncDisposable {
  readonly root: string;
  readonly dataDirectory: string;
  readonly bin: string;
  readonly port: number;
  readonly user: ProgramUser;
  readonly #folder: AsyncDisposable;
  #child: ChildProcess | null = null;
  #log = "";

  constructor(root: string, dataDirectory: string, port: number, user: ProgramUser, folder: AsyncDisposable) {
    this.root = root;
    this.dataDirectory = dataDirectory;
    this.port = port;
    this.user = user;
    this.bin = postgresBin();
    this.#folder = folder;
  }

  /** The folder of the Unix socket. */
  get host(): string {
    return this.root;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** What the server wrote on stderr so far. */
  get log(): string {
    return this.#log;
  }

  /** Starts the server; with `wait` (the default) resolves once it takes connections. */
  async start({ wait = true, args = [] }: { wait?: boolean; args?: readonly string[] } = {}): Promise<void> {
    if (this.#child !== null) throw new Error("the scratch server runs already");
    const child = spawn(
      join(this.bin, "postgres"),
      ["-D", this.dataDirectory, "-p", String(this.port), "-k", this.root, ...args],
      { ...this.user, stdio: ["ignore", "pipe", "pipe"], cwd: this.root, env: CLEAN_ENV },
    );
    this.#child = child;
    const keep = (data: Buffer): void => void (this.#log += data.toString());
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.once("exit", () => {
      if (this.#child === child) this.#child = null;
    });
    if (wait) await this.ready();
  }

  /** Waits until connections are taken (on a standby: read-only ones). Throws with the log's end when the server ends first. */
  async ready(limitMs = 60_000): Promise<void> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const status = await this.status();
      if (status === "ready") return;
      if (this.#child === null) throw new Error(`the scratch server ended: ${this.#log.slice(-2000)}`);
      if (Date.now() > deadline)
        throw new Error(`the scratch server is "${status}": ${this.#log.slice(-2000)}`);
      await delay(20);
    }
  }

  /** Line 8 of postmaster.pid: starting, stopping, ready, standby; null without a server. */
  async status(): Promise<string | null> {
    try {
      const lines = (await readFile(join(this.dataDirectory, "postmaster.pid"), "utf8")).split("\n");
      return Number(lines[0]) === this.pid ? (lines[7]?.trim() ?? null) : null;
    } catch {
      return null;
    }
  }

  /** fast = SIGINT, immediate = SIGQUIT, smart = SIGTERM. Waits for the end. */
  async stop(mode: "fast" | "immediate" | "smart" = "fast", limitMs = 60_000): Promise<void> {
    await this.#end(
      { fast: "SIGINT", immediate: "SIGQUIT", smart: "SIGTERM" }[mode] as NodeJS.Signals,
      limitMs,
    );
  }

  /** SIGKILL to the postmaster and all its children, as a power cut without the lost page cache. */
  async kill(): Promise<void> {
    const pid = this.pid;
    if (pid === undefined) return;
    await Promise.all([killTree(pid), this.#end("SIGKILL", 10_000)]);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  reload(): void {
    if (this.pid !== undefined) process.kill(this.pid, "SIGHUP");
  }

  /** Runs SQL with psql (`-qAt`), returns what it printed without the last newline. Throws on an SQL error. */
  async psql(sql: string, { database = "postgres" }: { database?: string } = {}): Promise<string> {
    const { stdout } = await this.run("psql", [
      "-XqAt",
      "--set=ON_ERROR_STOP=1",
      `--dbname=${database}`,
      `--command=${sql}`,
    ]);
    return stdout.replace(/\n$/, "");
  }

  /** Runs one of the Postgres programs as the right user. */
  async run(program: string, args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
    return run(join(this.bin, program), args, {
      ...this.user,
      cwd: this.root,
      maxBuffer: 64 << 20,
      env: { ...CLEAN_ENV, PGHOST: this.root, PGPORT: String(this.port), PGUSER: "postgres" },
    });
  }

  /** Appends lines to postgresql.conf; reload or restart yourself. */
  async configure(lines: readonly string[]): Promise<void> {
    await appendFile(join(this.dataDirectory, "postgresql.conf"), `${lines.join("\n")}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== null) await this.kill();
    const left = await leftOver(this.root);
    await this.#folder[Symbol.asyncDispose]();
    if (left.length > 0) throw new Error(`processes are left over: ${left.join("; ")}`);
  }

  async #end(signal: NodeJS.Signals, limitMs: number): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    const late = delay(limitMs, "late", { ref: false });
    if ((await Promise.race([ended, late])) === "late") {
      child.kill("SIGKILL");
      throw new Error(
        `the scratch server did not end on ${signal} within ${limitMs} ms: ${this.#log.slice(-2000)}`,
      );
    }
  }
}

/** initdb (unless a data directory is given) and start. */
export async function scratchPostgres(options: ScratchOptions = {}): Promise<ScratchPostgres> {
  const folder = await scratchFolder("holdfast-pg");
  try {
    const user = await programUser();
    const dataDirectory = options.dataDirectory ?? join(folder.path, "data");
    const server = new ScratchPostgres(folder.path, dataDirectory, await freePort(), user, folder);
    if (options.dataDirectory === undefined) {
      const segment = options.segmentMb === undefined ? [] : [`--wal-segsize=${options.segmentMb}`];
      await server.run("initdb", [
        `--pgdata=${dataDirectory}`,
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
        "--data-checksums",
        ...segment,
        ...(options.initdbArgs ?? []),
      ]);
    }
    await server.configure([
      `listen_addresses = '${options.tcp === true ? "127.0.0.1" : ""}'`,
      "max_wal_senders = 10",
      "max_replication_slots = 10",
      ...(options.conf ?? []),
    ]);
    if (options.hba !== undefined) {
      const path = join(dataDirectory, "pg_hba.conf");
      await writeFile(path, `${options.hba.join("\n")}\n${await readFile(path, "utf8")}`);
    }
    if (options.start !== false) await server.start();
    return server;
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

/** Waits up to 5 s for processes that name the path to end; those that are left. */
async function leftOver(path: string): Promise<readonly string[]> {
  for (let tries = 0; ; tries += 1) {
    const found = processesNaming(path);
    if (found.length === 0 || tries === 50) return found.map(({ pid, line }) => `${pid} ${line}`);
    await delay(100);
  }
}

const CLEAN_ENV = { PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8", TZ: "UTC" };
