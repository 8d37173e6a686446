// The environment as a frozen, typed object, or every problem at once. Pure: files and the host's name come in as arguments.

import { join } from "node:path";
import { MembersError, parseNodes } from "../cluster/members.ts";
import { AppError, EXIT } from "../base/errors.ts";
import { parseLossless } from "../base/lossless-json.ts";
import {
  type Environment,
  type Findings,
  readTable,
  type SettingsWorld,
  type ValuesOf,
} from "./read-table.ts";
import { assemblePostgres } from "./settings-postgres.ts";
import { assembleRestore } from "./settings-restore.ts";
import {
  type CodecSettings,
  readCodec,
  readStore,
  type StoreSettings,
  type StoreValues,
} from "./settings-store.ts";
import { BACKUP_TABLE, NODE_TABLE, POSTGRES_TABLE } from "./settings-table.ts";
import { STORE_TABLE } from "./settings-table-store.ts";
import { BASE_BACKUP_TABLE, CODEC_TABLE, WAL_TABLE } from "./settings-table-walg.ts";
import type {
  BackupSettings,
  ClusterSettings,
  DurabilitySettings,
  NodeSettings,
  Settings,
  WalSettings,
} from "./settings-types.ts";
import { lookForStrays } from "./stray-names.ts";

export type * from "./settings-types.ts";

/** Reads everything. Throws SettingsError with all problems. */
export function readSettings(env: Environment, world: SettingsWorld): Settings {
  const findings: Findings = { problems: [], notices: [] };
  const node = readTable(NODE_TABLE, env, world, findings);
  const server = readTable(POSTGRES_TABLE, env, world, findings);
  const work = readTable(BACKUP_TABLE, env, world, findings);
  const storeValues = readTable(STORE_TABLE, env, world, findings);
  const codec = readTable(CODEC_TABLE, env, world, findings);
  const wal = readTable(WAL_TABLE, env, world, findings);
  const base = readTable(BASE_BACKUP_TABLE, env, world, findings);
  lookForStrays(env, findings);
  const nodeSettings = assembleNode(node);
  const clusterName = node.CLUSTER_NAME ?? node.FLY_APP_NAME;
  const volumeFolder = join(nodeSettings.volume, "holdfast", "store");
  const store = readStore(storeValues, { clusterName, volumeFolder }, world, findings);
  const cluster = assembleCluster(node, world);
  checkMembers(cluster, findings);
  const settings: Settings = {
    node: nodeSettings,
    cluster,
    durability: assembleDurability(node, cluster, findings),
    postgres: assemblePostgres(server, env, needsPassword(store, cluster), findings),
    store,
    codec: readCodec(codec, findings),
    wal: assembleWal(work, wal, nodeSettings, findings),
    backup: assembleBackup(work, base, storeValues),
    restore: assembleRestore(work, storeValues, store, findings),
    notices: findings.notices,
  };
  if (findings.problems.length > 0) throw new SettingsError(findings.problems);
  return Object.freeze(settings);
}

/** The store and its codec alone, for commands that need no server. Throws SettingsError. */
export function readStoreSettings(
  env: Environment,
  world: SettingsWorld,
): { readonly store: StoreSettings; readonly codec: CodecSettings; readonly notices: readonly string[] } {
  const findings: Findings = { problems: [], notices: [] };
  const storeValues = readTable(STORE_TABLE, env, world, findings);
  const codecValues = readTable(CODEC_TABLE, env, world, findings);
  lookForStrays(env, findings);
  const clusterName = env["CLUSTER_NAME"] || env["FLY_APP_NAME"] || null;
  const store = readStore(storeValues, { clusterName, volumeFolder: null }, world, findings);
  const codec = readCodec(codecValues, findings);
  if (findings.problems.length > 0) throw new SettingsError(findings.problems);
  return { store, codec, notices: findings.notices };
}

/** Lays settings of a configuration file or of flags under the environment: what is set there wins, and what is empty there does not. */
export function mergeEnvironment(env: Environment, under: Environment): Environment {
  const merged: Record<string, string | undefined> = { ...under };
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && (value !== "" || merged[name] === undefined)) merged[name] = value;
  }
  return merged;
}

/** Every problem of the settings, each a sentence that begins with a name. */
export class SettingsError extends AppError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const count = problems.length === 1 ? "a setting is wrong" : `${problems.length} settings are wrong`;
    super(`${count}:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`, {
      code: "SETTINGS",
      hint: "see docs/settings.md for every name and its values",
      exitStatus: EXIT.usage,
    });
    this.problems = problems;
  }
}

/** A folder may stand alone with a generated password; others reach a cluster or a bucket with what was agreed on. */
const needsPassword = (store: StoreSettings, { nodes }: ClusterSettings): boolean =>
  store.kind === "s3" || nodes.length > 0;

function assembleNode(values: ValuesOf<typeof NODE_TABLE>): NodeSettings {
  const volume = values.DATA_VOLUME ?? "/data";
  const runDirectory = values.RUN_DIRECTORY ?? "/run/holdfast";
  return {
    volume,
    dataDirectory: values.PGDATA ?? join(volume, "pgdata"),
    runDirectory,
    socketPath: join(runDirectory, "supervisor.sock"),
    pgBin: values.PG_BIN,
    ports: {
      postgres: values.POSTGRES_PORT ?? 5433,
      readWrite: values.PORT ?? 5432,
      readOnly: values.READ_PORT ?? 5434,
      checks: values.CHECK_PORT ?? 5500,
      metrics: values.METRICS_PORT ?? 9187,
    },
    listenAddresses:
      values.LISTEN_ADDRESS === null ? null : [...new Set(["127.0.0.1", ...values.LISTEN_ADDRESS])],
    stopTimeoutMs: values.STOP_TIMEOUT ?? 60_000,
    diskReadOnlyBytes: values.DISK_READ_ONLY_BELOW ?? null,
    logLevel: values.LOG_LEVEL ?? "info",
    logFormat: values.LOG_FORMAT ?? "text",
    memoryLimitBytes: values.MEMORY_LIMIT,
    releaseCommand: values.RELEASE_COMMAND ?? false,
  };
}

