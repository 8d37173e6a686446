// A server as the supervisor would run it: our own initdb, our own files, our own arguments; on a free port, in a scratch folder.

import { execFileSync, spawn } from "node:child_process";
import { chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../src/base/clock.ts";
import { type Log, makeLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { runInitdb } from "../../src/postgres/bootstrap.ts";
import { configPaths, NO_ROLE } from "../../src/postgres/config-files.ts";
import { volumePaths } from "../../src/postgres/data-directory.ts";
import { PRIVATE_NETWORKS } from "../../src/postgres/hba.ts";
import { lookAtMachine } from "../../src/postgres/machine.ts";
import { type OsUser, postgresUser } from "../../src/postgres/os-user.ts";
import { findPrograms, loadableLibraries } from "../../src/postgres/programs.ts";
import type { Passwords } from "../../src/postgres/passwords.ts";
import { type Server, type Spawn, startServer } from "../../src/postgres/server.ts";
import type { ServerAddress } from "../../src/postgres/server-address.ts";
import { type ServerMoment, type ServerPlan, writeServerFiles } from "../../src/postgres/server-files.ts";
import { handleOf } from "./fake-program.ts";
import { freePort, postgresBin, scratchFolder } from "./scratch-postgres.ts";

export const PASSWORDS: Passwords = {
  superuser: new Secret("superuser-password_1"),
  operator: new Secret("operator-password_1"),
  replication: new Secret("replication-password_1"),
  generatedPath: null,
};

/** The socket's folder, the superuser `boss`, everything that was logged. */
export interface LocalServer extends AsyncDisposable {
  readonly plan: ServerPlan;
  readonly moment: ServerMoment;
  readonly user: OsUser | null;
  readonly socket: string;
  readonly local: ServerAddress;
  readonly tcp: ServerAddress;
  /** Lines of the server's and of ours. */
  readonly lines: string[];
  readonly log: Log;
  initdb(args?: readonly string[]): Promise<void>;
  start(change?: Partial<ServerMoment>, more?: Partial<ServerPlan>): Promise<Server>;
}

/** Prepares a folder; nothing runs yet. Servers that were started are stopped at the end. */
export async function localServer(): Promise<LocalServer> {
  const folder = await scratchFolder("holdfast-local");
  const volume = volumePaths(folder.path);
  const files = configPaths(volume.marks);
  const user = await postgresUser(process.getuid?.());
  const programs = await findPrograms(postgresBin());
  const socket = join(folder.path, "run");
  await mkdir(socket);
  await mkdir(volume.marks);
  if (user !== null) await chown(socket, user.uid, user.gid);
  const port = await freePort();
  const lines: string[] = [];
  const log = makeLog({
    level: "debug",
    format: "text",
    write: (line) => lines.push(line),
    now: () => Date.now(),
  });
  const plan: ServerPlan = {
    bin: programs.bin,
    volume,
    files,
    user,
    nodeName: "n1",
    machine: { ...(await lookAtMachine(folder.path)), memoryBytes: 1 << 30 },
    port,
    listenAddress: "127.0.0.1",
    socketDirectories: [socket],
    // No supervisor here: an archive that takes everything.
    hook: "true",
    environment: {},
    preload: await loadableLibraries(programs.bin, ["pg_stat_statements", "repmgr"]),
    replicationPassword: PASSWORDS.replication,
    tls: null,
  };
  const moment: ServerMoment = {
    role: NO_ROLE,
    doors: {
      clients: "closed",
      replication: "closed",
      replicationFrom: PRIVATE_NETWORKS,
      hostAuth: "scram-sha-256",
      tlsRequired: false,
    },
    fromElsewhere: false,
    recovers: false,
    isReadOnly: false,
    nowMs: Date.now(),
  };
  const servers: Server[] = [];
  const spawnServer: Spawn = (command) => {
    const child = spawn(command.file, command.args, {
      cwd: command.cwd,
      env: { ...command.env },
      stdio: ["ignore", "pipe", "pipe"],
      ...user,
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data: Buffer) => lines.push(...data.toString().split("\n")));
    }
    return handleOf(child);
  };
  const base = { port, user: "boss", applicationName: "trial" };
  return {
    plan,
    moment,
    user,
    socket,
    lines,
    log,
    local: { ...base, host: socket },
    tcp: { ...base, host: "127.0.0.1", password: PASSWORDS.superuser },
    initdb: (args = []) =>
      runInitdb(
        {
          bin: programs.bin,
          dataDirectory: volume.dataDirectory,
          user,
          superuser: "boss",
          segmentBytes: 1 << 20,
          args,
        },
        AbortSignal.timeout(60_000),
      ),
    start: async (change = {}, more = {}) => {
      const args = await writeServerFiles({ ...plan, ...more }, { ...moment, ...change }, log);
      const server = await startServer(
        { bin: programs.bin, dataDirectory: volume.dataDirectory, args, ...user },
        { spawn: spawnServer, clock: systemClock, log },
      );
      servers.push(server);
      await server.ready(AbortSignal.timeout(30_000));
      return server;
    },
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Gives a folder and what is in it to the user Postgres runs as. */
export function giveTo(user: OsUser | null, path: string): void {
  if (user !== null) execFileSync("chown", ["-R", `${user.uid}:${user.gid}`, path]);
}
