// Postgres as a standby: follows whoever leads, gets complete segments from the archive, tells the mind where it stands.

import { chown, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathFromFiles, pgWal } from "../archive/local-wal.ts";
import { answerRestore, RestoreCommand } from "../archive/restore-command.ts";
import { writeDurably } from "../base/durable-file.ts";
import { messageOf } from "../base/errors.ts";
import { memberSlotName } from "../cluster/members.ts";
import { formatSynchronousNames, synchronousNamesOfStandby } from "../cluster/synchronous.ts";
import { NO_ROLE, primaryConninfo, type RoleConfig } from "../postgres/config-files.ts";
import type { ControlFile } from "../postgres/control-file.ts";
import { readControlFile } from "../postgres/data-directory.ts";
import { lsnOrNull, numberOrNull, one } from "../postgres/queries.ts";
import { REPLICATION_ROLE } from "../postgres/roles.ts";
import type { Server } from "../postgres/server.ts";
import { configPaths } from "../postgres/config-files.ts";
import { ReconnectingSql } from "../postgres/sql.ts";
import { addBytes, type Lsn, maxLsn, ZERO_LSN } from "../wal/lsn.ts";
import { parseWalName, segmentAt, segmentName } from "../wal/segment-name.ts";
import type { Cluster } from "./cluster.ts";
import type { Verbs } from "./front.ts";

import { OPEN } from "./local-postgres.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import { dropMemberAside } from "./restore-book.ts";

export interface StandbyPosition {
  readonly received: Lsn | null;
  readonly replayed: Lsn | null;
  readonly streaming: boolean;
  /** A WAL receiver runs, in whatever state: it may still write. */
  readonly receiving: boolean;
  readonly timeline: number;
}

export class Standby implements AsyncDisposable {
  readonly server: Server;
  readonly command: RestoreCommand;
  readonly control: ControlFile;
  readonly sql: ReconnectingSql;
  readonly #node: NodeContext;
  readonly #cluster: Cluster;
  readonly #over = new AbortController();
  readonly #cleanUp: (() => void)[] = [];
  #hosts = "";
  #isDetached = false;
  #apartSinceMs: number | null = null;
  /** Of the WAL that is replayed: the control file says so only after a restartpoint, the receiver only while it streams. */
  #timeline = 0;

  private constructor(
    node: NodeContext,
    cluster: Cluster,
    server: Server,
    command: RestoreCommand,
    control: ControlFile,
    sql: ReconnectingSql,
  ) {
    this.#node = node;
    this.#cluster = cluster;
    this.server = server;
    this.command = command;
    this.control = control;
    this.sql = sql;
  }

  /** Starts the server; `serve` lets readers in and goes on until it ends. */
  static async start(node: NodeContext, verbs: Verbs, cluster: Cluster): Promise<Standby> {
    const { paths, postgres, settings, state } = node;
    const control = await readControlFile(paths.dataDirectory);
    const over = new AbortController();
    const command = new RestoreCommand({
      source: sourceOf(node, control.systemId, control.segmentBytes),
      target: "latest",
      situation: "standby",
      dataDirectory: paths.dataDirectory,
      spool: settings.prefetchDirectory,
      signal: over.signal,
    });
    const undo = verbs.set("restore", async ([name = "", path = ""], signal) => {
      const { exit, sentence } = await answerRestore(command, { name, path }, signal);
      return { exit, lines: exit === 0 ? [] : [sentence] };
    });
    await writeStandbySignal(node);
    const server = await postgres.start({
      role: followRole(node, cluster),
      recovers: true,
      fromElsewhere: false,
      archives: true,
    });
    state.set({ postgresStarts: postgres.starts });
    const sql = new ReconnectingSql(await postgres.address("holdfast standby"));
    const standby = new Standby(node, cluster, server, command, control, sql);
    standby.#cleanUp.push(undo, () => over.abort(new Error("the standby has ended")));
    return standby;
  }

