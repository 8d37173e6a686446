// Waits until the server's archiver has taken the last segment of a backup: before that it cannot be restored.

import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { BackupStop } from "../postgres/backup-session.ts";
import { archiverStats, isInRecovery, showSetting } from "../postgres/queries.ts";
import type { ServerAddress } from "../postgres/server-address.ts";
import { ReconnectingSql } from "../postgres/sql.ts";
import { type Lsn, addBytes } from "../wal/lsn.ts";
import { segmentAt, segmentName } from "../wal/segment-name.ts";

export interface ArchiveWaitTools {
  readonly server: ServerAddress;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Resolves once `pg_stat_archiver` names the segment that holds the backup's end, or a later one. A server that does
 * not archive (a standby, `archive_mode=off`) is not waited for: a warning says that its WAL must come from elsewhere.
 * Throws AppError past `timeoutMs` (null: never).
 */
export async function waitForArchiver(
  { stop }: BackupStop,
  backup: string,
  segmentBytes: number,
  timeoutMs: number | null,
  { server, clock, log, signal }: ArchiveWaitTools,
): Promise<void> {
  await using sql = new ReconnectingSql(server);
  const mode = await showSetting(sql, "archive_mode", { signal });
  const isStandby = await isInRecovery(sql, { signal });
  if (mode === "off" || (isStandby && mode !== "always")) {
    if (!isStandby)
      log.warn("the server does not archive its WAL: without it this backup cannot be restored");
    return;
  }
  const wanted = lastSegment(backup, stop, segmentBytes);
  const begun = clock.monotonicMs();
  for (let said = begun; ;) {
    const { lastArchivedWal, lastFailedWal, lastFailedAtMs, lastArchivedAtMs } = await archiverStats(sql, {
      signal,
    });
    if (isReached(lastArchivedWal, wanted)) return;
    const now = clock.monotonicMs();
    const isFailing = lastFailedWal !== null && (lastFailedAtMs ?? 0) > (lastArchivedAtMs ?? 0);
    if (timeoutMs !== null && now - begun > timeoutMs) throw tooLate(wanted, timeoutMs, isFailing);
    if (now - said >= SAY_EVERY_MS) {
      said = now;
      log.warn("waiting for the archive to take the backup's last segment", { segment: wanted, isFailing });
    }
    await clock.sleep(POLL_MS, signal);
  }
}

/** The segment that holds the last byte before `stop`, on the backup's timeline. */
function lastSegment(backup: string, stop: Lsn, segmentBytes: number): string {
  const timeline = Number.parseInt(backup.slice("base_".length, "base_".length + 8), 16);
  return segmentName(segmentAt(timeline, addBytes(stop, -1), segmentBytes), segmentBytes);
}

/** The archiver goes in order of names; what it took last may be a `.backup` or `.history` file. */
function isReached(archived: string | null, wanted: string): boolean {
  const segment = /^[0-9A-F]{24}/.exec(archived ?? "")?.[0];
  return segment !== undefined && segment >= wanted;
}

const tooLate = (segment: string, timeoutMs: number, isFailing: boolean): AppError =>
  new AppError(`segment ${segment} was not archived within ${timeoutMs} ms after the backup's end`, {
    code: "BACKUP_WAL_NOT_ARCHIVED",
    hint: isFailing ? "read the server's log: archive_command fails" : "look whether archive_command hangs",
  });

const POLL_MS = 100;
const SAY_EVERY_MS = 30_000;
