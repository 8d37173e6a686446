// Work by the clock: one runner at a time, a failed run is repeated with a back-off. The only door to node-cron.

import { schedule as cronSchedule, validate, type ScheduledTask } from "node-cron";
import type { Trouble } from "../archive/streamer-status.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Backoff, pauseBefore } from "../base/retry.ts";

export interface ScheduleOptions {
  readonly name: string;
  /** Five or six fields, UTC; null: only when asked. */
  readonly expression: string | null;
  /** Does the work; a rejection is a failed run. */
  readonly work: (signal: AbortSignal) => Promise<void>;
  /** May this node do it now? The owner of the log only, so that there is exactly one runner. */
  readonly mayRun: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the schedule and what is running. */
  readonly signal: AbortSignal;
  /** When the work was last done, milliseconds since 1970; null: not known. A run that was due meanwhile is made up for. */
  readonly lastDoneMs?: number | null;
  readonly backoff?: Backoff;
}

export interface Schedule {
  /** Runs now unless it runs already; resolves when this run, with its repeats, ended. */
  runNow(): Promise<void>;
  readonly nextMs: () => number | null;
  readonly runningSinceMs: () => number | null;
  /** Null after a good run. */
  readonly trouble: () => Trouble | null;
}

/** True for an expression that node-cron takes. */
export const isCronExpression = (text: string): boolean => validate(text);

/** Starts the clock. A tick that finds a run under way is skipped: the next one comes. */
export function startSchedule(options: ScheduleOptions): Schedule {
  const { name, expression, clock, log, signal } = options;
  let running: Promise<void> | null = null;
  let sinceMs: number | null = null;
  let trouble: Trouble | null = null;
  const runNow = async (): Promise<void> => {
    running ??= runUntilDone(options, (failure) => {
      trouble = failure;
    }).finally(() => {
      running = null;
      sinceMs = null;
    });
    sinceMs ??= clock.now();
    await running;
  };
  let task: ScheduledTask | null = null;
  if (expression !== null) {
    task = cronSchedule(
      expression,
      async () => {
        if (running !== null) log.info("a scheduled run is skipped: the one before still runs", { name });
        await runNow();
      },
      { timezone: "Etc/UTC", noOverlap: true },
    );
    signal.addEventListener("abort", () => void task?.destroy(), { once: true });
    if (isOverdue(task.getNextRuns(2), options.lastDoneMs ?? null, clock.now())) {
      log.info("a scheduled run was missed and is made up for", { name });
      void runNow();
    }
  }
  return {
    runNow,
    nextMs: () => task?.getNextRun()?.getTime() ?? null,
    runningSinceMs: () => sinceMs,
    trouble: () => trouble,
  };
}

/** More time has gone by than lies between two runs. Pure. */
export function isOverdue(next: readonly Date[], lastDoneMs: number | null, nowMs: number): boolean {
  const [first, second] = next;
  if (lastDoneMs === null || first === undefined || second === undefined) return false;
  return nowMs - lastDoneMs > second.getTime() - first.getTime();
}

/** One run and its repeats; gives up only when the node may no longer run it or the signal aborts. */
async function runUntilDone(
  { name, work, mayRun, clock, log, signal, backoff = BACKOFF }: ScheduleOptions,
  setTrouble: (trouble: Trouble | null) => void,
): Promise<void> {
  let firstMs: number | null = null;
  for (let failures = 0; !signal.aborted && mayRun();) {
    try {
      await work(signal);
      setTrouble(null);
      return;
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      firstMs ??= clock.now();
      const pauseMs = pauseBefore(failures, backoff);
      setTrouble({ sinceMs: firstMs, failures, lastError: messageOf(error) });
      log.error("a scheduled run failed and is repeated", {
        name,
        failures,
        pauseMs,
        because: messageOf(error),
      });
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }
}

/** A backup that fails is due again soon, not after a whole period. */
const BACKOFF: Backoff = { firstMs: 10_000, mostMs: 600_000, tries: Infinity };
