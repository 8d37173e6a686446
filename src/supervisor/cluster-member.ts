// A node with data in a cluster: standby, contender, primary, suspect, until a stop, a volume to be filled again, or Postgres that keeps dying.

import { access } from "node:fs/promises";
import { LocalWal, localPath, pgWal } from "../archive/local-wal.ts";
import { messageOf } from "../base/errors.ts";
import type { Cluster, WorkEffect } from "./cluster.ts";
import { contend, leadWithoutStore } from "./cluster-contend.ts";
import { runStandbyDuties } from "./cluster-duties.ts";
import { GateWork } from "./cluster-gate.ts";
import { Lead, type LeadEnd } from "./cluster-lead.ts";
import { answerMembers } from "./cluster-orders.ts";
import { rejoin } from "./cluster-rejoin.ts";
import { startRepmgrd, writeRepmgrConfig } from "./cluster-repmgr.ts";
import { Standby } from "./cluster-standby.ts";
import { pickSuccessor } from "./cluster-successor.ts";
import { handOver } from "./cluster-switchover.ts";
import { readCompletion, readControlFile } from "../postgres/data-directory.ts";
import type { Server } from "../postgres/server.ts";
import { NO_DATA } from "./cluster-marks.ts";
import type { Verbs } from "./front.ts";
import type { NodeContext } from "./node-context.ts";
import { stopInOrder } from "./primary-term.ts";
import { forgetPromotion, readPromotion } from "./promotion-mark.ts";
import { forgetReinit, isReinitAsked } from "./reinit-mark.ts";
import type { ChildExit } from "./restart-budget.ts";
import { memberAsideId, moveAside } from "./restore-book.ts";

/** How a member's life with this data ended. */
export type MemberEnd =
  | { readonly kind: "stopped" }
  /** The volume is to be filled again. */
  | { readonly kind: "empty" }
  /** Decide anew: an order of the operator. */
  | { readonly kind: "again" }
  | { readonly kind: "postgres-ended"; readonly exit: ChildExit; readonly startedMs: number };

/** What a turn led to: another turn, or the end. */
type Turn = { readonly as: "standby" | "contender" | "suspect" } | MemberEnd;

/** Runs until one of the ends. */
export async function runMember(node: NodeContext, verbs: Verbs, cluster: Cluster): Promise<MemberEnd> {
  const { stop, log, clock } = node;
  const config = await writeRepmgrConfig(node, cluster);
  const repmgrd = startRepmgrd(node, config);
  await using closing = new AsyncDisposableStack();
  closing.defer(() => repmgrd.stop());
  closing.defer(answerMembers(node, cluster));
  let as: "standby" | "contender" | "suspect" = await firstStanding(node);
  for (;;) {
    if (stop.stopping.aborted) return { kind: "stopped" };
    if (await isReinitAsked(node.paths)) {
      await moveAside(node.paths, memberAsideId("reinit", clock.now()), clock.now());
      await forgetReinit(node.paths);
      return { kind: "empty" };
    }
    await tellPosition(node, cluster);
    cluster.mind.onBecame(
      as === "suspect" ? { kind: as, because: cluster.mind.because } : { kind: as },
      cluster.nowMs,
    );
    log.info(`this node is a ${as} now`);
    const turn: Turn =
      as === "standby"
        ? await standbyTurn(node, verbs, cluster)
        : as === "contender"
          ? await contenderTurn(node, verbs, cluster)
          : await suspectTurn(node, verbs, cluster);
    if ("kind" in turn) {
      if (turn.kind === "empty") cluster.setLocal(NO_DATA);
      cluster.mind.onBecame({ kind: turn.kind === "stopped" ? "leaving" : "joining" }, clock.monotonicMs());
      return turn;
    }
    as = turn.as;
  }
}

