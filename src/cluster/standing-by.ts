// The part of the mind that waits for its hour: evidence, patience with better candidates, hand-over, an operator's pause.

import type { Candidate } from "./candidates.ts";
import type { Evidence, MemberView } from "./evidence.ts";
import type { LogGlimpses } from "./log-glimpses.ts";
import type { MindOptions, Rules } from "./mind-types.ts";
import { type Holder, type Roster, holdsAll, isOrphaned } from "./roster.ts";

export class StandingBy {
  readonly #options: MindOptions;
  readonly #rules: Rules;
  readonly #startedMs: number;
  /** The primary stopped, and asked this node to take over. */
  isHandedOver = false;
  /** Until when an operator's order to promote by force stands. */
  #forcedUntilMs = -Infinity;
  /** After a gate that brought nothing. */
  notBeforeMs = 0;
  #passedOverSinceMs: number | null = null;

  constructor(options: MindOptions, rules: Rules, startedMs: number) {
    this.#options = options;
    this.#rules = rules;
    this.#startedMs = startedMs;
  }

  force(nowMs: number): void {
    this.#forcedUntilMs = nowMs + FORCED_FOR_MS;
  }

  isForced(nowMs: number): boolean {
    return nowMs < this.#forcedUntilMs;
  }

  /** What was asked of this standby is done, or void. */
  endOrders(): void {
    this.isHandedOver = false;
    this.#forcedUntilMs = -Infinity;
  }

  /** A primary is in sight: patience begins anew. */
  rest(): void {
    this.#passedOverSinceMs = null;
  }

  /** Null: too soon after the last gate. */
  decide(
    self: Candidate & Holder,
    primary: string | null,
    views: readonly MemberView[],
    roster: Roster | null,
    log: LogGlimpses,
    nowMs: number,
  ): Evidence | null {
    if (this.isForced(nowMs)) return { kind: "begin", because: "an operator promotes by force" };
    if (nowMs < this.notBeforeMs && !this.isHandedOver) return null;
    const isIn = (name: string): boolean => roster === null || roster.members.includes(name);
    const inSight = views.flatMap(({ sight, report }) => (sight.kind === "alive" ? (report ?? []) : []));
    // Null: everybody may lead, because the mode does not ask or because nobody who held everything is left.
    const holders =
      roster === null || roster.inSync === null || isOrphaned(roster, [...inSight, self])
        ? null
        : [...inSight, self].filter((holder) => holdsAll(roster, holder)).map(({ name }) => name);
    const evidence = this.#rules.decideEvidence(
      {
        nowMs,
        self,
        inRoster: isIn(self.name),
        holders,
        isPaused: roster?.isPaused ?? false,
        canFence: this.#options.canFence,
        primary,
        members: views.filter(({ name }) => isIn(name)),
        logLife: log.life,
        storeEnd: log.storeEnd,
        passedOverSinceMs: this.#passedOverSinceMs,
        startedMs: this.#startedMs,
        isHandedOver: this.isHandedOver,
      },
      this.#options.timers,
    );
    const waitsForBetter = evidence.kind === "wait" && evidence.waitsForBetter;
    this.#passedOverSinceMs = waitsForBetter ? (this.#passedOverSinceMs ?? nowMs) : null;
    return evidence;
  }
}

/** A primary that was just lost may count as seen for some seconds yet; longer than that and a gate together takes. */
const FORCED_FOR_MS = 60_000;
