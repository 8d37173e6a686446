// A member's term as primary: the doors as the mind decides them, the server frozen, thawed or killed, commits that wait for standbys.

import { messageOf } from "../base/errors.ts";
import type { Doors } from "../cluster/doors.ts";
import { freezeServer, killFrozenServer, thawServer } from "../cluster/freeze.ts";
import { CatchUpMark } from "../cluster/catch-up-mark.ts";
import { formatSynchronousNames } from "../cluster/synchronous.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import type { ControlFile } from "../postgres/control-file.ts";
import { checkpoint, must, one, replicas } from "../postgres/queries.ts";
import type { Server } from "../postgres/server.ts";
import { ReconnectingSql } from "../postgres/sql.ts";
import { parseLsn, ZERO_LSN } from "../wal/lsn.ts";
import { markAdmitted } from "./admission.ts";
import { backUp, startBackupSchedule } from "./backups.ts";
import type { Cluster, WorkEffect } from "./cluster.ts";
import { runPrimaryDuties } from "./cluster-duties.ts";
import { isLogOurs } from "./cluster-store.ts";
import { ensureContents } from "./founding.ts";
import type { Verbs } from "./front.ts";
import { CLOSED, OPEN } from "./local-postgres.ts";
import type { LogTerm } from "./log-term.ts";
import { measurePrimary } from "./measuring.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import type { ChildExit } from "./restart-budget.ts";

export type LeadEnd =
  /** The container stops, or the successor leads: Postgres was stopped in order. */
  | { readonly kind: "stopped" }
  /** No licence, a newer fence, or a lost gate: Postgres was killed. */
  | { readonly kind: "shut"; readonly because: string }
  | { readonly kind: "postgres-ended"; readonly exit: ChildExit }
  /** An order of the operator, or a streamer that needs a fresh server: stopped in order. */
  | { readonly kind: "again"; readonly because: string };

export interface LeadParts {
  readonly node: NodeContext;
  readonly verbs: Verbs;
  readonly cluster: Cluster;
  readonly server: Server;
  readonly control: ControlFile;
  /** This term began with a promotion: a base backup follows. */
  readonly isPromoted: boolean;
}

export class Lead implements AsyncDisposable {
  readonly #parts: LeadParts;
  readonly #over = new AbortController();
  readonly #end = Promise.withResolvers<LeadEnd>();
  readonly #sql: ReconnectingSql;
  #logTerm: LogTerm | null = null;
  #isFrozen = false;
  #isOpened = false;
  #configured: readonly string[] = [];
  /** False: Postgres ran with an empty list before, and commits may go on without one for a while. */
  #isInForce = true;
  readonly #mark = new CatchUpMark(RELOAD_MS);

  private constructor(parts: LeadParts, sql: ReconnectingSql) {
    this.#parts = parts;
    this.#sql = sql;
  }

  static async begin(parts: LeadParts, logTerm: LogTerm | null, names: readonly string[]): Promise<Lead> {
    const { node, server } = parts;
    const lead = new Lead(parts, new ReconnectingSql(await node.postgres.address("holdfast cluster")));
    lead.#configured = names;
    lead.#isInForce = !parts.isPromoted || parts.cluster.settings.mind.synchronous !== "bounded";
    if (logTerm !== null) lead.join(logTerm);
    void server.exited.then((exit) => lead.finish({ kind: "postgres-ended", exit }));
    void lead.#measure();
    return lead;
  }

  /** Aborts when the term is over. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get ended(): Promise<LeadEnd> {
    return this.#end.promise;
  }

  get logTerm(): LogTerm | null {
    return this.#logTerm;
  }

  get sql(): ReconnectingSql {
    return this.#sql;
  }

  /** The log of this term; with the store away it comes later. */
  join(logTerm: LogTerm): void {
    const { cluster } = this.#parts;
    this.#logTerm = logTerm;
    const onLost = (): void => {
      cluster.mind.onFenced();
      cluster.poke();
    };
    if (logTerm.lost.aborted) onLost();
    else logTerm.lost.addEventListener("abort", onLost, { once: true });
    logTerm.over.addEventListener(
      "abort",
      () => this.finish({ kind: "again", because: messageOf(logTerm.over.reason) }),
      { once: true },
    );
  }

  /** The first end counts. */
  finish(end: LeadEnd): void {
    this.#end.resolve(end);
  }

  /** What the mind wants done; anything else is not this term's. */
  readonly perform = (effect: WorkEffect): void => {
    if (effect.kind === "doors") this.#onDoors(effect.doors);
    else if (effect.kind === "confirm-log") void this.#confirm();
    else if (effect.kind === "synchronous") void this.#configure(effect.names, effect.because);
  };

