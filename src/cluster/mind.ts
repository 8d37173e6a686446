// A node's mind: everything it heard, what it concludes, and what its shell shall do next. No clock, socket or file.
//
// The supervisor feeds it with answers, closes, looks into the log and the outcomes of its efforts, and performs the effects. The
// simulation does the same under virtual time, so what is tested there is what runs.

import { Acquaintances } from "./acquaintances.ts";
import type { Candidate } from "./candidates.ts";
import type { AskFailure } from "./detection.ts";
import type { Doors } from "./doors.ts";
import { type MemberView, leaderSince, leads } from "./evidence.ts";
import { type GateEvent, type GateState, beginGate, openGate } from "./gate-machine.ts";
import { Leading } from "./leading.ts";
import { LogGlimpses } from "./log-glimpses.ts";
import { StandingBy } from "./standing-by.ts";
import type {
  Became,
  Effect,
  Local,
  LogLook,
  MindOptions,
  Rules,
  Self,
  SynchronousState,
} from "./mind-types.ts";
import type { Answer, Report, Standing } from "./report.ts";
import type { Holder, Roster } from "./roster.ts";

export class Mind {
  readonly #self: Self;
  readonly #options: MindOptions;
  readonly #rules: Rules;
  readonly #startedMs: number;
  readonly #others: Acquaintances;
  readonly #leading: Leading;
  readonly #waiting: StandingBy;
  readonly #log = new LogGlimpses();
  #local: Local;
  #standing: Standing = "joining";
  #lastMs: number;
  #gate: GateState | null = null;
  #gateBusy = false;
  #effortMs: number | null = null;
  #effortFailedMs = -Infinity;
  /** Since when it is a suspect, or a contender. */
  #sinceMs = 0;
  #because = "it starts";

  constructor(
    self: Self,
    configured: readonly string[],
    options: MindOptions,
    rules: Rules,
    local: Local,
    nowMs: number,
  ) {
    this.#self = self;
    this.#options = options;
    this.#rules = rules;
    this.#local = local;
    this.#startedMs = nowMs;
    this.#lastMs = nowMs;
    this.#others = new Acquaintances(self.name, options.timers, rules.sightOf);
    this.#leading = new Leading(self.name, options, rules, this.#others, nowMs);
    this.#waiting = new StandingBy(options, rules, nowMs);
    this.setMembers(configured, nowMs);
  }

  get standing(): Standing {
    return this.#standing;
  }

  get doors(): Doors {
    return this.#leading.doors;
  }

  get gate(): GateState | null {
    return this.#gate;
  }

  get roster(): Roster | null {
    return this.#leading.roster;
  }

  get epoch(): number | null {
    return this.#leading.epoch;
  }

  /** The primary this node knows of: itself, or the one with the newest fence. */
  get primary(): string | null {
    return this.#standing === "primary" ? this.#self.name : (this.#others.known?.name ?? null);
  }

  /** Milliseconds that a primary may go on acknowledging without another word; null when it needs nobody's. */
  licenceLeftMs(nowMs: number): number | null {
    return this.#leading.licenceLeftMs(nowMs);
  }

  /** Why the node is what it is: the sentence of its last decision. */
  get because(): string {
    return this.#because;
  }

  /** How each other member looks now. */
  views(nowMs: number): MemberView[] {
    return this.#others.views(nowMs);
  }

  /** Names may come and go (Fly). */
  setMembers(names: readonly string[], nowMs: number): void {
    this.#leading.configured = names;
    this.#others.add(names, nowMs);
  }

  setLocal(local: Local): void {
    this.#local = local;
  }

  setSynchronous(state: SynchronousState): void {
    this.#leading.synchronous = state;
  }

  /** The roster as it was last known, from the volume or the store; an older one than known is ignored. */
  setRoster(roster: Roster | null): void {
    const known = this.#leading.roster;
    if (roster === null || (known !== null && known.epoch > roster.epoch)) return;
    this.#leading.roster = roster;
    this.#others.add(roster.members, this.#lastMs);
  }

