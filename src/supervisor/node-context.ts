// What every part of the supervisor works with: the node's settings, its store, its Postgres, its state. Made once, in cli/.

import type { ArchiveSource } from "../archive/archive-source.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { RetentionPolicy } from "../backup/retention.ts";
import type { FetchSettings } from "../backup/fetch.ts";
import type { PushSettings } from "../backup/push.ts";
import type { CipherKey } from "../codec/encryption.ts";
import type { Codec } from "../codec/seal.ts";
import type { VolumePaths } from "../postgres/data-directory.ts";
import type { OsUser } from "../postgres/os-user.ts";
import type { Passwords } from "../postgres/passwords.ts";
import type { Programs } from "../postgres/programs.ts";
import type { RestoreRequest } from "../recovery/target.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { Fencing } from "../tail/take-over.ts";
import type { Cluster } from "./cluster.ts";
import type { Doors } from "./doors.ts";
import type { Interrupts } from "./interrupts.ts";
import type { LocalPostgres } from "./local-postgres.ts";
import type { NodeState } from "./node-state.ts";
import type { StopSignals } from "./stop-signals.ts";

export interface NodeSettings {
  readonly nodeName: string;
  readonly version: string;
  readonly releaseCommand: boolean;
  readonly ports: {
    readonly postgres: number;
    readonly readWrite: number;
    readonly readOnly: number;
    readonly checks: number;
    readonly metrics: number;
  };
  /** Where the ports listen, loopback first; null: everywhere. */
  readonly listenAddresses: readonly string[] | null;
  readonly runDirectory: string;
  readonly socketPath: string;
  readonly stopTimeoutMs: number;
  /** DISK_READ_ONLY_BELOW; null: 5 % of the volume. */
  readonly diskReadOnlyBytes: number | null;
  readonly superuser: string;
  readonly database: string;
  readonly preload: readonly string[];
  readonly initdbArgs: readonly string[];
  /** Segment size of a new cluster. */
  readonly segmentBytes: number;
  /** `/docker-entrypoint-initdb.d`, and what its scripts may see of the environment. */
  readonly initScripts: { readonly folder: string; readonly env: Readonly<Record<string, string>> };
  readonly flushMs: number;
  /** The streamer's replication slot. */
  readonly slot: string;
  readonly prefetchDirectory: string;
  readonly durability: string;
  readonly backup: {
    /** WALG_DOWNLOAD_CONCURRENCY and WALG_DOWNLOAD_FILE_RETRIES of restores. */
    readonly fetch: Pick<FetchSettings, "concurrency" | "retries">;
    readonly push: Omit<PushSettings, "dataDirectory" | "hostname">;
    readonly schedule: string | null;
    readonly retention: RetentionPolicy;
  };
  /** What the environment asks for; null: nothing. */
  readonly restore: EnvironmentRestore | null;
}

export interface EnvironmentRestore {
  /** Names the request, so that it is performed once. */
  readonly id: string;
  readonly request: RestoreRequest;
  /** Another cluster's prefix, read only; null: our own archive. */
  readonly from: ObjectStore | null;
}

export interface NodeContext {
  readonly settings: NodeSettings;
  readonly paths: VolumePaths;
  readonly programs: Programs;
  readonly owner: OsUser | null;
  readonly passwords: Passwords;
  readonly store: ObjectStore;
  /** The same place with more patience and the network's limit: for backups. */
  readonly bulkStore: ObjectStore;
  readonly codec: Codec;
  /** What the codec's cipher was made of, for worker threads: never log it. */
  readonly cipherKey: CipherKey;
  readonly postgres: LocalPostgres;
  readonly doors: Doors;
  readonly state: NodeState;
  readonly stop: StopSignals;
  readonly interrupts: Interrupts;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Whether the store honours preconditions; asked of it once, when it first answers. */
  readonly fencing: (signal: AbortSignal) => Promise<Fencing>;
  /** This node as a member; null: it is alone by its settings. */
  readonly cluster: Cluster | null;
}

/** The node's own archive, for reading. */
export function sourceOf(
  node: NodeContext,
  systemId: bigint | null,
  segmentBytes: number,
  store: ObjectStore = node.store,
): ArchiveSource {
  const { codec, clock, log } = node;
  return {
    store,
    cipher: codec.cipher,
    likely: codec.compression.method,
    magic: null,
    systemId,
    segmentBytes,
    clock,
    log,
  };
}
