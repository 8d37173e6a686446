// May this child start again? Erlang's restart budget, as arithmetic.

export type RestartPolicy = "permanent" | "transient" | "temporary";

export interface RestartBudget {
  readonly policy: RestartPolicy;
  /** Starts allowed within the window; one more ends the container. */
  readonly starts: number;
  readonly windowMs: number;
  /** Pause before the first restart; doubles with each start in the window. */
  readonly firstPauseMs: number;
  readonly mostPauseMs: number;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export type RestartDecision = { readonly because: string } & (
  | { readonly kind: "restart"; readonly pauseMs: number }
  | { readonly kind: "leave" }
  | { readonly kind: "give-up" }
);

/**
 * Decides after an exit. `startsMs` are the monotonic moments of the starts so far, the one that just ended included.
 * A permanent child comes back always, a transient one unless it ended with status 0, a temporary one never.
 */
export function decideRestart(
  { policy, starts, windowMs, firstPauseMs, mostPauseMs }: RestartBudget,
  exit: ChildExit,
  startsMs: readonly number[],
  nowMs: number,
): RestartDecision {
  const how = describeExit(exit);
  if (policy === "temporary") return { kind: "leave", because: `it runs once and ${how}` };
  if (policy === "transient" && exit.code === 0) return { kind: "leave", because: "it finished" };
  const recent = startsMs.filter((at) => nowMs - at < windowMs).length;
  if (recent >= starts)
    return { kind: "give-up", because: `it ${how} and started ${recent} times within ${windowMs / 1000} s` };
  const pauseMs = Math.min(mostPauseMs, firstPauseMs * 2 ** Math.max(0, recent - 1));
  return { kind: "restart", pauseMs, because: `it ${how}` };
}

/** `ended with status 3` or `was ended by SIGKILL`. */
export function describeExit({ code, signal }: ChildExit): string {
  return signal === null ? `ended with status ${code}` : `was ended by ${signal}`;
}