  /** What this node says of itself. */
  report(nowMs: number): Report {
    const { known } = this.#others;
    const heardMs = known === null ? null : this.#others.heardMs(known.name);
    const isStale = known === null || heardMs === null || this.#standing === "primary";
    const { storeMs } = this.#log;
    return {
      ...this.#self,
      ...this.#local,
      upSeconds: (nowMs - this.#startedMs) / 1000,
      standing: this.#standing,
      accepting: this.#standing === "primary" && this.doors.kind === "open",
      epoch: this.epoch,
      primary: isStale ? null : { name: known.name, heardAgoMs: nowMs - heardMs },
      gateForMs: this.#gate?.kind === "running" ? nowMs - this.#gate.begunMs : null,
      storeAgoMs: storeMs === null ? null : nowMs - storeMs,
    };
  }

  // ---- what the shell hears -------------------------------------------------------------------------

  /** A member answered an ask that was sent at `sentMs`. */
  onAnswer(name: string, answer: Answer, sentMs: number, nowMs: number): void {
    this.#awake(nowMs);
    this.#others.onAnswer(name, answer, sentMs, nowMs);
    if (this.#standing !== "primary" && this.#standing !== "candidate") this.setRoster(answer.roster);
  }

  /** A member asks, and says what it is; the answer is a promise (`grants`). */
  onAsk(report: Report, nowMs: number): Answer {
    this.#awake(nowMs);
    const isOurs = report.systemId !== null && report.systemId === this.#local.systemId;
    if (isOurs) this.#others.add([report.name], nowMs);
    this.#others.onWord(report, nowMs);
    const grants = this.#rules.mayGrant({
      standing: this.#standing,
      runsGate: this.#gate?.kind === "running",
      asker: report,
      known: this.#others.known,
    });
    return { report: this.report(nowMs), grants, roster: this.#standing === "primary" ? this.roster : null };
  }

  onClose(name: string, nowMs: number): void {
    this.#awake(nowMs);
    this.#others.onClose(name, nowMs);
  }

  onFailure(name: string, failure: AskFailure, nowMs: number): void {
    this.#awake(nowMs);
    this.#others.onFailure(name, failure);
  }

  onLogLook(look: LogLook, nowMs: number): void {
    this.#awake(nowMs);
    this.#log.take(look, nowMs);
    if (this.#standing !== "primary" && this.#standing !== "candidate") this.setRoster(look.roster);
  }

  /** The log was found to be this node's own by a look that was begun at `begunMs`. */
  onLogConfirmed(begunMs: number, nowMs: number): void {
    this.#awake(nowMs);
    this.#log.storeMs = nowMs;
    this.#leading.onLogConfirmed(begunMs);
  }

  /** T7: a foreign object stands where this owner's next slot belongs. */
  onFenced(): void {
    this.#leading.isFenced = true;
  }

  /** The swap's outcome is known: what the store holds now; null: another's, or as it was. */
  onRoster(written: Roster | null): void {
    this.#leading.onRoster(written);
  }

  onSynchronousDone(): void {
    this.#leading.isSynchronousBusy = false;
  }

  /** A step of the gate ended. */
  onGate(event: GateEvent, nowMs: number): Effect[] {
    this.#awake(nowMs);
    this.#gateBusy = false;
    if (this.#gate?.kind !== "running") return [];
    const next = this.#rules.advanceGate(this.#gate, event, nowMs);
    this.#gate = next;
    if (next.kind === "running") {
      this.#leading.epoch = next.epoch;
      this.#leading.fencedMs = next.fencedMs;
      return event.kind === "again" ? [] : this.tick(nowMs);
    }
    if (next.kind === "open") return [];
    this.#because = next.because;
    this.#waiting.endOrders();
    this.#waiting.notBeforeMs = nowMs + EFFORT_PAUSE_MS;
    if (next.kind === "abandoned") {
      this.#become("standby", nowMs);
      return [{ kind: "say", sentence: "gate abandoned", because: next.because }];
    }
    this.#become("suspect", nowMs);
    return [{ kind: "stop-postgres", because: next.because }];
  }

  /** The primary asks this standby to take over; it has stopped, and says so. False: not now. */
  onHandOver(nowMs: number): boolean {
    this.#awake(nowMs);
    if (this.#standing !== "standby") return false;
    this.#waiting.isHandedOver = true;
    return true;
  }

  /** An operator takes the risk: no evidence is asked, and nobody has to vouch for this copy. For this outage, not for one that comes later. */
  onForced(nowMs: number): void {
    this.#awake(nowMs);
    this.#waiting.force(nowMs);
  }

  /** A primary that began without the store has taken the log over (G7). */
  onTakenOver(epoch: number, fencedMs: number, roster: Roster, nowMs: number): void {
    this.#awake(nowMs);
    this.#effortMs = null;
    this.#leading.epoch = epoch;
    this.#leading.fencedMs = fencedMs;
    this.#leading.roster = roster;
  }

  /** An effort of the shell, or its start, ended so. */
  onBecame(became: Became, nowMs: number): void {
    this.#awake(nowMs);
    this.#effortMs = null;
    if (became.kind === "contend-again") {
      this.#effortFailedMs = nowMs;
      return;
    }
    this.#become(became.kind, nowMs);
    if (became.kind === "suspect") this.#because = became.because;
    if (became.kind !== "primary") return;
    this.#leading.epoch = became.epoch;
    this.#leading.fencedMs = became.fencedMs;
    this.#leading.roster = became.roster;
    this.#leading.settled = true;
  }

  // ---- what it concludes ----------------------------------------------------------------------------

  /** The next effects. Called at least every `askMs`, and whenever something was heard. */
  tick(nowMs: number): Effect[] {
    this.#awake(nowMs);
    const effects: Effect[] = this.#others.takeDue(nowMs).map((to) => ({ kind: "ask", to }));
    const views = this.views(nowMs);
    this.#others.learnPrimary(views);
    if (this.#standing === "standby") this.#standbyTurn(views, nowMs, effects);
    else if (this.#standing === "candidate") this.#candidateTurn(views, nowMs, effects);
    else if (this.#standing === "contender") this.#contenderTurn(views, nowMs, effects);
    else if (this.#standing === "suspect") this.#suspectTurn(views, nowMs, effects);
    else if (this.#standing === "primary") this.#primaryTurn(views, nowMs, effects);
    return effects;
  }

  #standbyTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    const primary = this.#others.known?.name ?? null;
    if (leads(views, primary) && !this.#waiting.isHandedOver) {
      this.#log.forget();
      this.#waiting.rest();
      this.#because = `follows ${primary}`;
      return;
    }
    this.#log.look(nowMs, effects);
    const self = this.#asCandidate();
    const evidence = this.#waiting.decide(self, primary, views, this.roster, this.#log, nowMs);
    if (evidence === null) return;
    this.#because = evidence.because;
    if (evidence.kind !== "begin") return;
    this.#become("candidate", nowMs);
    this.#gate = beginGate(nowMs);
    effects.push({ kind: "say", sentence: "gate begun", because: evidence.because });
    this.#candidateTurn(views, nowMs, effects);
  }

  #candidateTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    if (this.#gate?.kind !== "running") return;
    const { begunMs, timeline, step } = this.#gate;
    const self = { ...this.#asCandidate(), isForced: this.#waiting.isForced(nowMs) };
    const lead = leaderSince(views, begunMs);
    // Once pg_promote was called there is no way back but the log's word.
    const isReversible = timeline === null && !(step === "promote" && this.#gateBusy);
    if (lead !== undefined && isReversible && !this.#waiting.isHandedOver) {
      effects.push(...this.onGate({ kind: "refused", because: `${lead.name} leads after all` }, nowMs));
      return;
    }
    if (step !== "open") {
      if (this.#gateBusy) return;
      this.#gateBusy = true;
      effects.push({ kind: "gate", step, plan: this.#leading.planGate(views, self, this.#gate) });
      return;
    }
    this.#leading.settled = true;
    const doors = this.#decideDoors(views, nowMs, effects);
    if (doors.kind === "shut") this.#become("contender", nowMs);
    if (doors.kind !== "open") return;
    this.#gate = openGate(this.#gate);
    this.#standing = "primary";
    this.#waiting.endOrders();
  }

  #contenderTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    this.#log.look(nowMs, effects);
    if (!this.#mayTry(nowMs)) return;
    const decision = this.#rules.decideContend(
      {
        nowMs,
        startedMs: this.#startedMs,
        sinceMs: this.#sinceMs,
        counted: this.#leading.countedNames(),
        members: views,
        logLife: this.#log.life,
        promotionPending: this.#log.promotionPending,
        self: this.#asCandidate(),
      },
      this.#options.timers,
    );
    this.#because = decision.because;
    if (decision.kind === "wait") return;
    this.#effortMs = nowMs;
    effects.push(decision);
  }

  #suspectTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    if (!this.#mayTry(nowMs)) return;
    const primary = this.#others.known?.name ?? null;
    const isLed = leads(views, primary);
    if (!isLed && nowMs - this.#sinceMs < this.#options.timers.coldStartMs) return;
    this.#effortMs = nowMs;
    effects.push({
      kind: "rejoin",
      primary: isLed ? primary : null,
      because: isLed ? `${primary} leads` : "no member leads: from the store alone",
    });
  }

  #primaryTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    if (this.#decideDoors(views, nowMs, effects).kind === "shut") {
      this.#become("contender", nowMs);
      return;
    }
    if (this.epoch !== null) {
      this.#leading.rosterTurn(views, this.#local.systemId, nowMs, effects);
      return;
    }
    if (!this.#mayTry(nowMs)) return;
    this.#effortMs = nowMs;
    effects.push({ kind: "take-over" });
  }

  #decideDoors(views: readonly MemberView[], nowMs: number, effects: Effect[]): Doors {
    this.#leading.renew(views, nowMs, effects);
    const doors = this.#leading.decide(views, this.#waiting.isHandedOver, nowMs, effects);
    this.#because = doors.because;
    return doors;
  }

  #asCandidate(): Candidate & Holder {
    const { timeline, recordEnd, volume } = this.#local;
    return { ...this.#self, timeline, recordEnd, volume };
  }

  #mayTry(nowMs: number): boolean {
    return this.#effortMs === null && nowMs - this.#effortFailedMs >= EFFORT_PAUSE_MS;
  }

  #become(standing: Standing, nowMs: number): void {
    if (standing !== this.#standing) this.#sinceMs = nowMs;
    const { doors } = this.#leading;
    this.#standing = standing;
    this.#gate = null;
    this.#gateBusy = false;
    this.#effortMs = null;
    this.#log.forget();
    this.#leading.reset(standing === "contender" ? doors.because : `it is ${standing}`);
  }

  /** A pause of this process: silence meanwhile proves nothing. Licences are not moved: they expire. */
  #awake(nowMs: number): void {
    const pauseMs = nowMs - this.#lastMs;
    this.#lastMs = Math.max(this.#lastMs, nowMs);
    if (pauseMs < this.#options.timers.sleepMs) return;
    this.#others.onSleep(pauseMs);
    this.#log.forget();
  }
}

/** After a gate or an effort that brought nothing. */
const EFFORT_PAUSE_MS = 1_000;