function assembleCluster(values: ValuesOf<typeof NODE_TABLE>, world: SettingsWorld): ClusterSettings {
  const { FLY_APP_NAME: app, FLY_MACHINE_ID: machine } = values;
  return {
    name: values.CLUSTER_NAME ?? app ?? "holdfast",
    nodeName: values.NODE_NAME ?? machine ?? world.hostname,
    nodes: values.NODES ?? (app === null ? [] : [`${app}.internal`]),
    priority: values.NODE_PRIORITY ?? 100,
    region: values.REGION,
    primaryRegion: values.PRIMARY_REGION,
    forgetAfterMs: values.FORGET_AFTER ?? 24 * 3_600_000,
    fly: app === null ? null : { app, machine },
  };
}

/** Names that cannot be, or a list without this node: said with all the other problems. */
function checkMembers({ nodes, nodeName, fly }: ClusterSettings, { problems }: Findings): void {
  if (nodes.length === 0 || fly !== null || (nodes.length === 1 && nodes[0] === nodeName)) return;
  try {
    parseNodes(nodes.join(","), nodeName);
  } catch (error) {
    if (!(error instanceof MembersError)) throw error;
    problems.push(`NODES: ${error.message}; ${error.hint}`);
  }
}

function assembleDurability(
  values: ValuesOf<typeof NODE_TABLE>,
  cluster: ClusterSettings,
  { problems }: Findings,
): DurabilitySettings {
  const mode = values.DURABILITY ?? "async";
  const others = cluster.nodes.filter((name) => name !== cluster.nodeName);
  if ((mode === "standby" || mode === "both") && others.length === 0)
    problems.push(`DURABILITY is "${mode}", and NODES names no other node that could confirm a commit`);
  if (!AVAILABLE_DURABILITY.includes(mode)) {
    problems.push(
      `DURABILITY is "${mode}", which this version does not offer yet; one of ${AVAILABLE_DURABILITY.join(", ")}`,
    );
  }
  return { mode, policy: values.DURABILITY_POLICY ?? "strict", graceMs: values.DURABILITY_GRACE ?? 30_000 };
}

function assembleWal(
  work: ValuesOf<typeof BACKUP_TABLE>,
  values: ValuesOf<typeof WAL_TABLE>,
  node: NodeSettings,
  { problems }: Findings,
): WalSettings {
  const segmentMb = values.WALG_PG_WAL_SIZE ?? 16;
  if ((segmentMb & (segmentMb - 1)) !== 0)
    problems.push(`WALG_PG_WAL_SIZE is ${segmentMb}; write a power of two`);
  return {
    flushIntervalMs: work.WAL_FLUSH_INTERVAL ?? 1_000,
    slot: values.WALG_SLOTNAME ?? "holdfast",
    segmentBytes: segmentMb << 20,
    downloadConcurrency: values.WALG_DOWNLOAD_CONCURRENCY ?? 10,
    prefetchDirectory: values.WALG_PREFETCH_DIR ?? join(node.volume, "holdfast", "prefetch"),
  };
}

function assembleBackup(
  work: ValuesOf<typeof BACKUP_TABLE>,
  values: ValuesOf<typeof BASE_BACKUP_TABLE>,
  store: StoreValues,
): BackupSettings {
  const schedule = work.BACKUP_SCHEDULE ?? "off";
  return {
    schedule: /^(off|none|never)$/i.test(schedule) ? null : schedule,
    retainCount: work.BACKUP_RETAIN_COUNT ?? 7,
    retainDays: work.BACKUP_RETAIN_DAYS ?? 0,
    diskConcurrency: values.WALG_UPLOAD_DISK_CONCURRENCY ?? 1,
    partBytes: values.WALG_TAR_SIZE_THRESHOLD ?? 1_073_741_823,
    diskBytesPerSecond: values.WALG_DISK_RATE_LIMIT,
    networkBytesPerSecond: store.WALG_NETWORK_RATE_LIMIT,
    deltaMaxSteps: values.WALG_DELTA_MAX_STEPS ?? 0,
    deltaOrigin: values.WALG_DELTA_ORIGIN ?? "LATEST",
    userData: values.WALG_SENTINEL_USER_DATA === null ? null : parseLossless(values.WALG_SENTINEL_USER_DATA),
    verifyPages: values.WALG_VERIFY_PAGE_CHECKSUMS ?? true,
    storeAllCorruptBlocks: values.WALG_STORE_ALL_CORRUPT_BLOCKS ?? false,
    withoutFilesMetadata: values.WALG_WITHOUT_FILES_METADATA ?? false,
    disablePartialRestore: values.WALG_DISABLE_PARTIAL_RESTORE ?? false,
    aliveCheckMs: values.WALG_ALIVE_CHECK_INTERVAL ?? 60_000,
    stopTimeoutMs: values.WALG_STOP_BACKUP_TIMEOUT,
    fileRetries: values.WALG_DOWNLOAD_FILE_RETRIES,
  };
}

const AVAILABLE_DURABILITY: readonly DurabilitySettings["mode"][] = ["async", "standby"];
