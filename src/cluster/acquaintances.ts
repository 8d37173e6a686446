// Everything a node heard of the others: watches, reports, grants, and the newest primary.

import {
  type AskFailure,
  type Watch,
  afterClose,
  afterFailure,
  afterSleep,
  afterWord,
  newWatch,
} from "./detection.ts";
import type { CountedMember } from "./doors.ts";
import type { MemberView } from "./evidence.ts";
import type { Rules } from "./mind-types.ts";
import type { Answer, Report } from "./report.ts";
import type { Timers } from "./timers.ts";

interface Other {
  watch: Watch;
  report: Report | null;
  reportMs: number | null;
  /** When the newest ask that it granted was *sent*. */
  grantedMs: number | null;
  askedMs: number;
}

export class Acquaintances {
  readonly #self: string;
  readonly #timers: Timers;
  readonly #sightOf: Rules["sightOf"];
  readonly #others = new Map<string, Other>();
  /** The primary with the newest fence that was ever heard of. */
  known: { readonly name: string; readonly epoch: number } | null = null;

  constructor(self: string, timers: Timers, sightOf: Rules["sightOf"]) {
    this.#self = self;
    this.#timers = timers;
    this.#sightOf = sightOf;
  }

  add(names: readonly string[], nowMs: number): void {
    for (const name of names) {
      if (name === this.#self || this.#others.has(name)) continue;
      this.#others.set(name, {
        watch: newWatch(nowMs),
        report: null,
        reportMs: null,
        grantedMs: null,
        askedMs: -Infinity,
      });
    }
  }

  /** Forgets a member that left; its watch begins anew if it comes back. */
  remove(name: string): void {
    this.#others.delete(name);
  }

  /** Its answer, or its own ask. */
  onWord(report: Report, nowMs: number): void {
    const other = this.#others.get(report.name);
    if (other === undefined) return;
    other.watch = afterWord(other.watch, nowMs);
    other.report = report;
    other.reportMs = nowMs;
  }

  onAnswer(name: string, { report, grants }: Answer, sentMs: number, nowMs: number): void {
    const other = this.#others.get(name);
    if (other === undefined || report.name !== name) return;
    this.onWord(report, nowMs);
    if (grants) other.grantedMs = Math.max(other.grantedMs ?? -Infinity, sentMs);
  }

  onClose(name: string, nowMs: number): void {
    const other = this.#others.get(name);
    if (other !== undefined) other.watch = afterClose(other.watch, nowMs);
  }

  onFailure(name: string, failure: AskFailure): void {
    const other = this.#others.get(name);
    if (other !== undefined) other.watch = afterFailure(other.watch, failure);
  }

  /** This node slept: the others' silence meanwhile proves nothing. */
  onSleep(ms: number): void {
    for (const other of this.#others.values()) other.watch = afterSleep(other.watch, ms);
  }

  /** Whom to ask now; each is asked every `askMs`. */
  takeDue(nowMs: number): string[] {
    const due: string[] = [];
    for (const [name, other] of this.#others) {
      if (nowMs - other.askedMs < this.#timers.askMs) continue;
      other.askedMs = nowMs;
      due.push(name);
    }
    return due;
  }

  views(nowMs: number): MemberView[] {
    return [...this.#others].map(([name, { watch, report, reportMs }]) => ({
      name,
      sight: this.#sightOf(watch, nowMs, this.#timers),
      report,
      reportMs,
    }));
  }

  learnPrimary(views: readonly MemberView[]): void {
    for (const { name, sight, report } of views) {
      if (sight.kind !== "alive" || report?.standing !== "primary") continue;
      const epoch = report.epoch ?? -1;
      if (this.known === null || epoch >= this.known.epoch) this.known = { name, epoch };
    }
  }

  heardMs(name: string): number | null {
    return this.#others.get(name)?.watch.heardMs ?? null;
  }

  counted(names: readonly string[]): CountedMember[] {
    return names.map((name) => ({ name, grantedMs: this.#others.get(name)?.grantedMs ?? null }));
  }
}
