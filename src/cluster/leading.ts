// The part of the mind that leads: the licence and the doors, the roster, the synchronous standbys.

import type { Acquaintances } from "./acquaintances.ts";
import { type Doors, licenceOf } from "./doors.ts";
import type { MemberView } from "./evidence.ts";
import { planGate } from "./gate-plan.ts";
import type { Effect, GatePlan, MindOptions, Rules, SynchronousState } from "./mind-types.ts";
import { type Holder, type Roster, countedMembers } from "./roster.ts";

export class Leading {
  readonly #self: string;
  readonly #options: MindOptions;
  readonly #rules: Rules;
  readonly #others: Acquaintances;
  readonly #startedMs: number;
  /** Position of this node's fence; null: it holds none. */
  epoch: number | null = null;
  fencedMs: number | null = null;
  isFenced = false;
  settled = false;
  doors: Doors = { kind: "waiting", because: "it does not lead" };
  roster: Roster | null = null;
  /** Who counts where no roster is known yet. */
  configured: readonly string[] = [];
  /** Null until it was measured in this term. */
  synchronous: SynchronousState | null = null;
  isSynchronousBusy = false;
  #wantedRoster: Roster | null = null;
  #logConfirmedMs: number | null = null;
  #confirmBegunMs = -Infinity;
  #signedMs = -Infinity;
  #frozenSinceMs: number | null = null;
  #missingSinceMs: number | null = null;

  constructor(self: string, options: MindOptions, rules: Rules, others: Acquaintances, startedMs: number) {
    this.#self = self;
    this.#options = options;
    this.#rules = rules;
    this.#others = others;
    this.#startedMs = startedMs;
  }

  /** A new term, or none. */
  reset(because: string): void {
    this.epoch = null;
    this.fencedMs = null;
    this.isFenced = false;
    this.settled = false;
    this.doors = { kind: "waiting", because };
    this.synchronous = null;
    this.isSynchronousBusy = false;
    this.#wantedRoster = null;
    this.#logConfirmedMs = null;
    this.#frozenSinceMs = null;
    this.#missingSinceMs = null;
  }

  onLogConfirmed(begunMs: number): void {
    this.#logConfirmedMs = Math.max(this.#logConfirmedMs ?? -Infinity, begunMs);
  }

  /** The swap's outcome is known; null: nothing was written. */
  onRoster(written: Roster | null): void {
    if (written !== null) this.roster = written;
    this.#wantedRoster = null;
  }