  /** Readers come in once the server is consistent; then it is measured until the signal aborts or the server ends. */
  async serve(signal: AbortSignal, onDiverged: (because: string) => void): Promise<void> {
    const { postgres, state, clock, log, paths } = this.#node;
    let isSettled = false;
    const until = AbortSignal.any([signal, this.#over.signal]);
    await this.server.ready(until, (status) =>
      state.enter("starting", `Postgres is ${status ?? "starting"}`),
    );
    state.set({ postgresUp: true, role: "standby" });
    // Asked of the store once: not in the middle of a failover.
    void this.#node.fencing(until).catch(() => undefined);
    await postgres.setDoors(OPEN);
    state.set({ doorsOpen: true });
    for (let toldAs = ""; !until.aborted && this.server.running;) {
      try {
        const position = await this.measure(until);
        // Without the mind's figures: each of them would be a line in the log.
        const because = position.streaming ? "streaming" : "not streaming";
        if (because !== toldAs) state.enter("running", `standby: ${because}`);
        toldAs = because;
        if (position.streaming && !isSettled) {
          isSettled = true;
          if (await dropMemberAside(paths)) log.info("the replaced data directory was removed");
        }
        await this.#followMembers();
        const diverged = await this.#judge(position);
        if (diverged !== null) onDiverged(diverged);
      } catch (error) {
        if (until.aborted) break;
        log.debug("the standby could not be measured", { because: messageOf(error) });
      }
      await clock.sleep(MEASURE_MS, until).catch(() => undefined);
    }
  }

  /** Where it stands, told to the mind. */
  async measure(signal: AbortSignal): Promise<StandbyPosition> {
    const row = await one(
      this.sql,
      `select pg_last_wal_receive_lsn() as received, pg_last_wal_replay_lsn() as replayed,
         (select status from pg_stat_wal_receiver) as status, (select received_tli from pg_stat_wal_receiver) as tli,
         (select min_recovery_end_timeline from pg_control_recovery()) as recovery_tli,
         (select timeline_id from pg_control_checkpoint()) as checkpoint_tli`,
      { signal, timeoutMs: QUERY_LIMIT_MS },
    );
    const received = lsnOrNull(row, "received");
    const replayed = lsnOrNull(row, "replayed");
    const streaming = row["status"] === "streaming";
    const receiving = (row["status"] ?? null) !== null;
    const told = ["tli", "recovery_tli", "checkpoint_tli"].map((column) => numberOrNull(row, column) ?? 0);
    this.#timeline = Math.max(this.#timeline, ...told);
    if (!streaming && replayed !== null) this.#timeline = await this.#replayTimeline(replayed);
    const timeline = this.#timeline;
    this.#cluster.setLocal({
      systemId: this.control.systemId.toString(),
      timeline,
      // After a restart `received` is the start of a segment, and null when all came from the archive.
      recordEnd: maxLsn(received ?? ZERO_LSN, replayed ?? ZERO_LSN),
      replayed: replayed ?? ZERO_LSN,
      durable: null,
      streaming,
    });
    this.#node.state.set({ timeline });
    return { received, replayed, streaming, receiving, timeline };
  }