/** A promotion that was begun decides by what it left: without standby.signal Postgres was promoted. */
async function firstStanding(node: NodeContext): Promise<"standby" | "contender"> {
  const { paths } = node;
  const mark = await readCompletion(paths);
  const pending = await readPromotion(paths);
  if (pending === null) return mark?.role === "standby" ? "standby" : "contender";
  if (await isStandbyDirectory(node)) {
    await forgetPromotion(paths);
    return "standby";
  }
  return "contender";
}

async function isStandbyDirectory({ paths }: NodeContext): Promise<boolean> {
  return await access(`${paths.dataDirectory}/standby.signal`).then(
    () => true,
    () => false,
  );
}

/** How far the WAL on the volume goes, while no server runs. */
async function tellPosition({ paths }: NodeContext, cluster: Cluster): Promise<void> {
  const control = await readControlFile(paths.dataDirectory);
  // A base that was just fetched has no history files yet.
  const path = await localPath(paths.dataDirectory).catch(() => null);
  const local = path === null ? null : new LocalWal(pgWal(paths.dataDirectory), path, control.segmentBytes);
  const recordEnd = (await local?.walkFrom(control.redo, control.systemId)) ?? control.redo;
  cluster.setLocal({
    systemId: control.systemId.toString(),
    timeline: path?.at(-1)?.timeline ?? control.timeline,
    recordEnd,
    replayed: recordEnd,
    durable: null,
    streaming: false,
  });
}

async function standbyTurn(node: NodeContext, verbs: Verbs, cluster: Cluster): Promise<Turn> {
  const { stop, log, clock, state } = node;
  const startedMs = clock.monotonicMs();
  const over = new AbortController();
  const until = AbortSignal.any([over.signal, stop.stopping, node.interrupts.signal]);
  const end = Promise.withResolvers<Turn>();
  await using standby = await Standby.start(node, verbs, cluster);
  const { server } = standby;
  const work = new StandbyWork(node, verbs, cluster, standby, until, (turn) => end.resolve(turn));
  const disengage = cluster.engage(work.perform, work.tick);
  const noteAbort = (): void => {
    if (!work.leads) end.resolve(stop.stopping.aborted ? { kind: "stopped" } : { kind: "again" });
  };
  until.addEventListener("abort", noteAbort, { once: true });
  const noteExit = async (): Promise<void> => {
    const exit = await server.exited;
    if (!work.leads) end.resolve({ kind: "postgres-ended", exit, startedMs });
  };
  void noteExit();
  standby
    .serve(until, (because) => {
      log.error("this standby left the winner's history", { because });
      cluster.mind.onBecame({ kind: "suspect", because }, cluster.nowMs);
      end.resolve({ as: "suspect" });
    })
    .catch((error: unknown) => {
      if (!until.aborted && server.running)
        log.warn("the standby does not serve", { because: messageOf(error) });
    });
  void runStandbyDuties(node, cluster, standby.sql, until);
  try {
    return await end.promise;
  } finally {
    disengage();
    over.abort(new Error("the turn is over"));
    await work[Symbol.asyncDispose]();
    if (server.running) {
      state.enter("stopping", "the standby stops");
      await server.stop({ fastMs: STANDBY_STOP_MS, immediateMs: 5_000, hurry: stop.hurry });
    }
    state.set({ postgresUp: false, doorsOpen: false, role: "none" });
  }
}

/** The effects of a standby's mind: the gate, and after it the term that it leads to. */
class StandbyWork implements AsyncDisposable {
  readonly #node: NodeContext;
  readonly #verbs: Verbs;
  readonly #cluster: Cluster;
  readonly #standby: Standby;
  readonly #until: AbortSignal;
  readonly #end: (turn: Turn) => void;
  #gate: GateWork | null = null;
  #lead: Lead | null = null;

  constructor(
    node: NodeContext,
    verbs: Verbs,
    cluster: Cluster,
    standby: Standby,
    until: AbortSignal,
    end: (turn: Turn) => void,
  ) {
    this.#node = node;
    this.#verbs = verbs;
    this.#cluster = cluster;
    this.#standby = standby;
    this.#until = until;
    this.#end = end;
  }

