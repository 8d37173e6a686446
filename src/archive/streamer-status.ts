// What the streamer says of itself, for health, metrics and status. Plain values, taken at one instant.

import type { Lsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";

/**
 * `owing`: the log is owned, the new timeline's history slot is not accepted yet (doors stay shut, G5).
 * `connecting`: no replication connection at the moment. `streaming`: WAL arrives and is put.
 * `draining`: Postgres is stopping. `fenced`: a newer fence stands, for good (T7). `stopped`: ended by us.
 */
export type StreamerPhase = "owing" | "connecting" | "streaming" | "draining" | "fenced" | "stopped";

/** Something that keeps failing, since when, and what it said last. */
export interface Trouble {
  /** Wall clock, milliseconds since 1970, of the first failure in a row. */
  readonly sinceMs: number;
  readonly failures: number;
  readonly lastError: string;
}

export interface StreamerStatus {
  readonly phase: StreamerPhase;
  /** Why it is in this phase. */
  readonly because: string;
  readonly timeline: TimelineId;
  /** Position of the owner's fence. */
  readonly epoch: number;
  /** Reported to Postgres as flushed; null while a history slot is owed (S2). */
  readonly durable: Lsn | null;
  /** End of what was received. */
  readonly received: Lsn;
  /** End of the server's WAL as it last said. */
  readonly serverEnd: Lsn;
  /** `serverEnd - durable`, at least 0. */
  readonly lagBytes: number;
  /** Age of the oldest byte that was received or announced and is not durable; 0 when nothing is. */
  readonly lagSeconds: number;
  /** Bytes held in memory that are not durable. */
  readonly heldBytes: number;
  /** First free position of the log as this owner knows it. */
  readonly nextSeq: number;
  /** Accepted since the takeover. */
  readonly slotsPut: number;
  /** Slots above the newest base. */
  readonly liveSlots: number;
  /** Complete segments that reached `wal_005` since the takeover. */
  readonly segmentsPublished: number;
  /** Complete segments that the log holds and `wal_005` lacks. */
  readonly segmentsOwed: number;
  /** Wall clock of the last time the durable position moved. */
  readonly lastSettledMs: number | null;
  /** Time of the newest commit that is durable, as far as commits came since the takeover. */
  readonly newestCommitMs: number | null;
  readonly store: Trouble | null;
  readonly connection: Trouble | null;
  /** `wal_status` of the replication slot when last looked at. */
  readonly slotWalStatus: string | null;
  /** Different bytes under a name that is taken: never overwritten, for people to look at. */
  readonly alarms: readonly string[];
}