  /** No more WAL from anybody: the gate brings the rest. */
  async detach(): Promise<void> {
    this.#isDetached = true;
    const { synchronousStandbyNames } = followRole(this.#node, this.#cluster);
    await this.#node.postgres.setRole({ ...NO_ROLE, synchronousStandbyNames, recovery: RETRY });
  }

  /** Follows again. */
  async attach(): Promise<void> {
    this.#isDetached = false;
    this.#hosts = "";
    await this.#followMembers();
  }

  /** What belongs to a standby ends; the server runs on as a primary. */
  release(): void {
    this.#over.abort(new Error("the standby leads now"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new Error("the standby has ended"));
    for (const undo of this.#cleanUp.splice(0)) undo();
    await this.sql[Symbol.asyncDispose]();
    await this.command.close();
  }

  /** The newest timeline that has a history here, begins below what was replayed, and has the segment that was replayed last. */
  async #replayTimeline(replayed: Lsn): Promise<number> {
    const folder = pgWal(this.#node.paths.dataDirectory);
    const { segmentBytes } = this.control;
    const names = await readdir(folder);
    const there = new Set(names);
    const newer = names
      .map((name) => parseWalName(name, segmentBytes))
      .flatMap((meaning) => (meaning?.kind === "history" ? meaning.timeline : []))
      .filter((timeline) => timeline > this.#timeline)
      .sort((a, b) => b - a);
    for (const timeline of newer) {
      const path = await pathFromFiles(folder, timeline).catch(() => null);
      const begin = path?.at(-1)?.begin;
      const last = segmentName(segmentAt(timeline, addBytes(replayed, -1), segmentBytes), segmentBytes);
      if (begin !== undefined && replayed > begin && there.has(last)) return timeline;
    }
    return this.#timeline;
  }

  /** Members come and go: the connection string names who is there. */
  async #followMembers(): Promise<void> {
    if (this.#isDetached) return;
    const hosts = this.#cluster.members.map(({ host }) => host).join();
    if (hosts === this.#hosts) return;
    this.#hosts = hosts;
    await this.#node.postgres.setRole(followRole(this.#node, this.#cluster));
  }

  /** Does this server hold what the winner's history does not (G9)? Looked at where it matters: a primary is there, and we do not stream. */
  async #judge({ streaming, replayed, timeline }: StandbyPosition): Promise<string | null> {
    const { mind, log } = this.#cluster;
    const now = this.#cluster.nowMs;
    const lead = mind.views(now).find(({ name }) => name === mind.primary);
    const report = lead?.sight.kind === "alive" ? lead.report : null;
    if (streaming || replayed === null || report === null || report === undefined || !report.accepting) {
      this.#apartSinceMs = null;
      return null;
    }
    // Reports are some moments old: only a standby that stays apart is judged by them.
    this.#apartSinceMs ??= now;
    if (now - this.#apartSinceMs < APART_MS) return null;
    if (report.timeline === timeline && replayed > report.recordEnd)
      return `it replayed past the primary's end on timeline ${timeline}`;
    if (report.timeline <= timeline) return null;
    const path = log.view?.tip?.path;
    const next = path?.find((step) => step.timeline > timeline);
    if (path === undefined || next === undefined) {
      // The next look at the log tells; it is asked for while the primary is not followed.
      this.#cluster.lookAtLog();
      return null;
    }
    if (!path.some((step) => step.timeline === timeline))
      return `timeline ${timeline} is not on the way to timeline ${report.timeline}`;
    return replayed > next.begin ? `it replayed past the fork to timeline ${next.timeline}` : null;
  }
}

/** Every member that may lead, by name; the walreceiver walks until it finds the one that takes writes. */
function followRole(node: NodeContext, cluster: Cluster): RoleConfig {
  const { settings, paths } = node;
  const own = settings.nodeName;
  const hosts = cluster.members
    .filter(({ name }) => name !== own)
    .map(({ host }) => ({ host, port: settings.ports.postgres }));
  return {
    ...NO_ROLE,
    primaryConninfo:
      hosts.length === 0
        ? null
        : primaryConninfo({
            hosts,
            user: REPLICATION_ROLE,
            passfile: configPaths(paths.marks).passfile,
            applicationName: own,
            connectTimeoutS: 2,
            // connect_timeout is not honoured by the WAL receiver: this bounds a silent host (reference: repmgr measurements, 5 d).
            tcpUserTimeoutMs: 1_000,
          }),
    primarySlot: memberSlotName(own),
    synchronousStandbyNames: formatSynchronousNames(
      synchronousNamesOfStandby(
        cluster.members.map(({ name }) => name),
        own,
        cluster.settings.mind.synchronous,
      ),
    ),
    recovery: RETRY,
  };
}

/** standby.signal, and never recovery.signal, which promotes by itself. */
export async function writeStandbySignal({ paths, owner }: NodeContext): Promise<void> {
  const path = join(paths.dataDirectory, "standby.signal");
  await writeDurably(path, "");
  if (owner !== null) await chown(path, owner.uid, owner.gid);
  await rm(join(paths.dataDirectory, "recovery.signal"), { force: true });
}

const MEASURE_MS = 200;
/** A standby that finds its primary streams long before. */
const APART_MS = 5_000;
const QUERY_LIMIT_MS = 2_000;
const RETRY = { wal_retrieve_retry_interval: "100ms", wal_receiver_timeout: "5s" } as const;
