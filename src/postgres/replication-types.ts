// What a replication connection is given and what it yields.

import type { Clock } from "../base/clock.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";

export interface SystemIdentity {
  readonly systemId: bigint;
  readonly timeline: TimelineId;
  /** On a primary the end of what is flushed; on a standby the end of what is replayed or received. */
  readonly flushed: Lsn;
}

export interface StandbyStatus {
  readonly write: Lsn;
  readonly flush: Lsn;
  readonly apply: Lsn;
}

/** What a stream yields, in order. `bytes` belong to the taker: no buffer is reused. */
export type StreamEvent =
  | { readonly kind: "wal"; readonly lsn: Lsn; readonly bytes: Uint8Array }
  /** A whole message was received; `end` is a record's end or a page boundary (W5). */
  | { readonly kind: "messageEnd"; readonly end: Lsn; readonly serverEnd: Lsn }
  | { readonly kind: "keepalive"; readonly serverEnd: Lsn; readonly replyRequested: boolean }
  /** Always the last one. */
  | { readonly kind: "copyDone"; readonly end: StreamEnd };

export type StreamEnd =
  /** The timeline was left at `start`; continue there on `timeline`, over the same connection. */
  | { readonly kind: "timeline"; readonly timeline: TimelineId; readonly start: Lsn }
  /** The server stops, after everything was sent and confirmed. The connection is of no more use. */
  | { readonly kind: "shutdown" }
  /** `endCopy` was called. */
  | { readonly kind: "asked" };

export interface StreamStart {
  readonly slot: string | null;
  readonly timeline: TimelineId;
  readonly start: Lsn;
}

export interface ReplicationOptions {
  readonly clock: Clock;
  /** The last status is repeated this often (default 3,000 ms), also while the stream is paused; a silent server is asked for a reply. */
  readonly statusIntervalMs?: number;
  /** Without a byte for this long, though asked (default 30,000 ms), the connection counts as dead. */
  readonly silenceMs?: number;
  /** Above this many bytes not yet taken the socket is paused (default 8 MiB). */
  readonly bufferBytes?: number;
}