  /** The standby became a primary: its term decides how the turn ends. */
  get leads(): boolean {
    return this.#lead !== null;
  }

  readonly perform = (effect: WorkEffect): void => {
    if (effect.kind === "gate") void this.#step(effect);
    else if (effect.kind === "stop-postgres") this.#end({ as: "suspect" });
    else this.#lead?.perform(effect);
  };

  readonly tick = (): void => {
    this.#lead?.tick();
    // Abandoned before the promotion: follow as before.
    if (this.#gate !== null && this.#lead === null && this.#cluster.mind.standing === "standby") {
      this.#gate = null;
      this.#standby.command.thaw();
      this.#standby.command.setSituation("standby");
      this.#standby
        .attach()
        .catch((error: unknown) =>
          this.#node.log.warn("following was not set again", { because: messageOf(error) }),
        );
    }
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lead?.[Symbol.asyncDispose]();
    await this.#gate?.[Symbol.asyncDispose]();
  }

  async #step(effect: Extract<WorkEffect, { kind: "gate" }>): Promise<void> {
    const cluster = this.#cluster;
    this.#gate ??= new GateWork(this.#node, this.#verbs, cluster, this.#standby, this.#until);
    const gate = this.#gate;
    const event = await gate.perform(effect.step, effect.plan);
    if (gate.logTerm !== null && this.#lead === null)
      await this.#promoted(gate, effect.plan.synchronousNames);
    cluster.perform(cluster.mind.onGate(event, cluster.nowMs));
  }

