// This node as a member: its mind, its voice and its ears. It runs from the first moment to the last; what the node does is elsewhere.

import { messageOf } from "../base/errors.ts";
import { MemberDoor, type MemberHandler } from "../cluster/member-door.ts";
import { MemberKey } from "../cluster/member-key.ts";
import { type Member, memberOf } from "../cluster/members.ts";
import { Mind } from "../cluster/mind.ts";
import type { Became, Effect, Local, MindOptions, Self } from "../cluster/mind-types.ts";
import { Peer, PeerError } from "../cluster/peer.ts";
import { formatReport, parseReport, type Report } from "../cluster/report.ts";
import { makeResolve } from "../cluster/resolve.ts";
import { parseRoster, type Roster } from "../cluster/roster.ts";
import { changeRoster } from "../cluster/roster-store.ts";
import { RULES } from "../cluster/rules.ts";
import { Watcher } from "../cluster/watcher.ts";
import { ClusterRouter } from "./cluster-router.ts";
import { keepRoster, NO_DATA, readKeptRoster, readVolumeId, renewVolumeId } from "./cluster-marks.ts";
import { memberView } from "./cluster-view.ts";
import { LogWatch, signLife } from "./cluster-store.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";

/** What a member's work takes over from the mind; the rest is done here. */
export type WorkEffect = Exclude<Effect, { kind: "ask" | "look-at-log" | "swap-roster" | "say" | "sign" }>;

export interface SwitchoverOrder {
  readonly kind: "switchover";
  readonly to: string;
  readonly because: string;
}

export interface SwitchoverWish {
  readonly promise: Promise<SwitchoverOrder>;
  readonly answer: (fault: string | null) => void;
}

export interface ClusterSettings {
  readonly self: Self;
  readonly members: readonly Member[];
  /** Fly and one name for all: who is there now. Null: `members` is all. */
  readonly discover: (() => Promise<readonly Member[]>) | null;
  readonly mind: MindOptions;
  readonly lagLimitBytes: number;
}

export class Cluster implements AsyncDisposable {
  readonly settings: ClusterSettings;
  readonly mind: Mind;
  readonly log: LogWatch;
  readonly watcher = new Watcher();
  readonly #node: NodeContext;
  readonly #key: MemberKey;
  readonly #door: MemberDoor;
  readonly #peers = new Map<string, Peer>();
  readonly #asking = new Set<string>();
  readonly #calls = new Map<string, MemberHandler>();
  readonly #over = new AbortController();
  readonly #resolve = makeResolve();
  #local: Local;
  #onTick: () => void = () => undefined;
  #work: ((effect: WorkEffect) => void) | null = null;
  readonly #router: ClusterRouter;
  #keptRoster = "";
  #switchover = Promise.withResolvers<SwitchoverOrder>();
  #isSwitchoverAsked = false;
  #answerSwitchover: (fault: string | null) => void = () => undefined;
  #lookedMs = -Infinity;
  #running: Promise<unknown>[] = [];

