// A planned change of the primary: stop, promote, turn round. The old primary's side as a pure machine.

import type { Lsn } from "../wal/lsn.ts";

export type SwitchoverStep =
  /** Ask the successor whether it is ready, and that its replay is near. */
  | "prepare"
  /** Fast stop of Postgres: the standby gets the shutdown checkpoint, the log is settled (W8). */
  | "stop"
  /** The successor has received everything up to the shutdown checkpoint. */
  | "confirm"
  /** It runs its gate; nobody else holds a licence, so there is no wait. */
  | "hand-over"
  /** standby.signal, primary_conninfo, start. */
  | "turn-round"
  | "done"
  /** Nothing was promoted: lead again. */
  | "resume"
  /** It cannot be known whether the successor leads: contend, the log decides. */
  | "contend";

export interface Switchover {
  readonly step: SwitchoverStep;
  readonly successor: string;
  readonly begunMs: number;
  /** End of the shutdown checkpoint. */
  readonly stoppedAt: Lsn | null;
  readonly because: string;
}

export type SwitchoverEvent =
  | { readonly kind: "ready" }
  | { readonly kind: "stopped"; readonly at: Lsn }
  | { readonly kind: "received" }
  | { readonly kind: "taken-over" }
  | { readonly kind: "turned-round" }
  | { readonly kind: "refused"; readonly because: string }
  /** No answer: nothing is known. */
  | { readonly kind: "silence"; readonly because: string };

export const beginSwitchover = (successor: string, nowMs: number, because: string): Switchover => ({
  step: "prepare",
  successor,
  begunMs: nowMs,
  stoppedAt: null,
  because,
});

/** The state after an event. A refusal before the hand-over resumes; silence after it leaves the decision to the log. */
export function advanceSwitchover(state: Switchover, event: SwitchoverEvent): Switchover {
  const to = (step: SwitchoverStep, because = state.because): Switchover => ({ ...state, step, because });
  switch (event.kind) {
    case "ready":
      return state.step === "prepare" ? to("stop") : state;
    case "stopped":
      return state.step === "stop" ? { ...to("confirm"), stoppedAt: event.at } : state;
    case "received":
      return state.step === "confirm" ? to("hand-over") : state;
    case "taken-over":
      return state.step === "hand-over" ? to("turn-round") : state;
    case "turned-round":
      return state.step === "turn-round" ? to("done") : state;
    case "refused":
      return to(isStopped(state.step) ? "resume" : "done", event.because);
    case "silence":
      if (state.step === "hand-over") return to("contend", event.because);
      return to(isStopped(state.step) ? "resume" : "done", event.because);
    default:
      return state;
  }
}

const isStopped = (step: SwitchoverStep): boolean => step === "confirm" || step === "hand-over";
