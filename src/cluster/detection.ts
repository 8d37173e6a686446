// Is a member alive, silent or gone? Decided from closes, answers and a clock's reading alone.

import type { Timers } from "./timers.ts";

/** Why an ask brought no answer. A name that does not resolve is no answer, and never a proof of death. */
export type AskFailure = "timeout" | "refused" | "reset" | "unreachable" | "dns" | "bad-answer";

/** What was observed of one member, by this node's monotonic clock. */
export interface Watch {
  /** When watching began: the start of this process. */
  readonly sinceMs: number;
  /** The last word from the member: its answer, or its own ask. */
  readonly heardMs: number | null;
  /** When the member closed an open connection, after the last word. */
  readonly closedMs: number | null;
  readonly failure: AskFailure | null;
}

export type Sight =
  | { readonly kind: "alive" }
  | { readonly kind: "silent"; readonly forMs: number; readonly because: string }
  | { readonly kind: "gone"; readonly how: "closed" | "silence" | "never-heard"; readonly because: string };

export const newWatch = (nowMs: number): Watch => ({
  sinceMs: nowMs,
  heardMs: null,
  closedMs: null,
  failure: null,
});

/** A good answer, or an ask by the member itself. */
export const afterWord = (watch: Watch, nowMs: number): Watch => ({
  ...watch,
  heardMs: nowMs,
  closedMs: null,
  failure: null,
});

/** The member ended a connection that had answered before. */
export const afterClose = (watch: Watch, nowMs: number): Watch =>
  watch.heardMs === null || watch.closedMs !== null ? watch : { ...watch, closedMs: nowMs };

export const afterFailure = (watch: Watch, failure: AskFailure): Watch => ({ ...watch, failure });

/** This node slept for `ms`: nothing can be concluded from silence in that time. */
export const afterSleep = (watch: Watch, ms: number): Watch => ({
  ...watch,
  sinceMs: watch.sinceMs + ms,
  heardMs: watch.heardMs === null ? null : watch.heardMs + ms,
  closedMs: watch.closedMs === null ? null : watch.closedMs + ms,
});

/** What to think of the member now. */
export function sightOf(watch: Watch, nowMs: number, timers: Timers): Sight {
  const quietMs = Math.round(nowMs - (watch.heardMs ?? watch.sinceMs));
  if (watch.heardMs === null) {
    if (quietMs < timers.coldStartMs) return { kind: "silent", forMs: quietMs, because: "not heard yet" };
    return { kind: "gone", how: "never-heard", because: `not heard within ${timers.coldStartMs} ms` };
  }
  if (watch.closedMs !== null && quietMs >= timers.closedMs)
    return { kind: "gone", how: "closed", because: `closed its connection, no answer for ${quietMs} ms` };
  if (quietMs >= timers.silenceMs)
    return { kind: "gone", how: "silence", because: `no answer for ${quietMs} ms${lastFailure(watch)}` };
  if (watch.closedMs !== null || quietMs >= timers.doubtMs)
    return { kind: "silent", forMs: quietMs, because: `no answer for ${quietMs} ms${lastFailure(watch)}` };
  return { kind: "alive" };
}

const lastFailure = (watch: Watch): string => (watch.failure === null ? "" : ` (${watch.failure})`);
