// What an owner of the log is given, and what it shows.

import type { Codec } from "../codec/seal.ts";
import type { ObjectStore, StoreError } from "../storage/object-store.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { PublishedSource } from "./assemble.ts";
import type { PublishConflictError } from "./errors.ts";
import type { InsistTools } from "./insist.ts";
import type { Claim } from "./take-over.ts";

export type OwnerStore = Pick<ObjectStore, "get" | "head" | "list" | "create" | "put" | "delete">;

export interface OwnerOptions extends InsistTools {
  readonly claim: Claim;
  readonly store: OwnerStore;
  readonly codec: Codec;
  /** Longest time from the first byte of a slot to its PUT, in ms: 1,000 by default, a few with DURABILITY=bucket. */
  readonly flushMs: number;
  /** Slots under way at once, 1 … 16. */
  readonly inFlight: number;
  /** A second identical PUT when the first is slow. */
  readonly hedge: boolean;
  /** `append` waits while this many bytes are not settled. */
  readonly queuedBytes: number;
  /** Most plain bytes in a slot, at most 4 MiB. */
  readonly slotBytes: number;
  /** Live slots and bytes at which a base is made; by default 1,000 and 256 MiB. */
  readonly baseDue?: { readonly slots: number; readonly bytes: number };
  /** How complete segments are read from wal_005; by default by `fetchPublished`. */
  readonly published?: PublishedSource;
}

/** What status and metrics show of an owner. */
export interface OwnerHealth {
  readonly epoch: number;
  readonly durable: Lsn | null;
  readonly end: Lsn | null;
  /** Milliseconds since 1970. */
  readonly newestCommit: number | null;
  readonly unsettledSlots: number;
  readonly unsettledBytes: number;
  readonly oldestUnsettledMs: number;
  /** The store's last complaint, until a later answer. */
  readonly trouble: StoreError | null;
  readonly owedPublications: number;
  readonly conflict: PublishConflictError | null;
  readonly liveSlots: number;
  readonly baseSeq: number | null;
  readonly lost: string | null;
}

/** The rhythm of the default durability: one slot a second while WAL arrives. */
export const DEFAULT_RHYTHM = {
  flushMs: 1_000,
  inFlight: 4,
  hedge: false,
  queuedBytes: 64 * 1024 * 1024,
  slotBytes: 4 * 1024 * 1024,
} as const;