  /** Postgres is a primary: from now on its term goes by the doors. */
  async #promoted(gate: GateWork, names: readonly string[] | null): Promise<void> {
    const node = this.#node;
    const { server, control } = this.#standby;
    this.#standby.release();
    const lead = await Lead.begin(
      { node, verbs: this.#verbs, cluster: this.#cluster, server, control, isPromoted: true },
      gate.logTerm,
      names ?? [],
    );
    this.#lead = lead;
    void leadUntilEnd(node, this.#cluster, lead, server).then((turn) => this.#end(turn));
  }
}

async function contenderTurn(node: NodeContext, verbs: Verbs, cluster: Cluster): Promise<Turn> {
  const { stop, state } = node;
  const until = AbortSignal.any([stop.stopping, node.interrupts.signal]);
  state.enter("waiting", "asking the members and the log whether this node still leads");
  const effect = await nextEffort(cluster, until);
  if (effect === null) return stop.stopping.aborted ? { kind: "stopped" } : { kind: "again" };
  if (effect.kind === "rejoin") return await rejoinTurn(node, verbs, cluster, effect.primary);
  const isStoreAway = effect.kind === "lead-without-store";
  const begun = isStoreAway
    ? await leadWithoutStore(node, verbs, cluster)
    : await contend(node, verbs, cluster);
  switch (begun.kind) {
    case "suspect":
      cluster.mind.onBecame({ kind: "suspect", because: begun.because }, cluster.nowMs);
      return { as: "suspect" };
    case "again":
      node.log.warn("contending brought nothing yet", { because: begun.because });
      cluster.became({ kind: "contend-again" });
      return { as: "contender" };
    case "leads": {
      await using term = begun;
      return await leadUntilEnd(node, cluster, term.lead, term.server);
    }
    default:
      return { kind: "again" };
  }
}

async function suspectTurn(node: NodeContext, verbs: Verbs, cluster: Cluster): Promise<Turn> {
  const { stop, state } = node;
  const until = AbortSignal.any([stop.stopping, node.interrupts.signal]);
  state.enter("suspect", cluster.mind.because);
  const effect = await nextEffort(cluster, until);
  if (effect === null) return stop.stopping.aborted ? { kind: "stopped" } : { kind: "again" };
  return await rejoinTurn(node, verbs, cluster, effect.kind === "rejoin" ? effect.primary : null);
}

async function rejoinTurn(
  node: NodeContext,
  verbs: Verbs,
  cluster: Cluster,
  primary: string | null,
): Promise<Turn> {
  const { log } = node;
  const rejoined = await rejoin(node, verbs, cluster, primary);
  if (rejoined.kind === "standby") return { as: "standby" };
  if (rejoined.kind === "empty") return { kind: "empty" };
  log.warn("coming back is tried again", { because: rejoined.because });
  cluster.became({ kind: "contend-again" });
  return { as: cluster.mind.standing === "contender" ? "contender" : "suspect" };
}

type Effort = Extract<WorkEffect, { kind: "contend" | "lead-without-store" | "rejoin" }>;

/** The mind's next wish for a node without a running server; null when the signal aborts. */
async function nextEffort(cluster: Cluster, until: AbortSignal): Promise<Effort | null> {
  const found = Promise.withResolvers<Effort | null>();
  const disengage = cluster.engage((effect) => {
    if (effect.kind === "contend" || effect.kind === "lead-without-store" || effect.kind === "rejoin")
      found.resolve(effect);
  });
  const onAbort = (): void => found.resolve(null);
  until.addEventListener("abort", onAbort, { once: true });
  if (until.aborted) onAbort();
  try {
    return await found.promise;
  } finally {
    until.removeEventListener("abort", onAbort);
    disengage();
  }
}

/** A term as primary to its end, whichever way it began. */
async function leadUntilEnd(node: NodeContext, cluster: Cluster, lead: Lead, server: Server): Promise<Turn> {
  const { stop, log, clock, settings, state } = node;
  const startedMs = clock.monotonicMs();
  const asked = Promise.withResolvers<LeadEnd>();
  const until = AbortSignal.any([stop.stopping, node.interrupts.signal]);
  const onAbort = (): void =>
    asked.resolve(
      stop.stopping.aborted ? { kind: "stopped" } : { kind: "again", because: messageOf(until.reason) },
    );
  until.addEventListener("abort", onAbort, { once: true });
  if (until.aborted) onAbort();
  for (;;) {
    const order = cluster.switchoverAsked();
    const end = await Promise.race([lead.ended, asked.promise, order.promise]);
    switch (end.kind) {
      case "switchover": {
        const handed = await handOver(node, cluster, server, lead, end.to, end.because);
        order.answer(handed.kind === "handed-over" ? null : handed.because);
        if (handed.kind === "refused") {
          log.warn("the hand-over was refused", { because: handed.because });
          state.enter("running", cluster.mind.doors.because);
          continue;
        }
        return { as: handed.kind === "handed-over" ? "standby" : "contender" };
      }
      case "shut":
        await lead.kill();
        return { as: "contender" };
      case "postgres-ended":
        return { kind: "postgres-ended", exit: end.exit, startedMs };
      case "stopped":
        return await stopLeading(node, cluster, lead, server);
      case "again":
        cluster.watcher.release();
        cluster.mind.onBecame({ kind: "leaving" }, cluster.nowMs);
        await stopInOrder(node, server, lead.logTerm, clock.monotonicMs() + settings.stopTimeoutMs);
        return { kind: "again" };
      default:
        return { kind: "again" };
    }
  }
}

/** A stop of the container: somebody else leads first, if anybody can. */
async function stopLeading(node: NodeContext, cluster: Cluster, lead: Lead, server: Server): Promise<Turn> {
  const { log, clock, settings } = node;
  const { name, because } = pickSuccessor(cluster, null);
  if (name !== null) {
    const handed = await handOver(node, cluster, server, lead, name, `this node stops; ${because}`);
    log.info(
      `the hand-over at the stop: ${handed.kind}`,
      "because" in handed ? { because: handed.because } : {},
    );
  } else log.info("nobody takes over at the stop", { because });
  if (server.running) {
    cluster.watcher.release();
    cluster.mind.onBecame({ kind: "leaving" }, cluster.nowMs);
    await stopInOrder(node, server, lead.logTerm, clock.monotonicMs() + settings.stopTimeoutMs);
  }
  return { kind: "stopped" };
}

const STANDBY_STOP_MS = 20_000;