  private constructor(node: NodeContext, settings: ClusterSettings, local: Local) {
    const { passwords, clock, log } = node;
    this.#node = node;
    this.settings = settings;
    this.log = new LogWatch(node.store, (systemId) => sourceOf(node, systemId, node.settings.segmentBytes));
    this.#local = local;
    this.#key = new MemberKey(passwords.replication);
    this.#door = new MemberDoor({
      key: this.#key,
      incarnation: settings.self.incarnation,
      handlers: { [ASK]: (body) => this.#onAsk(body), [CALL]: (body) => this.#onCall(body) },
      log,
    });
    const names = settings.members.map(({ name }) => name);
    this.#router = new ClusterRouter(node, settings.lagLimitBytes, (name) => this.addressOf(name));
    this.mind = new Mind(settings.self, names, settings.mind, RULES, local, clock.monotonicMs());
    for (const member of settings.members) this.#know(member);
  }

  /** Reads what the volume remembers, and begins to ask. */
  static async start(node: NodeContext, settings: ClusterSettings): Promise<Cluster> {
    const local: Local = { ...NO_DATA, volume: await readVolumeId(node.paths), freeBytes: null };
    const cluster = new Cluster(node, settings, local);
    cluster.mind.setRoster(await readKeptRoster(node.paths));
    node.state.ask({ member: () => memberView(cluster) });
    cluster.#running = [cluster.#loop(), cluster.#discover()];
    return cluster;
  }

  /** Members' messages on the port of checks. */
  get takeRequest(): MemberDoor["take"] {
    return this.#door.take;
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get nowMs(): number {
    return this.#node.clock.monotonicMs();
  }

  get local(): Local {
    return this.#local;
  }

  setLocal(change: Partial<Local>): void {
    this.#local = { ...this.#local, ...change };
    this.mind.setLocal(this.#local);
  }

  /** The copy of the data was made anew: it vouches for nothing that an earlier one held. */
  async renewVolume(): Promise<void> {
    this.setLocal({ volume: await renewVolumeId(this.#node.paths) });
  }

  /** Who performs the mind's effects from now on, until the returned function is called; `onTick` runs after every thought. */
  engage(work: (effect: WorkEffect) => void, onTick: () => void = () => undefined): () => void {
    this.#work = work;
    this.#onTick = onTick;
    return () => {
      if (this.#work !== work) return;
      this.#work = null;
      this.#onTick = () => undefined;
    };
  }

  /** Tells the mind how an effort ended, and performs what follows from it. */
  became(became: Became): void {
    this.mind.onBecame(became, this.nowMs);
    this.poke();
  }

  /** Thinks now: something was heard. */
  poke(): void {
    this.perform(this.mind.tick(this.nowMs));
    this.#onTick();
  }

  /** Another look at the log, soon. */
  lookAtLog(): void {
    const now = this.nowMs;
    if (now - this.#lookedMs < LOOK_EVERY_MS) return;
    this.#lookedMs = now;
    void this.#look();
  }

  /** The report of a member right now; null when it does not answer within `limitMs`. */
  async askNow(name: string, limitMs: number): Promise<Report | null> {
    const peer = this.#peers.get(name);
    if (peer === undefined) return null;
    try {
      const text = await peer.post(ASK, formatReport(this.mind.report(this.nowMs)), limitMs);
      return parseReport(text.split("\n")[0]!.slice(1));
    } catch {
      return null;
    }
  }

  /** Calls another member. Rejects with PeerError, also for its refusal. */
  async call(name: string, verb: string, body: object, limitMs: number): Promise<string> {
    const peer = this.#peers.get(name);
    if (peer === undefined) throw new PeerError("dns", `"${name}" is not a member that is known here`);
    // A connection of its own, so that no ask waits for it.
    using own = new Peer(
      peer.member,
      this.#peerTools(() => undefined),
    );
    return await own.post(CALL, JSON.stringify({ verb, ...body }), limitMs);
  }

  /** Answers calls of this verb until the returned function is called. */
  answer(verb: string, handler: MemberHandler): () => void {
    this.#calls.set(verb, handler);
    return () => {
      if (this.#calls.get(verb) === handler) this.#calls.delete(verb);
    };
  }

  /** An operator's wish for another primary; resolves to what went wrong, or null. */
  async askSwitchover(to: string, because: string): Promise<string | null> {
    if (this.#isSwitchoverAsked) return "another hand-over is under way";
    this.#isSwitchoverAsked = true;
    const { promise, resolve } = Promise.withResolvers<string | null>();
    this.#switchover.resolve({ kind: "switchover", to, because });
    this.#answerSwitchover = resolve;
    return await promise;
  }

  /** The next such wish, for the term that leads. */
  switchoverAsked(): SwitchoverWish {
    this.#isSwitchoverAsked = false;
    this.#switchover = Promise.withResolvers();
    return {
      promise: this.#switchover.promise,
      answer: (fault) => this.#answerSwitchover(fault),
    };
  }

  /** Everybody that is known, this node included. */
  get members(): readonly Member[] {
    const others = [...this.#peers.values()].map(({ member }) => member);
    const own = this.settings.members.find(({ name }) => name === this.settings.self.name);
    return [...(own === undefined ? [] : [own]), ...others];
  }

  addressOf(name: string): string | null {
    return this.#peers.get(name)?.address ?? null;
  }

  hostOf(name: string): string {
    return this.members.find((member) => member.name === name)?.host ?? name;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new Error("the cluster's part has ended"));
    await Promise.allSettled(this.#running);
    for (const peer of this.#peers.values()) peer[Symbol.dispose]();
    await this.watcher[Symbol.asyncDispose]();
  }

  // ---- the loop -------------------------------------------------------------------------------------

  async #loop(): Promise<void> {
    const { clock, log } = this.#node;
    while (!this.signal.aborted) {
      try {
        this.setLocal({ freeBytes: this.#node.state.freeBytes });
        this.poke();
        this.#router.apply(this.mind.report(this.nowMs), this.mind.views(this.nowMs));
        await this.#keepRoster();
      } catch (error) {
        log.error("the cluster's loop broke once", { because: messageOf(error) });
      }
      const isLeading = this.mind.standing === "primary" || this.mind.standing === "candidate";
      await clock.sleep(isLeading ? LEADING_TICK_MS : TICK_MS, this.signal).catch(() => undefined);
    }
  }

  async #discover(): Promise<void> {
    const { discover } = this.settings;
    const { clock, log } = this.#node;
    if (discover === null) return;
    while (!this.signal.aborted) {
      const found = await discover().catch(() => []);
      const isNew = found.some(({ name }) => !this.#peers.has(name));
      for (const member of found) this.#know(member);
      if (isNew) {
        log.info("members were found", { members: this.members.map(({ name }) => name) });
        this.mind.setMembers(
          this.members.map(({ name }) => name),
          this.nowMs,
        );
      }
      await clock.sleep(DISCOVER_MS, this.signal).catch(() => undefined);
    }
  }

  perform(effects: readonly Effect[]): void {
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: Effect): void {
    const { log } = this.#node;
    if (effect.kind === "ask") void this.#ask(effect.to);
    else if (effect.kind === "say") log.warn(effect.sentence, { because: effect.because });
    else if (effect.kind === "look-at-log") void this.#look();
    else if (effect.kind === "swap-roster") void this.#swapRoster(effect.from, effect.to, effect.because);
    else if (effect.kind === "sign") this.#background("sign of life", (signal) => this.#sign(signal));
    else if (this.#work !== null) this.#work(effect);
    else if (effect.kind === "gate")
      this.mind.onGate({ kind: "again", because: "its server is not there yet" }, this.nowMs);
    else if (isEffort(effect.kind)) this.mind.onBecame({ kind: "contend-again" }, this.nowMs);
  }

  async #sign(signal: AbortSignal): Promise<void> {
    const { store, clock, settings } = this.#node;
    await signLife(store, settings.nodeName, this.mind.epoch, clock.now(), signal);
  }

  #background(what: string, work: (signal: AbortSignal) => Promise<void>): void {
    const signal = AbortSignal.any([this.signal, AbortSignal.timeout(LOOK_LIMIT_MS)]);
    work(signal).catch((error: unknown) =>
      this.#node.log.debug(`${what} failed`, { because: messageOf(error) }),
    );
  }

  async #ask(name: string): Promise<void> {
    const peer = this.#peers.get(name) ?? this.#know(memberOf(name, name));
    if (peer === null || this.#asking.has(name)) return;
    this.#asking.add(name);
    const sentMs = this.nowMs;
    try {
      const body = formatReport(this.mind.report(sentMs));
      const text = await peer.post(ASK, body, this.settings.mind.timers.answerMs);
      const [head = "", roster = ""] = text.split("\n");
      const report = parseReport(head.slice(1));
      if (report === null) throw new PeerError("bad-answer", `${name} gave no report`);
      const answer = { report, grants: text.startsWith("+"), roster: parseRoster(roster) };
      this.mind.onAnswer(name, answer, sentMs, this.nowMs);
    } catch (error) {
      const failure = error instanceof PeerError ? error.failure : "reset";
      this.mind.onFailure(name, failure, this.nowMs);
    } finally {
      this.#asking.delete(name);
    }
  }

  #onAsk(body: string): string {
    const report = parseReport(body);
    if (report === null) throw new Error("no report");
    const { grants, report: own, roster } = this.mind.onAsk(report, this.nowMs);
    return `${grants ? "+" : "-"}${formatReport(own)}\n${roster === null ? "" : JSON.stringify(roster)}`;
  }

  async #onCall(body: string): Promise<string> {
    const { verb } = JSON.parse(body) as { verb?: unknown };
    const handler = typeof verb === "string" ? this.#calls.get(verb) : undefined;
    if (handler === undefined) throw new Error(`this node does not answer "${String(verb)}" now`);
    return await handler(body);
  }

  async #look(): Promise<void> {
    const begunMs = this.nowMs;
    const { systemId } = this.#local;
    try {
      const look = await this.log.look(systemId === null ? null : BigInt(systemId), begunMs, this.signal);
      if (look !== null) this.mind.onLogLook(look, this.nowMs);
    } catch (error) {
      if (!this.signal.aborted)
        this.#node.log.debug("the log could not be looked at", { because: messageOf(error) });
    }
  }

  async #swapRoster(from: Roster, to: Roster, because: string): Promise<void> {
    const { store, log, clock } = this.#node;
    const { epoch } = this.mind;
    try {
      const outcome = await changeRoster(
        store,
        (found) =>
          found?.epoch === from.epoch && epoch === from.epoch
            ? { kind: "write", roster: { ...to, isPaused: found.isPaused } }
            : { kind: "refused", because: "it is another's" },
        { clock, log, signal: this.signal },
      );
      if (outcome.kind === "written")
        log.info("the roster was written", {
          members: to.members.join(","),
          inSync: to.inSync?.map(({ name }) => name).join(",") ?? null,
          because,
        });
      if (this.mind.epoch === epoch) this.mind.onRoster(outcome.kind === "written" ? outcome.roster : null);
    } catch (error) {
      if (!this.signal.aborted) throw error;
    }
  }

  /** Survives a restart without the store (G7). */
  async #keepRoster(): Promise<void> {
    const { roster } = this.mind;
    const text = roster === null ? "" : `${JSON.stringify(roster)}\n`;
    if (text === this.#keptRoster) return;
    this.#keptRoster = text;
    await keepRoster(this.#node.paths, text);
  }

  #know(member: Member): Peer | null {
    if (member.name === this.settings.self.name) return null;
    const known = this.#peers.get(member.name);
    if (known !== undefined) return known;
    const peer = new Peer(
      member,
      this.#peerTools(() => this.mind.onClose(member.name, this.nowMs)),
    );
    this.#peers.set(member.name, peer);
    return peer;
  }

  #peerTools(onClose: () => void): ConstructorParameters<typeof Peer>[1] {
    return {
      key: this.#key,
      incarnation: this.settings.self.incarnation,
      port: this.#node.settings.ports.checks,
      resolve: this.#resolve,
      clock: this.#node.clock,
      onClose,
    };
  }
}

const isEffort = (kind: WorkEffect["kind"]): boolean =>
  kind === "contend" || kind === "rejoin" || kind === "lead-without-store" || kind === "take-over";

const ASK = "/cluster/ask";
const CALL = "/cluster/call";
const TICK_MS = 50;
const LEADING_TICK_MS = 20;
const DISCOVER_MS = 5_000;
const LOOK_LIMIT_MS = 2_000;
const LOOK_EVERY_MS = 1_000;
