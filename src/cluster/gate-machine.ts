// The gate as a pure machine: fence, claim, fetch, look again, promotion id, promote, history, declare, doors (G1 to G5).

import type { Lsn } from "../wal/lsn.ts";

/** What a step of the gate brought. */
export type GateEvent =
  /** T1 to T3 done: this process owns the log. `atMs` is when the fence was known to stand. */
  | { readonly kind: "fenced"; readonly epoch: number; readonly atMs: number }
  | { readonly kind: "claimed" }
  /** Everything accepted is here and replayed to RE(End). */
  | { readonly kind: "fetched"; readonly recordEnd: Lsn }
  /** The last look: what the old primary, and every member in sight, says now. */
  | { readonly kind: "looked"; readonly leads: string | null }
  | { readonly kind: "marked"; readonly promotion: string }
  | { readonly kind: "promoted"; readonly timeline: number }
  | { readonly kind: "recorded" }
  | { readonly kind: "declared" }
  /** The step says no, for good: this gate ends. */
  | { readonly kind: "refused"; readonly because: string }
  /** The step brought nothing yet (the store does not answer): the same step again. */
  | { readonly kind: "again"; readonly because: string };

/** One step to perform; the names of protocol section 9. */
export type GateStep =
  | "fence"
  | "claim"
  | "fetch"
  | "look"
  | "mark"
  | "promote"
  | "record"
  | "declare"
  | "open";

export type GateState =
  | {
      readonly kind: "running";
      readonly step: GateStep;
      readonly begunMs: number;
      readonly epoch: number | null;
      readonly fencedMs: number | null;
      readonly recordEnd: Lsn | null;
      readonly promotion: string | null;
      readonly timeline: number | null;
    }
  /** Nothing was promoted; the standby goes on as it was. */
  | { readonly kind: "abandoned"; readonly because: string }
  /** Promoted, and the log did not accept it: stop Postgres; the data is suspect (G5, G8). */
  | { readonly kind: "lost"; readonly because: string }
  | { readonly kind: "open"; readonly epoch: number; readonly fencedMs: number; readonly timeline: number };

export type RunningGate = Extract<GateState, { kind: "running" }>;

/** The gate before its first step. */
export const beginGate = (nowMs: number): RunningGate => ({
  kind: "running",
  step: "fence",
  begunMs: nowMs,
  epoch: null,
  fencedMs: null,
  recordEnd: null,
  promotion: null,
  timeline: null,
});

/** Before the promotion a gate may take this long; an abandoned one may begin again. */
export const GATE_LIMIT_MS = 30_000;

/** The state after an event of the running step. An event of another step is ignored: it came late. */
export function advanceGate(gate: RunningGate, event: GateEvent, nowMs: number): GateState {
  if (event.kind === "refused") {
    // Whether pg_promote came through before the refusal is not asked: such data is looked at again either way.
    const isPromoted = gate.timeline !== null || gate.step === "promote";
    return { kind: isPromoted ? "lost" : "abandoned", because: event.because };
  }
  if (event.kind === "again") {
    // Once promoted there is no way back but the log's word: it is asked until it answers.
    if (gate.timeline === null && nowMs - gate.begunMs > GATE_LIMIT_MS)
      return { kind: "abandoned", because: `not done within ${GATE_LIMIT_MS} ms: ${event.because}` };
    return gate;
  }
  if (EVENT_OF[gate.step] !== event.kind) return gate;
  switch (event.kind) {
    case "fenced":
      return { ...gate, step: "claim", epoch: event.epoch, fencedMs: event.atMs };
    case "claimed":
      return { ...gate, step: "fetch" };
    case "fetched":
      return { ...gate, step: "look", recordEnd: event.recordEnd };
    case "looked":
      if (event.leads !== null) return { kind: "abandoned", because: `${event.leads} leads after all` };
      return { ...gate, step: "mark" };
    case "marked":
      return { ...gate, step: "promote", promotion: event.promotion };
    case "promoted":
      return { ...gate, step: "record", timeline: event.timeline };
    case "recorded":
      return { ...gate, step: "declare" };
    case "declared":
      return { ...gate, step: "open" };
    default:
      return gate;
  }
}

/** The doors said open (G5 and the licence): the gate is through. */
export function openGate(gate: RunningGate): GateState {
  if (gate.step !== "open" || gate.epoch === null || gate.fencedMs === null || gate.timeline === null)
    return gate;
  return { kind: "open", epoch: gate.epoch, fencedMs: gate.fencedMs, timeline: gate.timeline };
}

const EVENT_OF: Record<GateStep, GateEvent["kind"] | null> = {
  fence: "fenced",
  claim: "claimed",
  fetch: "fetched",
  look: "looked",
  mark: "marked",
  promote: "promoted",
  record: "recorded",
  declare: "declared",
  open: null,
};