  /** After every thought: the watcher learns how long the licence lasts; a server that may go on goes on. */
  readonly tick = (): void => {
    const { cluster } = this.#parts;
    const { mind, watcher } = cluster;
    if (!this.#isOpened || mind.doors.kind !== "open") return;
    const leftMs = mind.licenceLeftMs(cluster.nowMs);
    if (leftMs !== null && leftMs <= 0) return;
    watcher.renew(leftMs);
    if (this.#isFrozen || watcher.isFrozen) this.#thaw();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    const { node, cluster, server } = this.#parts;
    this.#over.abort(new Error("the term is over"));
    cluster.watcher.release();
    if (server.running) await this.kill();
    await this.#sql[Symbol.asyncDispose]();
    node.state.set({ doorsOpen: false, postgresUp: false, role: "none" });
  }

  /** The fence (G5): nothing is acknowledged from here on. */
  async kill(): Promise<void> {
    const { server, cluster, node } = this.#parts;
    if (!server.running) return;
    // From here on the watcher would stop a server that is ending: one that stands still never ends.
    cluster.watcher.release();
    if (this.#isFrozen || cluster.watcher.isFrozen) killFrozenServer(server.pid);
    else await server.quit(FENCE_LIMIT_MS, killFrozenServer);
    await server.exited;
    node.log.warn("Postgres was killed: this node must not acknowledge anything");
  }

  #onDoors(doors: Doors): void {
    const { node, server } = this.#parts;
    node.log[doors.kind === "open" ? "info" : "warn"](`doors: ${doors.kind}`, { because: doors.because });
    switch (doors.kind) {
      case "open":
        if (!this.#isOpened) void this.#open(doors.because);
        else this.tick();
        return;
      case "frozen":
        if (server.running) freezeServer(server.pid);
        this.#isFrozen = true;
        node.state.enter("suspect", doors.because);
        return;
      case "shut":
        this.finish({ kind: "shut", because: doors.because });
        return;
      case "waiting":
        node.state.enter("starting", doors.because);
    }
  }

  #thaw(): void {
    const { node, cluster, server } = this.#parts;
    if (server.running) thawServer(server.pid);
    this.#isFrozen = false;
    cluster.watcher.noteThawed();
    node.state.enter("running", cluster.mind.doors.because);
    node.log.info("Postgres goes on", { because: cluster.mind.doors.because });
  }

  async #open(because: string): Promise<void> {
    const { node, cluster, control, server, isPromoted } = this.#parts;
    const { postgres, paths, clock, state, log } = node;
    this.#isOpened = true;
    try {
      await markAdmitted(paths, control.systemId, clock.now());
      cluster.watcher.guard(server.pid);
      this.tick();
      await postgres.setDoors(OPEN);
      state.set({ doorsOpen: true, role: "primary", postgresUp: true, timeline: cluster.local.timeline });
      state.enter("running", because);
      cluster.poke();
      void runPrimaryDuties(node, cluster, this, this.signal);
      void measurePrimary(node, sourceOf(node, control.systemId, control.segmentBytes), this.signal);
      if (isPromoted) void this.#afterPromotion();
      if (!this.#isInForce) void this.#awaitInForce();
      const logTerm = this.#logTerm;
      if (logTerm !== null) startBackupSchedule(node, logTerm, this.signal);
    } catch (error) {
      if (!this.signal.aborted) {
        log.error("the doors could not be opened", { because: messageOf(error) });
        this.finish({ kind: "again", because: messageOf(error) });
      }
    }
  }

  /** Roles and passwords as this node's settings have them, and a base backup of the new timeline. */
  async #afterPromotion(): Promise<void> {
    const { node } = this.#parts;
    try {
      await ensureContents(node);
      if (this.#logTerm !== null) await backUp(node, this.#logTerm, this.signal);
    } catch (error) {
      if (!this.signal.aborted)
        node.log.warn("the backup after the promotion did not succeed; the schedule takes the next", {
          because: messageOf(error),
        });
    }
  }

  async #confirm(): Promise<void> {
    const { node, cluster } = this.#parts;
    const logTerm = this.#logTerm;
    if (logTerm === null) return;
    const begunMs = cluster.nowMs;
    const signal = AbortSignal.any([this.signal, AbortSignal.timeout(CONFIRM_LIMIT_MS)]);
    try {
      const isOurs = await isLogOurs(node.store, logTerm.claim, logTerm.firstFree, signal);
      if (this.#logTerm !== logTerm) return;
      if (isOurs) cluster.mind.onLogConfirmed(begunMs, cluster.nowMs);
      else cluster.mind.onFenced();
      cluster.poke();
    } catch (error) {
      if (!this.signal.aborted)
        node.log.debug("the log could not be confirmed", { because: messageOf(error) });
    }
  }

  /** Sets whom commits wait for. */
  async #configure(names: readonly string[], because: string): Promise<void> {
    const { node, cluster } = this.#parts;
    try {
      node.log.info("commits wait for other standbys", { names: names.join(",") || null, because });
      await node.postgres.setRole({
        ...NO_ROLE,
        synchronousStandbyNames: formatSynchronousNames(names),
      });
      if (this.#configured.length === 0) this.#isInForce = false;
      this.#configured = names;
      this.#mark.restart();
      if (!this.#isInForce) void this.#awaitInForce();
    } catch (error) {
      if (!this.signal.aborted)
        node.log.warn("whom commits wait for could not be set", { because: messageOf(error) });
    } finally {
      cluster.mind.onSynchronousDone();
    }
  }

  /**
   * Behind an empty list a commit asks a flag that only the checkpointer sets, between two checkpoints or in the pauses of one that is ahead of its
   * schedule (SyncRepUpdateSyncStandbysDefined). A new session has the list once the checkpointer was told of it; a checkpoint begun after that
   * shows that it heard.
   */
  async #awaitInForce(): Promise<void> {
    const { node } = this.#parts;
    const configured = this.#configured;
    const options = { signal: this.signal };
    while (!this.signal.aborted && configured === this.#configured && configured.length > 0) {
      try {
        await using sql = new ReconnectingSql(await node.postgres.address("holdfast cluster"));
        const row = await one(sql, "show synchronous_standby_names", options);
        if (must(row, "synchronous_standby_names") === formatSynchronousNames(configured)) {
          await checkpoint(sql, options);
          if (configured === this.#configured) {
            this.#isInForce = true;
            this.#mark.restart();
          }
          return;
        }
      } catch (error) {
        if (!this.signal.aborted)
          node.log.debug("it is not known yet whether commits wait", { because: messageOf(error) });
      }
      await node.clock.sleep(MEASURE_MS, this.signal).catch(() => undefined);
    }
  }

  async #measure(): Promise<void> {
    const { node, cluster, server, control } = this.#parts;
    const { clock, log } = node;
    while (!this.signal.aborted && server.running) {
      try {
        if (!this.#isFrozen && !cluster.watcher.isFrozen) {
          const options = { signal: this.signal, timeoutMs: QUERY_LIMIT_MS };
          const begunMs = cluster.nowMs;
          const row = await one(this.#sql, "select pg_current_wal_flush_lsn() as at", options);
          const at = parseLsn(must(row, "at"));
          cluster.setLocal({
            systemId: control.systemId.toString(),
            recordEnd: at,
            replayed: at,
            durable: this.#logTerm?.durable ?? null,
            streaming: false,
          });
          const streaming = (await replicas(this.#sql, options))
            .filter(({ state }) => state === "streaming")
            .map(({ applicationName, connection, flushed, syncState }) => ({
              name: applicationName,
              connection,
              flushed: flushed ?? ZERO_LSN,
              isSync: syncState === "sync" || syncState === "quorum",
            }));
          const connections = streaming.filter(({ isSync }) => isSync).map(({ connection }) => connection);
          const mark = this.#mark.note({ begunMs, at, connections, endedMs: cluster.nowMs });
          cluster.mind.setSynchronous({
            configured: this.#configured,
            configuredAt: this.#isInForce ? mark : null,
            streaming,
          });
        }
      } catch (error) {
        if (!this.signal.aborted)
          log.debug("the primary could not be measured", { because: messageOf(error) });
      }
      await clock.sleep(MEASURE_MS, this.signal).catch(() => undefined);
    }
  }
}

/** Nobody comes in any more; sessions that are open stay until Postgres stops. */
export async function closeDoors({ postgres, state }: NodeContext): Promise<void> {
  state.set({ doorsOpen: false });
  await postgres.setDoors(CLOSED);
}

const FENCE_LIMIT_MS = 5_000;
const CONFIRM_LIMIT_MS = 2_000;
const QUERY_LIMIT_MS = 2_000;
const MEASURE_MS = 200;
/** A walsender with the old list could still release a commit by it. */
const RELOAD_MS = 500;
