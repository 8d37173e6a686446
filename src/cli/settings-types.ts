// The shape of the settings, as the rest of the program sees them.

import type { LogLevel } from "../base/log.ts";
import type { Json } from "../base/lossless-json.ts";
import type { Secret } from "../base/secret.ts";
import type { Parameters } from "../postgres/parameters.ts";
import type { RestoreRequest } from "../recovery/target.ts";
import type { CodecSettings, StoreSettings } from "./settings-store.ts";

export interface Settings {
  readonly node: NodeSettings;
  readonly cluster: ClusterSettings;
  readonly durability: DurabilitySettings;
  readonly postgres: PostgresSettings;
  readonly store: StoreSettings;
  readonly codec: CodecSettings;
  readonly wal: WalSettings;
  readonly backup: BackupSettings;
  readonly restore: RestoreSettings | null;
  /** Sentences to log at the start: what was accepted without effect, what looks odd. */
  readonly notices: readonly string[];
}

export interface NodeSettings {
  readonly volume: string;
  readonly dataDirectory: string;
  readonly runDirectory: string;
  /** The supervisor's socket, below `runDirectory`. */
  readonly socketPath: string;
  /** null: the newest that is installed. */
  readonly pgBin: string | null;
  readonly ports: {
    readonly postgres: number;
    readonly readWrite: number;
    readonly readOnly: number;
    readonly checks: number;
    readonly metrics: number;
  };
  /** Loopback first; null: everywhere. */
  readonly listenAddresses: readonly string[] | null;
  readonly stopTimeoutMs: number;
  /** Null: 5 % of the volume. */
  readonly diskReadOnlyBytes: number | null;
  readonly logLevel: LogLevel;
  readonly logFormat: "text" | "json";
  /** null: look at the container's limit. */
  readonly memoryLimitBytes: number | null;
  /** A machine that runs a release command: founds, fences and joins nothing. */
  readonly releaseCommand: boolean;
}

export interface ClusterSettings {
  readonly name: string;
  readonly nodeName: string;
  /** DNS names of the nodes, or one that resolves to all; empty: alone. */
  readonly nodes: readonly string[];
  readonly priority: number;
  readonly region: string | null;
  readonly primaryRegion: string | null;
  /** A member not heard for so long leaves the roster. */
  readonly forgetAfterMs: number;
  /** Facts of Fly's, where there are any. */
  readonly fly: { readonly app: string; readonly machine: string | null } | null;
}

export interface DurabilitySettings {
  readonly mode: "async" | "bucket" | "standby" | "both";
  readonly policy: "strict" | "bounded";
  readonly graceMs: number;
}

export interface PostgresSettings {
  readonly superuser: string;
  /** null: generate one and keep it on the volume (`postgres/passwords.ts`). */
  readonly superuserPassword: Secret | null;
  /** null: no such role. */
  readonly operatorPassword: Secret | null;
  /** null: derived from the superuser's. */
  readonly replicationPassword: Secret | null;
  readonly database: string;
  readonly initdbArgs: readonly string[];
  readonly hostAuth: "scram-sha-256" | "trust";
  /** Libraries to load, ours first. */
  readonly preload: readonly string[];
  /** POSTGRES_CONFIG_…, checked. */
  readonly parameters: Parameters;
  /** null: a self-signed certificate is made. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null;
  readonly tlsRequired: boolean;
}

export interface WalSettings {
  readonly flushIntervalMs: number;
  readonly slot: string;
  /** Segment size of a new cluster. */
  readonly segmentBytes: number;
  readonly downloadConcurrency: number;
  readonly prefetchDirectory: string;
}

export interface BackupSettings {
  /** null: never by the clock. */
  readonly schedule: string | null;
  readonly retainCount: number;
  /** 0: by count alone. */
  readonly retainDays: number;
  readonly diskConcurrency: number;
  readonly partBytes: number;
  readonly diskBytesPerSecond: number | null;
  readonly networkBytesPerSecond: number | null;
  readonly deltaMaxSteps: number;
  readonly deltaOrigin: "LATEST" | "LATEST_FULL";
  readonly userData: Json;
  readonly verifyPages: boolean;
  readonly storeAllCorruptBlocks: boolean;
  readonly withoutFilesMetadata: boolean;
  readonly disablePartialRestore: boolean;
  readonly aliveCheckMs: number;
  readonly stopTimeoutMs: number | null;
  /** null: as long as a restore may take to be given up. */
  readonly fileRetries: number | null;
}

export interface RestoreSettings {
  /** null: the cluster's own archive. */
  readonly from: StoreSettings | null;
  readonly request: RestoreRequest;
}
