// Every duration the cluster's decisions use, and the order they must keep: renew < freeze < quit < promote.

/** Milliseconds, by a node's own monotonic clock. */
export interface Timers {
  /** A member is asked for its report this often. */
  readonly askMs: number;
  /** An answer that takes longer is no answer. */
  readonly answerMs: number;
  /** Without a word for this long a member is "silent": the log is looked at, and a primary confirms its licence there. */
  readonly doubtMs: number;
  /** The peer closed the connection and gave no good answer for this long: gone. */
  readonly closedMs: number;
  /** Silence for this long: gone. Longer than the 5 s pause that must change nothing. */
  readonly silenceMs: number;
  /** A member that was never heard since this node started counts as gone after this long. */
  readonly coldStartMs: number;
  /** In doubt, a primary asks the log this often whether it is still the owner. */
  readonly renewMs: number;
  /** In doubt, a primary leaves a sign of life in the store this often. */
  readonly signMs: number;
  /** Postgres is frozen when the newest renewal was begun longer ago than this. */
  readonly freezeMs: number;
  /** What freezing may take, from the deadline to the last acknowledgement. */
  readonly freezeActMs: number;
  /** Frozen for this long without a renewal: Postgres is killed, its sessions are cut. */
  readonly quitMs: number;
  /** Two clocks may differ in speed by this part; both sides allow for it. */
  readonly driftRatio: number;
  /** The log counts as still when it did not change for this long: after a close, and after silence. */
  readonly stillAfterCloseMs: number;
  readonly stillAfterSilenceMs: number;
  /** A better candidate that does nothing for this long is passed over. */
  readonly candidateGraceMs: number;
  /** A former primary that comes up gets this long to take up its place before a standby does. */
  readonly contenderGraceMs: number;
  /** A gate that another member reports holds this one back no longer than this. */
  readonly gateStaleMs: number;
  /** A pause of the ticks longer than this is this node's own sleep: nothing was observed meanwhile. */
  readonly sleepMs: number;
  /** A member not heard for this long leaves the roster, and its slot is dropped. */
  readonly forgetMs: number;
  /** With the policy "bounded": a lost synchronous standby is waited for this long. */
  readonly degradeMs: number;
}

export const TIMERS: Timers = {
  askMs: 150,
  answerMs: 800,
  doubtMs: 400,
  closedMs: 2_000,
  silenceMs: 7_000,
  coldStartMs: 15_000,
  renewMs: 250,
  signMs: 1_000,
  freezeMs: 1_000,
  freezeActMs: 100,
  quitMs: 4_000,
  driftRatio: 0.01,
  stillAfterCloseMs: 1_400,
  stillAfterSilenceMs: 3_000,
  candidateGraceMs: 4_000,
  contenderGraceMs: 10_000,
  gateStaleMs: 15_000,
  sleepMs: 500,
  forgetMs: 24 * 3_600_000,
  degradeMs: 10_000,
};

/**
 * How long after its fence, and after its last grant to the old primary, a new primary keeps its doors shut. Longer than any licence
 * the old one can still hold, whatever the two clocks' speeds.
 */
export function doorsWaitMs(timers: Timers): number {
  return Math.ceil(timers.freezeMs * (1 + 2 * timers.driftRatio)) + timers.freezeActMs;
}

/** What is wrong with the order of these timers; empty when nothing is. */
export function timerFaults(timers: Timers): string[] {
  const faults: string[] = [];
  const less = (a: keyof Timers, b: keyof Timers, factor = 1): void => {
    if (timers[a] * factor >= timers[b])
      faults.push(`${a} (${timers[a]} ms) x ${factor} must be below ${b} (${timers[b]} ms)`);
  };
  less("askMs", "doubtMs", 2);
  less("renewMs", "freezeMs", 2);
  less("doubtMs", "freezeMs", 2);
  less("freezeMs", "closedMs");
  if (timers.freezeMs + timers.quitMs >= timers.silenceMs)
    faults.push(
      `freezeMs + quitMs (${timers.freezeMs + timers.quitMs} ms) must be below silenceMs (${timers.silenceMs} ms)`,
    );
  less("signMs", "stillAfterCloseMs");
  less("signMs", "stillAfterSilenceMs", 2);
  less("stillAfterCloseMs", "closedMs");
  less("stillAfterSilenceMs", "silenceMs");
  return faults;
}
