// The gate's work on a running standby, step by step as the mind asks for it (G2 to G5): fence, claim, fetch, look, mark, promote, record, declare.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fillHistories } from "../archive/local-histories.ts";
import { pathFromFiles, pgWal } from "../archive/local-wal.ts";
import { messageOf, unreachable } from "../base/errors.ts";
import type { GateEvent } from "../cluster/gate-machine.ts";
import type { GatePlan } from "../cluster/mind-types.ts";
import { claimRoster, declareRoster } from "../cluster/roster.ts";
import { changeRoster } from "../cluster/roster-store.ts";
import { formatSynchronousNames } from "../cluster/synchronous.ts";
import { NO_ROLE } from "../postgres/config-files.ts";
import { markComplete, readCompletion, readControlFile } from "../postgres/data-directory.ts";
import { currentTimeline, isInRecovery, promote } from "../postgres/queries.ts";
import { NO_PROMOTION } from "../tail/slot.ts";
import { type Claim, randomToken, takeOver } from "../tail/take-over.ts";
import { formatLsn, type Lsn } from "../wal/lsn.ts";
import { historyName } from "../wal/segment-name.ts";
import { lastStep, type TimelinePath } from "../wal/timeline-path.ts";
import type { Cluster } from "./cluster.ts";
import { isLogOurs } from "./cluster-store.ts";
import type { Standby } from "./cluster-standby.ts";
import type { Verbs } from "./front.ts";
import { fetchRest } from "./gate-fetch.ts";
import { GateRefusal } from "./gate-refusal.ts";
import { LogTerm } from "./log-term.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import { forgetPromotion, writePromotion } from "./promotion-mark.ts";

type Step = "fence" | "claim" | "fetch" | "look" | "mark" | "promote" | "record" | "declare";

/** One gate, from its fence to the recorded promotion. */
export class GateWork implements AsyncDisposable {
  readonly #node: NodeContext;
  readonly #verbs: Verbs;
  readonly #cluster: Cluster;
  readonly #standby: Standby;
  readonly #signal: AbortSignal;
  #claim: Claim | null = null;
  #recordEnd: Lsn | null = null;
  #ids: { readonly promotion: string; readonly parentPromotion: string } | null = null;
  /** The new term, once Postgres is promoted. */
  logTerm: LogTerm | null = null;

  constructor(node: NodeContext, verbs: Verbs, cluster: Cluster, standby: Standby, signal: AbortSignal) {
    this.#node = node;
    this.#verbs = verbs;
    this.#cluster = cluster;
    this.#standby = standby;
    this.#signal = signal;
  }

  /** When the fence was known to stand, or a little later. */
  get isPromoted(): boolean {
    return this.logTerm !== null;
  }

