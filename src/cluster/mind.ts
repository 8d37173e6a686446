// A node's mind: everything it heard, what it concludes, and what its shell shall do next. No clock, socket or file.
//
// The supervisor feeds it with answers, closes, looks into the log and the outcomes of its efforts, and performs the effects. The
// simulation does the same under virtual time, so what is tested there is what runs.

import { formatLsn } from "../wal/lsn.ts";
import {
  type AskFailure,
  type Watch,
  afterClose,
  afterFailure,
  afterSleep,
  afterWord,
  newWatch,
} from "./detection.ts";
import { type CountedMember, licenceOf } from "./doors.ts";
import type { LogLife, MemberView } from "./evidence.ts";
import { type GateEvent, type GateState, beginGate, openGate } from "./gate-machine.ts";
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
import { type Roster, countedMembers } from "./roster.ts";
import { firstSynchronousNames } from "./synchronous.ts";
import type { Candidate, StoreEnd } from "./candidates.ts";
import type { Doors } from "./doors.ts";

interface Other {
  watch: Watch;
  report: Report | null;
  reportMs: number | null;
  /** When the newest ask it granted was sent. */
  grantedMs: number | null;
  askedMs: number;
}

export class Mind {
  readonly #self: Self;
  readonly #options: MindOptions;
  readonly #rules: Rules;
  readonly #startedMs: number;
  readonly #others = new Map<string, Other>();
  #configured: readonly string[];
  #local: Local;
  #standing: Standing = "joining";
  #lastMs: number;
  #known: { name: string; epoch: number } | null = null;
  #gate: GateState | null = null;
  #gateBusy = false;
  #handedOver = false;
  #gateNotBeforeMs = 0;
  #isPaused = false;
  #passedOverSinceMs: number | null = null;
  #logLife: LogLife | null = null;
  #logMark: string | null = null;
  #storeEnd: StoreEnd | null = null;
  #promotionPending = false;
  #lookedMs = -Infinity;
  #storeMs: number | null = null;
  #effortMs: number | null = null;
  #effortFailedMs = -Infinity;
  #epoch: number | null = null;
  #fencedMs: number | null = null;
  #isFenced = false;
  #settled = false;
  #logConfirmedMs: number | null = null;
  #confirmBegunMs = -Infinity;
  #signedMs = -Infinity;
  #frozenSinceMs: number | null = null;
  #doors: Doors = { kind: "waiting", because: "it does not lead" };
  #roster: Roster | null = null;
  #wantedRoster: Roster | null = null;
  #synchronous: SynchronousState = { configured: [], configuredAt: null, streaming: [] };
  #synchronousBusy = false;
  #missingSinceMs: number | null = null;
  #suspectSinceMs = 0;
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
    this.#configured = configured;
    this.setMembers(configured, nowMs);
  }

  get standing(): Standing {
    return this.#standing;
  }

  get doors(): Doors {
    return this.#doors;
  }

  get gate(): GateState | null {
    return this.#gate;
  }

  get roster(): Roster | null {
    return this.#roster;
  }

  get epoch(): number | null {
    return this.#epoch;
  }

  get primary(): string | null {
    return this.#standing === "primary" ? this.#self.name : (this.#known?.name ?? null);
  }

  /** Why the node is what it is: the sentence of its last decision. */
  get because(): string {
    return this.#because;
  }

  /** Names may come and go (Fly); this node's own is left out. */
  setMembers(names: readonly string[], nowMs: number): void {
    this.#configured = names;
    for (const name of names) {
      if (name !== this.#self.name && !this.#others.has(name)) this.#others.set(name, newOther(nowMs));
    }
  }

  setLocal(local: Local): void {
    this.#local = local;
  }

  setSynchronous(state: SynchronousState): void {
    this.#synchronous = state;
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
  }

  /** The roster as it was last known, from the volume or the store, before anything newer is read. */
  setRoster(roster: Roster | null): void {
    if (roster === null || (this.#roster !== null && this.#roster.epoch > roster.epoch)) return;
    this.#roster = roster;
    for (const name of roster.members) {
      if (name !== this.#self.name && !this.#others.has(name)) this.#others.set(name, newOther(this.#lastMs));
    }
  }

  /** How each other member looks now. */
  views(nowMs: number): MemberView[] {
    return [...this.#others].map(([name, other]) => ({
      name,
      sight: this.#rules.sightOf(other.watch, nowMs, this.#options.timers),
      report: other.report,
      reportMs: other.reportMs,
    }));
  }

  report(nowMs: number): Report {
    const known = this.#known;
    const heardMs = known === null ? null : (this.#others.get(known.name)?.watch.heardMs ?? null);
    return {
      name: this.#self.name,
      region: this.#self.region,
      priority: this.#self.priority,
      eligible: this.#self.eligible,
      incarnation: this.#self.incarnation,
      build: this.#self.build,
      upSeconds: (nowMs - this.#startedMs) / 1000,
      systemId: this.#local.systemId,
      standing: this.#standing,
      accepting: this.#standing === "primary" && this.#doors.kind === "open",
      epoch: this.#epoch,
      timeline: this.#local.timeline,
      recordEnd: this.#local.recordEnd,
      replayed: this.#local.replayed,
      streaming: this.#local.streaming,
      primary:
        known === null || heardMs === null || this.#standing === "primary"
          ? null
          : { name: known.name, heardAgoMs: nowMs - heardMs },
      gateForMs: this.#gate?.kind === "running" ? nowMs - this.#gate.begunMs : null,
      storeAgoMs: this.#storeMs === null ? null : nowMs - this.#storeMs,
    };
  }

  // ---- what the shell hears -------------------------------------------------------------------------

  /** A member answered an ask that was sent at `sentMs`. */
  onAnswer(name: string, answer: Answer, sentMs: number, nowMs: number): void {
    this.#awake(nowMs);
    const other = this.#others.get(name);
    if (other === undefined || answer.report.name !== name) return;
    this.#take(other, answer.report, nowMs);
    if (answer.grants) other.grantedMs = Math.max(other.grantedMs ?? -Infinity, sentMs);
  }

  /** A member asks, and says what it is; the answer is a promise (`grants`). */
  onAsk(report: Report, nowMs: number): Answer {
    this.#awake(nowMs);
    let other = this.#others.get(report.name);
    if (other === undefined && report.name !== this.#self.name && report.systemId === this.#local.systemId) {
      other = newOther(nowMs);
      this.#others.set(report.name, other);
    }
    if (other !== undefined) this.#take(other, report, nowMs);
    const grants = this.#rules.mayGrant({
      standing: this.#standing,
      runsGate: this.#gate?.kind === "running",
      asker: report,
      known: this.#known,
    });
    return { report: this.report(nowMs), grants };
  }

  onClose(name: string, nowMs: number): void {
    this.#awake(nowMs);
    const other = this.#others.get(name);
    if (other !== undefined) other.watch = afterClose(other.watch, nowMs);
  }

  onFailure(name: string, failure: AskFailure, nowMs: number): void {
    this.#awake(nowMs);
    const other = this.#others.get(name);
    if (other !== undefined) other.watch = afterFailure(other.watch, failure);
  }

  onLogLook(look: LogLook, nowMs: number): void {
    this.#awake(nowMs);
    this.#storeMs = nowMs;
    const isSame = this.#logMark === look.mark && this.#logLife !== null;
    this.#logLife = {
      readMs: look.begunMs,
      sameSinceMs: isSame ? this.#logLife!.sameSinceMs : look.begunMs,
    };
    this.#logMark = look.mark;
    this.#storeEnd = look.storeEnd;
    this.#promotionPending = look.promotionPending;
    if (this.#standing !== "primary" && this.#standing !== "candidate") this.setRoster(look.roster);
  }

  /** The log was found to be this node's own by a look that was begun at `begunMs`. */
  onLogConfirmed(begunMs: number, nowMs: number): void {
    this.#awake(nowMs);
    this.#storeMs = nowMs;
    this.#logConfirmedMs = Math.max(this.#logConfirmedMs ?? -Infinity, begunMs);
  }

  /** T7: a foreign object stands where this owner's next slot belongs. */
  onFenced(): void {
    this.#isFenced = true;
  }

  /** The swap succeeded with this roster, or it failed and the store holds another (null: nothing is known). */
  onRoster(written: Roster | null): void {
    if (written !== null) this.#roster = written;
    this.#wantedRoster = null;
  }

  onSynchronousDone(): void {
    this.#synchronousBusy = false;
  }

  onGate(event: GateEvent, nowMs: number): Effect[] {
    this.#awake(nowMs);
    this.#gateBusy = false;
    if (this.#gate?.kind !== "running") return [];
    const next = this.#rules.advanceGate(this.#gate, event, nowMs);
    this.#gate = next;
    if (next.kind === "running") {
      this.#epoch = next.epoch;
      this.#fencedMs = next.fencedMs;
      return event.kind === "again" ? [] : this.tick(nowMs);
    }
    if (next.kind === "open") return [];
    this.#because = next.because;
    this.#handedOver = false;
    this.#epoch = null;
    this.#gateNotBeforeMs = nowMs + GATE_PAUSE_MS;
    if (next.kind === "abandoned") {
      this.#standing = "standby";
      return [{ kind: "say", sentence: "gate abandoned", because: next.because }];
    }
    this.#become("suspect", nowMs);
    return [{ kind: "stop-postgres", because: next.because }];
  }

  /** The primary asks this standby to take over; it has stopped and said so. */
  onHandOver(nowMs: number): boolean {
    this.#awake(nowMs);
    if (this.#standing !== "standby" || this.#gate?.kind === "running") return false;
    this.#handedOver = true;
    return true;
  }

  /** An effort of the shell, or its start, ended so. */
  onBecame(became: Became, nowMs: number): void {
    this.#awake(nowMs);
    this.#effortMs = null;
    switch (became.kind) {
      case "contend-again":
        this.#effortFailedMs = nowMs;
        return;
      case "primary":
        this.#become("primary", nowMs);
        this.#epoch = became.epoch;
        this.#fencedMs = became.fencedMs;
        this.#roster = became.roster;
        this.#settled = true;
        return;
      case "suspect":
        this.#become("suspect", nowMs);
        this.#because = became.because;
        return;
      default:
        this.#become(became.kind, nowMs);
    }
  }

  // ---- what it concludes ----------------------------------------------------------------------------

  /** The next effects. Called at least every `askMs`, and whenever something was heard. */
  tick(nowMs: number): Effect[] {
    this.#awake(nowMs);
    const effects: Effect[] = [];
    for (const [name, other] of this.#others) {
      if (nowMs - other.askedMs < this.#options.timers.askMs) continue;
      other.askedMs = nowMs;
      effects.push({ kind: "ask", to: name });
    }
    const views = this.views(nowMs);
    this.#learnPrimary(views);
    switch (this.#standing) {
      case "standby":
        this.#standbyTurn(views, nowMs, effects);
        break;
      case "candidate":
        this.#candidateTurn(views, nowMs, effects);
        break;
      case "contender":
        this.#contenderTurn(views, nowMs, effects);
        break;
      case "suspect":
        this.#suspectTurn(nowMs, effects);
        break;
      case "primary":
        this.#primaryTurn(views, nowMs, effects);
        break;
      default:
    }
    return effects;
  }

  #standbyTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    const { timers } = this.#options;
    const primary = this.#known?.name ?? null;
    const lead = views.find(({ name }) => name === primary);
    const isQuiet = lead?.sight.kind === "alive" && lead.report?.standing === "primary";
    if (isQuiet && !this.#handedOver) {
      this.#logLife = null;
      this.#logMark = null;
      this.#passedOverSinceMs = null;
      this.#because = `follows ${primary}`;
      return;
    }
    this.#look(nowMs, effects);
    if (nowMs < this.#gateNotBeforeMs && !this.#handedOver) return;
    const evidence = this.#rules.decideEvidence(
      {
        nowMs,
        self: this.#asCandidate(),
        inRoster: this.#roster === null || this.#roster.members.includes(this.#self.name),
        inSync:
          this.#roster === null || this.#roster.inSync === null
            ? null
            : this.#roster.inSync.includes(this.#self.name),
        isPaused: this.#isPaused,
        canFence: this.#options.canFence,
        primary,
        members: views.filter(({ name }) => this.#counts(name)),
        logLife: this.#logLife,
        storeEnd: this.#storeEnd,
        passedOverSinceMs: this.#passedOverSinceMs,
        startedMs: this.#startedMs,
        isHandedOver: this.#handedOver,
      },
      timers,
    );
    this.#because = evidence.because;
    if (evidence.kind === "wait" && evidence.waitsForBetter) this.#passedOverSinceMs ??= nowMs;
    else if (evidence.kind !== "begin") this.#passedOverSinceMs = null;
    if (evidence.kind !== "begin") return;
    this.#become("candidate", nowMs);
    this.#gate = beginGate(nowMs);
    effects.push({ kind: "say", sentence: "gate begun", because: evidence.because });
    this.#candidateTurn(views, nowMs, effects);
  }

  #candidateTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    if (this.#gate?.kind !== "running") return;
    const { begunMs, timeline } = this.#gate;
    const lead = views.find(({ sight, report, reportMs }) => {
      const isFresh = sight.kind === "alive" && (reportMs ?? -Infinity) > begunMs;
      return isFresh && report?.standing === "primary";
    });
    // Once pg_promote was called there is no way back but the log's word.
    const isReversible = timeline === null && !(this.#gate.step === "promote" && this.#gateBusy);
    if (lead !== undefined && isReversible && !this.#handedOver) {
      effects.push(...this.onGate({ kind: "refused", because: `${lead.name} leads after all` }, nowMs));
      return;
    }
    if (this.#gate.step !== "open") {
      if (this.#gateBusy) return;
      this.#gateBusy = true;
      const inSight = views
        .filter(({ name, sight, report }) => {
          const counts = this.#counts(name) && sight.kind === "alive";
          return counts && report !== null && report.standing !== "primary" && report.eligible;
        })
        .map(({ name }) => name);
      const { synchronous } = this.#options;
      effects.push({
        kind: "gate",
        step: this.#gate.step,
        plan: {
          epoch: this.#gate.epoch,
          promotion: this.#gate.promotion,
          primary: this.#known?.name ?? null,
          configured: this.#configured,
          synchronousNames:
            synchronous === null ? null : firstSynchronousNames(inSight, this.#countedNames(), synchronous),
        },
      });
      return;
    }
    this.#settled = true;
    this.#renew(views, nowMs, effects);
    this.#decideDoors(views, nowMs, effects);
    if (this.#doors.kind === "shut") this.#become("contender", nowMs);
    if (this.#doors.kind !== "open") return;
    this.#gate = openGate(this.#gate);
    this.#standing = "primary";
    this.#handedOver = false;
  }

  #contenderTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    this.#look(nowMs, effects);
    if (this.#effortMs !== null || nowMs - this.#effortFailedMs < GATE_PAUSE_MS) return;
    const decision = this.#rules.decideContend(
      {
        nowMs,
        startedMs: this.#startedMs,
        counted: this.#countedNames(),
        members: views,
        logLife: this.#logLife,
        promotionPending: this.#promotionPending,
        self: this.#asCandidate(),
      },
      this.#options.timers,
    );
    this.#because = decision.because;
    if (decision.kind === "wait") return;
    this.#effortMs = nowMs;
    if (decision.kind === "rejoin") effects.push(decision);
    else effects.push({ kind: decision.kind, because: decision.because });
  }

  #suspectTurn(nowMs: number, effects: Effect[]): void {
    if (this.#effortMs !== null || nowMs - this.#effortFailedMs < GATE_PAUSE_MS) return;
    const known = this.#known;
    const lead = known === null ? undefined : this.#others.get(known.name);
    const leads =
      lead !== undefined &&
      lead.report?.standing === "primary" &&
      this.#rules.sightOf(lead.watch, nowMs, this.#options.timers).kind === "alive";
    if (!leads && nowMs - this.#suspectSinceMs < this.#options.timers.coldStartMs) return;
    this.#effortMs = nowMs;
    effects.push({
      kind: "rejoin",
      primary: leads ? known!.name : null,
      because: leads ? `${known!.name} leads` : "no member leads: from the store alone",
    });
  }

  #primaryTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    this.#renew(views, nowMs, effects);
    this.#decideDoors(views, nowMs, effects);
    if (this.#doors.kind === "shut") {
      this.#become("contender", nowMs);
      return;
    }
    if (this.#epoch === null) {
      if (nowMs - this.#effortFailedMs >= GATE_PAUSE_MS && this.#effortMs === null) {
        this.#effortMs = nowMs;
        effects.push({ kind: "take-over" });
      }
      return;
    }
    if (this.#roster === null || this.#wantedRoster !== null || this.#doors.kind !== "open") return;
    const plan = this.#rules.planRoster(
      this.#roster,
      this.#self.name,
      views.map(({ name, sight, report }) => {
        const heardMs = this.#others.get(name)!.watch.heardMs;
        return {
          name,
          heardAgoMs: heardMs === null ? null : nowMs - heardMs,
          isMember:
            sight.kind === "alive" &&
            report?.standing === "standby" &&
            report.systemId === this.#local.systemId,
        };
      }),
      { forgetMs: this.#options.timers.forgetMs, upMs: nowMs - this.#startedMs },
    );
    if (plan !== null) this.#swapRoster(plan.roster, plan.because, effects);
    else if (this.#options.synchronous !== null) this.#synchronousTurn(views, nowMs, effects);
  }

  #synchronousTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    const { streaming, configured, configuredAt } = this.#synchronous;
    const roster = this.#roster!;
    const wanted = views
      .filter(({ name, sight, report }) => {
        const isThere = sight.kind === "alive" && report?.standing === "standby" && report.eligible;
        return isThere && roster.members.includes(name);
      })
      .map(({ name }) => name);
    const isMissing = configured.some(
      (name) => !wanted.includes(name) || !streaming.some((standby) => standby.name === name),
    );
    if (!isMissing) this.#missingSinceMs = null;
    else this.#missingSinceMs ??= nowMs;
    if (this.#synchronousBusy) return;
    const step = this.#rules.planSynchronous({
      nowMs,
      configured,
      recorded: roster.inSync ?? [],
      streaming,
      wanted,
      configuredAt,
      missingSinceMs: this.#missingSinceMs,
      policy: this.#options.synchronous!,
      degradeMs: this.#options.timers.degradeMs,
    });
    if (step.kind === "record") this.#swapRoster({ ...roster, inSync: step.names }, step.because, effects);
    if (step.kind === "configure") {
      this.#synchronousBusy = true;
      effects.push({ kind: "synchronous", names: step.names, because: step.because });
    }
  }

  #swapRoster(to: Roster, because: string, effects: Effect[]): void {
    this.#wantedRoster = to;
    effects.push({ kind: "swap-roster", from: this.#roster!, to, because });
  }

  /** In doubt about a member the log is asked, and a sign of life is left for who cannot see this node. */
  #renew(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    const { timers } = this.#options;
    if (this.#epoch === null) return;
    const counted = this.#counted();
    const licence = licenceOf({ nowMs, counted, logConfirmedMs: null });
    const isSure = licence.fromMs !== null && nowMs - licence.fromMs <= timers.doubtMs;
    if (isSure) return;
    if (nowMs - this.#confirmBegunMs >= timers.renewMs) {
      this.#confirmBegunMs = nowMs;
      effects.push({ kind: "confirm-log" });
    }
    const isDark = views.some(({ name, sight }) => this.#counts(name) && sight.kind !== "alive");
    if (isDark && this.#doors.kind === "open" && nowMs - this.#signedMs >= timers.signMs) {
      this.#signedMs = nowMs;
      effects.push({ kind: "sign" });
    }
  }

  #decideDoors(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    const rival = views.find(
      ({ sight, report }) =>
        sight.kind === "alive" &&
        report?.standing === "primary" &&
        (report.epoch ?? -1) > (this.#epoch ?? -1),
    );
    const doors = this.#rules.decideDoors(
      {
        nowMs,
        settled: this.#settled,
        fencedMs: this.#handedOver ? null : this.#fencedMs,
        isFenced: this.#isFenced,
        outrankedBy: rival?.name ?? null,
        counted: this.#counted(),
        logConfirmedMs: this.#logConfirmedMs,
        wereOpen: this.#doors.kind === "open" || this.#doors.kind === "frozen",
        frozenSinceMs: this.#frozenSinceMs,
      },
      this.#options.timers,
    );
    const isNew = doors.kind !== this.#doors.kind;
    if (doors.kind === "frozen") this.#frozenSinceMs ??= nowMs;
    else this.#frozenSinceMs = null;
    this.#doors = doors;
    this.#because = doors.because;
    if (isNew) effects.push({ kind: "doors", doors });
  }

  #asCandidate(): Candidate {
    return { ...this.#self, timeline: this.#local.timeline, recordEnd: this.#local.recordEnd };
  }

  #look(nowMs: number, effects: Effect[]): void {
    if (nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    effects.push({ kind: "look-at-log" });
  }

  #counted(): CountedMember[] {
    return this.#countedNames().map((name) => ({
      name,
      grantedMs: this.#others.get(name)?.grantedMs ?? null,
    }));
  }

  #countedNames(): readonly string[] {
    if (this.#roster !== null) return countedMembers(this.#roster, this.#wantedRoster, this.#self.name);
    return this.#configured.filter((name) => name !== this.#self.name);
  }

  #counts(name: string): boolean {
    return this.#roster === null || this.#roster.members.includes(name);
  }

  #take(other: Other, report: Report, nowMs: number): void {
    other.watch = afterWord(other.watch, nowMs);
    other.report = report;
    other.reportMs = nowMs;
  }

  #learnPrimary(views: readonly MemberView[]): void {
    for (const { name, sight, report } of views) {
      if (sight.kind !== "alive" || report?.standing !== "primary") continue;
      const epoch = report.epoch ?? -1;
      if (this.#known === null || epoch >= this.#known.epoch) this.#known = { name, epoch };
    }
  }

  #become(standing: Standing, nowMs: number): void {
    const was = this.#standing;
    this.#standing = standing;
    this.#gate = null;
    this.#gateBusy = false;
    this.#effortMs = null;
    this.#settled = false;
    this.#isFenced = false;
    this.#epoch = null;
    this.#fencedMs = null;
    this.#logConfirmedMs = null;
    this.#wantedRoster = null;
    this.#synchronousBusy = false;
    this.#logLife = null;
    this.#logMark = null;
    this.#frozenSinceMs = null;
    if (standing !== "primary") this.#doors = { kind: "waiting", because: `it is ${standing}` };
    if (standing === "suspect" && was !== "suspect") this.#suspectSinceMs = nowMs;
  }

  /** A pause of this process: its silence proves nothing. Licences are not moved: they expire. */
  #awake(nowMs: number): void {
    const pauseMs = nowMs - this.#lastMs;
    this.#lastMs = Math.max(this.#lastMs, nowMs);
    if (pauseMs < this.#options.timers.sleepMs) return;
    for (const other of this.#others.values()) other.watch = afterSleep(other.watch, pauseMs);
    this.#logLife = null;
    this.#logMark = null;
  }

  /** One line for people. */
  describe(): string {
    return `${this.#self.name} ${this.#standing} at ${formatLsn(this.#local.recordEnd)}: ${this.#because}`;
  }
}

const newOther = (nowMs: number): Other => ({
  watch: newWatch(nowMs),
  report: null,
  reportMs: null,
  grantedMs: null,
  askedMs: -Infinity,
});

/** After a gate or an effort that brought nothing. */
const GATE_PAUSE_MS = 1_000;
/** In doubt, a standby looks at the log this often. */
const LOOK_MS = 500;
