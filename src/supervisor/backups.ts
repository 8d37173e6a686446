// Base backups of this node: one run, and runs by the clock with retention behind each.

import { applyRetention } from "../backup/retention.ts";
import { pushBackup } from "../backup/push.ts";
import { describeProgress } from "../base/progress.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { NodeContext } from "./node-context.ts";
import { type Schedule, startSchedule } from "./schedule.ts";

/** The log, as far as a backup needs it. */
export interface BackupWal {
  /** Resolves once the WAL below `end` is accepted and its complete segments stand in wal_005. */
  stored(end: Lsn, signal: AbortSignal): Promise<void>;
}

/** Takes one backup; resolves when its sentinel is durable. */
export async function backUp(node: NodeContext, wal: BackupWal, signal: AbortSignal): Promise<void> {
  const { settings, paths, bulkStore: store, codec, cipherKey, postgres, clock, log } = node;
  let toldMs = clock.monotonicMs();
  const begunMs = toldMs;
  const { name } = await pushBackup(
    { ...settings.backup.push, dataDirectory: paths.dataDirectory, hostname: settings.nodeName },
    {
      store,
      compression: codec.compression,
      cipherKey,
      server: await postgres.address("holdfast backup"),
      clock,
      log,
      signal,
      waitForWal: (stop, inner) => wal.stored(stop.stop, inner),
      onProgress: (progress) => {
        if (clock.monotonicMs() - toldMs < TELL_EVERY_MS) return;
        toldMs = clock.monotonicMs();
        log.info(`backing up: ${describeProgress(progress)}`);
      },
    },
  );
  log.info("base backup done", { name, tookMs: Math.round(clock.monotonicMs() - begunMs) });
}

/** Backups by the clock while the term lasts. Only the owner of the log runs them, so there is exactly one runner. */
export function startBackupSchedule(
  node: NodeContext,
  wal: BackupWal,
  signal: AbortSignal,
  lastDoneMs: number | null = null,
): Schedule {
  const { settings, bulkStore: store, clock, log, state } = node;
  const schedule = startSchedule({
    name: "base backup",
    expression: settings.backup.schedule,
    lastDoneMs,
    mayRun: () => !signal.aborted,
    work: async (inner) => {
      await backUp(node, wal, inner);
      await applyRetention(store, settings.backup.retention, settings.segmentBytes, {
        clock,
        log,
        signal: inner,
      });
    },
    clock,
    log,
    signal,
  });
  state.ask({
    schedule: () => {
      const sinceMs = schedule.runningSinceMs();
      return {
        nextBackupMs: schedule.nextMs(),
        running: sinceMs === null ? null : { sinceMs, progress: null },
        trouble: schedule.trouble(),
      };
    },
  });
  return schedule;
}

const TELL_EVERY_MS = 10_000;
