// What a streamer is given, and how it can end.

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { ReplicationConnection } from "../postgres/replication-connection.ts";
import type { Sql } from "../postgres/sql.ts";
import type { Genesis } from "../tail/genesis.ts";
import type { LogOwner } from "../tail/owner.ts";
import type { PublishTools } from "../tail/publish.ts";
import type { NewTimeline } from "../tail/writer.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { TimelinePath } from "../wal/timeline-path.ts";

/** How this streamer begins, as the junction, the promotion or the restore said. */
export type StreamerBeginning =
  /** S1. */
  | { readonly kind: "continue" }
  /** S2: the parent's bytes `backfill` out of pg_wal, then the history slot. */
  | {
      readonly kind: "bring";
      readonly change: NewTimeline;
      readonly backfill: { readonly from: Lsn; readonly to: Lsn } | null;
      readonly parentPath: TimelinePath;
    }
  /** L8. */
  | { readonly kind: "genesis"; readonly genesis: Genesis };

export interface StreamerOptions {
  /** Not begun; its signal is this streamer's. Built with `DEFAULT_RHYTHM`. */
  readonly owner: LogOwner;
  readonly beginning: StreamerBeginning;
  readonly systemId: bigint;
  readonly segmentBytes: number;
  readonly dataDirectory: string;
  readonly publish: PublishTools;
  /** Opens a replication connection to the local server. */
  readonly connect: () => Promise<ReplicationConnection>;
  /** A session of its own for slots. */
  readonly sql: Sql;
  /** Physical slot; `holdfast`. */
  readonly slot: string;
  /** Least time between two reports of the position: 1,000 ms by default, 0 with DURABILITY=bucket. */
  readonly reportMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** WAL was lost before it reached the store (L5): a base backup is due at once. */
  readonly onGap: (from: Lsn, to: Lsn) => void;
}

/** Why a streamer ended. */
export type StreamerEnd =
  /** T7: close the doors, G8. */
  | { readonly kind: "fenced"; readonly because: string }
  /** The local WAL is not the log's (W5): the same consequence. */
  | { readonly kind: "diverged"; readonly because: string }
  /** Another start of Postgres answers: that takes a takeover of the log (W6). */
  | { readonly kind: "server-restarted" }
  /** `stop` or the signal. */
  | { readonly kind: "stopped" }
  /** A defect or a state that another try does not mend. */
  | { readonly kind: "failed"; readonly error: unknown };

export interface DrainOutcome {
  /** Everything received is in the log, published, with a base (W8). */
  readonly settled: boolean;
  /** The server said that it sent everything. */
  readonly complete: boolean;
}