  countedNames(): readonly string[] {
    if (this.roster !== null) return countedMembers(this.roster, this.#wantedRoster, this.#self);
    return this.configured.filter((name) => name !== this.#self);
  }

  /** What the running gate's steps need to know. */
  planGate(
    views: readonly MemberView[],
    self: Holder & { readonly isForced: boolean },
    { epoch, promotion }: Pick<GatePlan, "epoch" | "promotion">,
  ): GatePlan {
    const counted = views.filter(({ name }) => this.counts(name));
    const plan = planGate(counted, self, this.roster, this.countedNames(), this.#options.synchronous);
    return {
      ...plan,
      isOrphaned: plan.isOrphaned || self.isForced,
      epoch,
      promotion,
      primary: this.#others.known?.name ?? null,
      configured: this.configured,
    };
  }

  licenceLeftMs(nowMs: number): number | null {
    const counted = this.#others.counted(this.countedNames());
    const { by, fromMs } = licenceOf({ nowMs, counted, logConfirmedMs: this.#logConfirmedMs });
    if (by === "alone") return null;
    return fromMs === null ? 0 : fromMs + this.#options.timers.freezeMs - nowMs;
  }

  counts(name: string): boolean {
    return this.roster === null || this.roster.members.includes(name);
  }

  /** In doubt about a member the log is asked, and a sign of life is left for who cannot see this node. */
  renew(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    const { timers } = this.#options;
    if (this.epoch === null) return;
    const counted = this.#others.counted(this.countedNames());
    const { fromMs } = licenceOf({ nowMs, counted, logConfirmedMs: null });
    if (fromMs !== null && nowMs - fromMs <= timers.doubtMs) return;
    if (nowMs - this.#confirmBegunMs >= timers.renewMs) {
      this.#confirmBegunMs = nowMs;
      effects.push({ kind: "confirm-log" });
    }
    const isDark = views.some(({ name, sight }) => this.counts(name) && sight.kind !== "alive");
    if (isDark && this.doors.kind === "open" && nowMs - this.#signedMs >= timers.signMs) {
      this.#signedMs = nowMs;
      effects.push({ kind: "sign" });
    }
  }

  decide(views: readonly MemberView[], isHandedOver: boolean, nowMs: number, effects: Effect[]): Doors {
    const rival = views.find(
      ({ sight, report }) =>
        sight.kind === "alive" && report?.standing === "primary" && (report.epoch ?? -1) > (this.epoch ?? -1),
    );
    const was = this.doors.kind;
    this.doors = this.#rules.decideDoors(
      {
        nowMs,
        settled: this.settled,
        fencedMs: isHandedOver ? null : this.fencedMs,
        isFenced: this.isFenced,
        outrankedBy: rival?.name ?? null,
        counted: this.#others.counted(this.countedNames()),
        logConfirmedMs: this.#logConfirmedMs,
        wereOpen: was === "open" || was === "frozen",
        frozenSinceMs: this.#frozenSinceMs,
      },
      this.#options.timers,
    );
    if (this.doors.kind === "frozen") this.#frozenSinceMs ??= nowMs;
    else this.#frozenSinceMs = null;
    if (this.doors.kind !== was) effects.push({ kind: "doors", doors: this.doors });
    return this.doors;
  }

  /** Who counts, then whom commits wait for; one change at a time. */
  rosterTurn(views: readonly MemberView[], systemId: string | null, nowMs: number, effects: Effect[]): void {
    if (this.roster === null || this.#wantedRoster !== null || this.doors.kind !== "open") return;
    const plan = this.#rules.planRoster(
      this.roster,
      this.#self,
      views.map(({ name, sight, report }) => {
        const heardMs = this.#others.heardMs(name);
        const isMember = sight.kind === "alive" && report?.standing === "standby";
        return {
          name,
          heardAgoMs: heardMs === null ? null : nowMs - heardMs,
          isMember: isMember && report.systemId === systemId,
        };
      }),
      { forgetMs: this.#options.timers.forgetMs, upMs: nowMs - this.#startedMs },
    );
    if (plan !== null) this.swapRoster(plan.roster, plan.because, effects);
    else if (this.#options.synchronous !== null) this.#synchronousTurn(views, nowMs, effects);
  }

  swapRoster(to: Roster, because: string, effects: Effect[]): void {
    this.#wantedRoster = to;
    effects.push({ kind: "swap-roster", from: this.roster!, to, because });
  }

  get isSwapping(): boolean {
    return this.#wantedRoster !== null;
  }

  #synchronousTurn(views: readonly MemberView[], nowMs: number, effects: Effect[]): void {
    if (this.synchronous === null) return;
    const { streaming, configured, configuredAt } = this.synchronous;
    const roster = this.roster!;
    const volumeOf = (name: string): string | null =>
      views.find((view) => view.name === name && view.sight.kind === "alive")?.report?.volume ?? null;
    const holders = roster.inSync ?? [];
    const valid = holders.filter(({ name, volume }) => (volumeOf(name) ?? volume) === volume);
    if (valid.length < holders.length) {
      this.swapRoster({ ...roster, inSync: valid }, "a standby came back with another volume", effects);
      return;
    }
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
    if (this.isSynchronousBusy) return;
    const step = this.#rules.planSynchronous({
      nowMs,
      configured,
      recorded: holders.map(({ name }) => name),
      streaming,
      wanted,
      configuredAt,
      missingSinceMs: this.#missingSinceMs,
      policy: this.#options.synchronous!,
      degradeMs: this.#options.timers.degradeMs,
    });
    if (step.kind === "record") {
      const inSync = step.names.flatMap((name) => {
        // Its own word: the connection that was measured may be that of a volume it no longer has.
        const streams = views.find((view) => view.name === name)?.report?.streaming === true;
        const volume = volumeOf(name);
        return volume === null || !streams ? [] : { name, volume };
      });
      if (inSync.length === step.names.length) this.swapRoster({ ...roster, inSync }, step.because, effects);
    }
    if (step.kind === "configure") {
      this.isSynchronousBusy = true;
      effects.push({ kind: "synchronous", names: step.names, because: step.because });
    }
  }
}