  /** Performs a step; the event says how it ended. Never throws. */
  async perform(step: Step, plan: GatePlan): Promise<GateEvent> {
    const { log, clock } = this.#node;
    const begunMs = clock.monotonicMs();
    try {
      const event = await this.#step(step, plan);
      log.info(`gate: ${event.kind}`, { tookMs: Math.round(clock.monotonicMs() - begunMs) });
      return event;
    } catch (error) {
      if (error instanceof GateRefusal) return { kind: "refused", because: error.message };
      log.warn(`gate: "${step}" brought nothing yet`, { because: messageOf(error) });
      await clock.sleep(AGAIN_MS, this.#signal).catch(() => undefined);
      return { kind: "again", because: messageOf(error) };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.logTerm?.[Symbol.asyncDispose]();
  }

  async #step(step: Step, plan: GatePlan): Promise<GateEvent> {
    switch (step) {
      case "fence":
        return await this.#fence();
      case "claim":
        return await this.#claimRoster(plan);
      case "fetch":
        return await this.#fetch();
      case "look":
        return await this.#look(plan);
      case "mark":
        return await this.#mark();
      case "promote":
        return await this.#promote();
      case "record":
        return await this.#record();
      case "declare":
        return await this.#declare(plan);
      default:
        return unreachable(step);
    }
  }

  /** T1 to T3. What the log was seen to hold is compared with our path first: a fence put in vain costs the others a takeover. */
  async #fence(): Promise<GateEvent> {
    const { settings, store, codec, clock, log, random } = this.#node;
    const { control } = this.#standby;
    const known = this.#cluster.log.view;
    const position = await this.#standby.measure(this.#signal);
    if (known?.tip != null) requireOnPath(known.tip.path, position.timeline, position.replayed);
    this.#claim = await takeOver(store, {
      identity: { systemId: control.systemId, segmentBytes: control.segmentBytes },
      purpose: "promote",
      node: settings.nodeName,
      fencing: await this.#node.fencing(this.#signal),
      cipher: codec.cipher,
      clock,
      log,
      random,
      known,
      signal: AbortSignal.any([this.#signal, AbortSignal.timeout(FENCE_LIMIT_MS)]),
    });
    return { kind: "fenced", epoch: this.#claim.epoch, atMs: clock.monotonicMs() };
  }

  async #claimRoster(plan: GatePlan): Promise<GateEvent> {
    const { store, clock, log } = this.#node;
    const { self } = this.#cluster.settings;
    const { volume } = this.#cluster.local;
    const outcome = await changeRoster(
      store,
      (found) =>
        claimRoster(
          found,
          {
            name: self.name,
            volume,
            epoch: this.#claimed.epoch,
            isOrphaned: plan.isOrphaned,
            isContinuing: false,
          },
          plan.configured,
        ),
      { clock, log, signal: this.#signal },
    );
    if (outcome.kind === "lost") throw new GateRefusal(outcome.because);
    this.#cluster.mind.setRoster(outcome.roster);
    return { kind: "claimed" };
  }

  /** Everything accepted is here, and replayed (G2, G3). */
  async #fetch(): Promise<GateEvent> {
    const recordEnd = await fetchRest(this.#node, this.#standby, this.#claimed, this.#signal);
    this.#recordEnd = recordEnd;
    return { kind: "fetched", recordEnd };
  }

  /** The last look: the primary, and the log. */
  async #look({ primary }: GatePlan): Promise<GateEvent> {
    const { store } = this.#node;
    const [isOurs, report] = await Promise.all([
      isLogOurs(
        store,
        this.#claimed,
        this.#claimed.view.firstFree,
        AbortSignal.any([this.#signal, AbortSignal.timeout(LOOK_LIMIT_MS)]),
      ),
      primary === null ? null : this.#cluster.askNow(primary, this.#cluster.settings.mind.timers.answerMs),
    ]);
    if (!isOurs) throw new GateRefusal("a newer fence stands in the log");
    return { kind: "looked", leads: report?.standing === "primary" ? report.name : null };
  }

  /** G4: before the promotion. */
  async #mark(): Promise<GateEvent> {
    const { paths } = this.#node;
    const tip = this.#claimed.view.tip;
    const mark = await readCompletion(paths);
    const parentPromotion = tip?.promotion ?? mark?.promotionId ?? NO_PROMOTION;
    this.#ids = { promotion: randomToken(), parentPromotion };
    await writePromotion(paths, this.#ids);
    return { kind: "marked", promotion: this.#ids.promotion };
  }

  async #promote(): Promise<GateEvent> {
    const { paths, clock, log } = this.#node;
    const { sql, server, control, command } = this.#standby;
    const { view } = this.#claimed;
    const folder = pgWal(paths.dataDirectory);
    await promote(sql, { signal: this.#signal, timeoutMs: PROMOTE_CALL_MS });
    while (await isInRecovery(sql, { signal: this.#signal })) {
      if (!server.running) throw new GateRefusal("Postgres ended while it was promoted");
      await clock.sleep(POLL_MS, this.#signal);
    }
    const timeline = await currentTimeline(sql, { signal: this.#signal });
    const path = await pathFromFiles(folder, timeline);
    const fork = lastStep(path).begin;
    const source = sourceOf(this.#node, control.systemId, control.segmentBytes);
    await fillHistories(folder, source, view, timeline, this.#signal);
    const { tip, lastTimeline } = view;
    const change = {
      timeline,
      parent: path.at(-2)?.timeline ?? 0,
      fork,
      promotion: this.#ids!.promotion,
      cut: false,
      body: await readFile(join(folder, historyName(timeline))),
    };
    const backfill = tip !== null && fork > tip.end ? { from: tip.end, to: fork } : null;
    this.logTerm = LogTerm.bringing(
      this.#node,
      this.#claimed,
      await readControlFile(paths.dataDirectory),
      path,
      {
        change,
        backfill,
        isGenesis: tip === null,
      },
    );
    command.thaw();
    log.warn("promoted", { timeline, fork: formatLsn(fork) });
    // Postgres guards none of this: what the log will not accept must not serve anybody.
    if (timeline <= lastTimeline)
      throw new GateRefusal(`Postgres chose timeline ${timeline}, and the log has accepted ${lastTimeline}`);
    if (fork !== this.#recordEnd)
      throw new GateRefusal(`Postgres forked at ${formatLsn(fork)}, not at ${formatLsn(this.#recordEnd!)}`);
    this.#cluster.setLocal({ timeline, recordEnd: fork, replayed: fork, streaming: false });
    return { kind: "promoted", timeline };
  }

  /** S2: the history slot. Nothing opens before it is accepted (G5). */
  async #record(): Promise<GateEvent> {
    const { paths, clock } = this.#node;
    const logTerm = this.logTerm!;
    const until = AbortSignal.any([this.#signal, logTerm.lost]);
    try {
      if (!this.#isAttached) await logTerm.attach(this.#verbs, until);
      this.#isAttached = true;
      await logTerm.accepted(until);
    } catch (error) {
      if (logTerm.lost.aborted) throw new GateRefusal(messageOf(logTerm.lost.reason));
      throw error;
    }
    await markComplete(paths, {
      systemId: this.#standby.control.systemId,
      role: "primary",
      promotionId: this.#ids!.promotion,
      origin: "promoted",
      writtenMs: clock.now(),
    });
    await forgetPromotion(paths);
    return { kind: "recorded" };
  }

  #isAttached = false;

  /** Before the first acknowledgement: who is in sync with it, and whom commits wait for. */
  async #declare({ synchronousNames }: GatePlan): Promise<GateEvent> {
    const { store, clock, log, postgres } = this.#node;
    const { self } = this.#cluster.settings;
    const holder = { name: self.name, volume: this.#cluster.local.volume };
    const { epoch } = this.#claimed;
    const outcome = await changeRoster(
      store,
      (found) =>
        found?.epoch === epoch
          ? { kind: "write", roster: declareRoster(found, holder, synchronousNames !== null) }
          : { kind: "refused", because: "a newer fence claimed the roster" },
      { clock, log, signal: this.#signal },
    );
    if (outcome.kind === "lost") throw new GateRefusal(outcome.because);
    this.#cluster.mind.setRoster(outcome.roster);
    const names = formatSynchronousNames(synchronousNames ?? []);
    await postgres.setRole({ ...NO_ROLE, synchronousStandbyNames: names });
    return { kind: "declared" };
  }

  get #claimed(): Claim {
    if (this.#claim === null) throw new Error("the gate holds no fence");
    return this.#claim;
  }
}

/** A node whose WAL left the winner's history promotes nothing. */
function requireOnPath(path: TimelinePath, timeline: number, replayed: Lsn | null): void {
  if (lastStep(path).timeline === timeline) return;
  const next = path.find((step) => step.timeline > timeline);
  const isOn = path.some((step) => step.timeline === timeline);
  if (!isOn || next === undefined || (replayed !== null && replayed > next.begin))
    throw new GateRefusal(`its timeline ${timeline} is not on the log's path to ${lastStep(path).timeline}`);
}

const AGAIN_MS = 200;
const POLL_MS = 10;
const FENCE_LIMIT_MS = 10_000;
const LOOK_LIMIT_MS = 3_000;
const PROMOTE_CALL_MS = 10_000;
