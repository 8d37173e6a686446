// The node's own Postgres: its files written, its process started as our child, its doors opened and closed by reload.

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { RoleConfig } from "../postgres/config-files.ts";
import { type Server, startServer } from "../postgres/server.ts";
import type { ServerAddress } from "../postgres/server-address.ts";
import {
  ensureOwnership,
  type ServerMoment,
  type ServerPlan,
  writeDoors,
  writeGuard,
  writeRole,
  writeServerFiles,
} from "../postgres/server-files.ts";
import { reachableSuperuser } from "../postgres/superuser.ts";
import { endServerProcesses } from "./orphans.ts";
import { spawnProgram } from "./process-tree.ts";
import { linkSocket, type PublicSocket, unlinkSocket } from "./public-socket.ts";

export interface LocalPostgresOptions {
  /** Asked before every start: the machine may have grown. */
  readonly plan: () => Promise<ServerPlan>;
  readonly superuser: string;
  /** Where programs in the container look for the socket. */
  readonly socketFolder: string;
  /** Handed to the server, for `holdfast-hook`. */
  readonly supervisorSocket: string;
  /** Who may come in once the doors are open. */
  readonly doors: Omit<ServerMoment["doors"], "clients" | "replication">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface StartOptions {
  readonly role: RoleConfig;
  readonly recovers: boolean;
  /** WAL of another machine is recovered. */
  readonly fromElsewhere: boolean;
  /** False while a cluster is being made: nothing of that is archived, and no stop waits for an archiver. */
  readonly archives: boolean;
}

export type DoorState = Pick<ServerMoment["doors"], "clients" | "replication">;

/** One per node; at most one server runs at a time. */
export class LocalPostgres {
  readonly #options: LocalPostgresOptions;
  #plan: ServerPlan | null = null;
  #server: Server | null = null;
  #starts = 0;
  #isReadOnly = false;
  #local: { readonly start: number; readonly user: string } | null = null;

  constructor(options: LocalPostgresOptions) {
    this.#options = options;
  }

  /** The running server, or null. */
  get server(): Server | null {
    return this.#server?.running === true ? this.#server : null;
  }

  get starts(): number {
    return this.#starts;
  }

  /** How local programs of ours connect: by the server's own socket, which asks for no password and is there before the doors open. */
  async address(applicationName: string, database = "postgres"): Promise<ServerAddress> {
    const { socketDirectories, port } = await this.#planned();
    const [host = this.#options.socketFolder] = socketDirectories;
    const address = { host, port, user: this.#options.superuser, applicationName };
    return { ...address, user: await this.#superuser(address), database };
  }

  /** Starts with closed doors. What an earlier postmaster left behind is ended first. */
  async start({ role, recovers, fromElsewhere, archives }: StartOptions): Promise<Server> {
    const { clock, log, supervisorSocket } = this.#options;
    const plan = await this.#options.plan();
    this.#plan = plan;
    const { dataDirectory } = plan.volume;
    const orphans = await endServerProcesses(dataDirectory, clock);
    if (orphans > 0) log.warn("ended server processes that outlived their postmaster", { orphans });
    await ensureOwnership(dataDirectory, plan.user, log);
    const doors = { ...this.#options.doors, ...CLOSED };
    const args = await writeServerFiles(
      plan,
      { role, doors, fromElsewhere, recovers, isReadOnly: this.#isReadOnly, nowMs: clock.now() },
      log,
    );
    await unlinkSocket(this.#publicSocket(plan));
    this.#starts += 1;
    const all = archives ? args : [...args, "-c", "archive_mode=off"];
    this.#server = await startServer(
      { bin: plan.bin, dataDirectory, args: all, env: { HOLDFAST_SOCKET: supervisorSocket }, ...plan.user },
      {
        clock,
        log,
        spawn: (command) => spawnProgram(command, (line) => log.info(line, { from: "postgres" })),
      },
    );
    return this.#server;
  }

  /** Who may connect from now on; takes effect by reload. Sessions that are open stay. */
  async setDoors(doors: DoorState): Promise<void> {
    const { log } = this.#options;
    const plan = await this.#planned();
    await writeDoors(plan, { ...this.#options.doors, ...doors }, log);
    this.server?.reload();
    if (doors.clients === "open") await linkSocket(this.#publicSocket(plan), log);
    else await unlinkSocket(this.#publicSocket(plan));
  }

  /** Rewrites what depends on the role and reloads. */
  async setRole(role: RoleConfig): Promise<void> {
    await writeRole(await this.#planned(), role);
    this.server?.reload();
  }

  /** Whether new transactions may write; takes effect by reload, or at the next start. */
  async setReadOnly(isReadOnly: boolean): Promise<void> {
    this.#isReadOnly = isReadOnly;
    if (this.server === null) return;
    await writeGuard(await this.#planned(), isReadOnly);
    this.server?.reload();
  }

  /** A restored cluster may not have POSTGRES_USER yet; looked at once a start, as soon as connections are taken. */
  async #superuser(address: ServerAddress): Promise<string> {
    if (this.server === null) return address.user;
    if (this.#local?.start !== this.#starts) {
      const user = await reachableSuperuser(address).catch(() => null);
      if (user === null) return address.user;
      this.#local = { start: this.#starts, user };
    }
    return this.#local.user;
  }

  #publicSocket({ socketDirectories: [from = this.#options.socketFolder], port }: ServerPlan): PublicSocket {
    return { folder: this.#options.socketFolder, from, port };
  }

  async #planned(): Promise<ServerPlan> {
    this.#plan ??= await this.#options.plan();
    return this.#plan;
  }
}

export const CLOSED: DoorState = { clients: "closed", replication: "closed" };
export const OPEN: DoorState = { clients: "open", replication: "open" };
