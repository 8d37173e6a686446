// `holdfast supervise`: settings in, the main process of the image out.

import { createHash } from "node:crypto";
import { join } from "node:path";
import { AppError, EXIT } from "../base/errors.ts";
import { formatLossless } from "../base/lossless-json.ts";
import { makeLog } from "../base/log.ts";
import { configPaths } from "../postgres/config-files.ts";
import { volumePaths } from "../postgres/data-directory.ts";
import { PRIVATE_NETWORKS } from "../postgres/hba.ts";
import { lookAtMachine } from "../postgres/machine.ts";
import { postgresUser } from "../postgres/os-user.ts";
import { completePasswords } from "../postgres/passwords.ts";
import { findPrograms, loadableLibraries } from "../postgres/programs.ts";
import type { ServerPlan } from "../postgres/server-files.ts";
import { Doors } from "../supervisor/doors.ts";
import { makeFencingProbe } from "../supervisor/fencing.ts";
import { Verbs } from "../supervisor/front.ts";
import { Interrupts } from "../supervisor/interrupts.ts";
import { LocalPostgres } from "../supervisor/local-postgres.ts";
import type { EnvironmentRestore, NodeContext, NodeSettings } from "../supervisor/node-context.ts";
import { isOnMount } from "../supervisor/mount.ts";
import { NodeState } from "../supervisor/node-state.ts";
import { isCronExpression } from "../supervisor/schedule.ts";
import { listenForStop, type StopSignals } from "../supervisor/stop-signals.ts";
import { runSupervisor } from "../supervisor/supervisor.ts";
import { Cluster } from "../supervisor/cluster.ts";
import { clusterSettingsOf } from "./cluster-settings.ts";
import type { CommandContext } from "./commands.ts";
import { type NodeFolders, prepareFolders } from "./prepare-folders.ts";
import type { Environment } from "./read-table.ts";
import { readSettings, type Settings, SettingsError } from "./settings.ts";
import { openKeyedCodec, openStore, programVersion, settingsWorld } from "./wiring.ts";

/** Runs the node until it is stopped; resolves to the exit status. Throws SettingsError with every problem at once. */
export async function runSupervise(args: readonly string[], context: CommandContext): Promise<number> {
  const settings = readSettings(withArguments(args, context.env), settingsWorld);
  const { schedule } = settings.backup;
  if (schedule !== null && !isCronExpression(schedule))
    throw new SettingsError([`BACKUP_SCHEDULE is "${schedule}", which is no cron expression`]);
  using stop = listenForStop(context.log);
  const ended = new AbortController();
  try {
    const { node, verbs } = await makeNode(settings, context, stop, ended.signal);
    for (const notice of settings.notices) node.log.warn(notice);
    if ((await isOnMount(settings.node.volume)) === false)
      node.log.warn("no volume is mounted: the data lies in the container's own layer and goes with it", {
        wanted: settings.node.volume,
      });
    return await runSupervisor(node, verbs);
  } finally {
    ended.abort(new Error("the supervisor has ended"));
  }
}

/** `-c name=value` and `--name=value`, as the official image takes them, become POSTGRES_CONFIG_…. */
function withArguments(args: readonly string[], env: Environment): Environment {
  const more: Record<string, string> = {};
  for (let index = 0; index < args.length; index += 1) {
    const word = args[index]!;
    const pair =
      word === "-c" ? args[(index += 1)] : /^-c./.test(word) ? word.slice(2) : word.replace(/^--/, "");
    const match = /^([A-Za-z_][\w.-]*)=(.*)$/s.exec(pair ?? "");
    if (match === null) throw new UsageError(`cannot use the argument "${word}"`);
    more[`POSTGRES_CONFIG_${match[1]!.replaceAll("-", "_")}`] = match[2]!;
  }
  return { ...env, ...more };
}

class UsageError extends AppError {
  constructor(message: string) {
    super(message, { code: "USAGE", hint: "write -c name=value", exitStatus: EXIT.usage });
  }
}

async function makeNode(
  settings: Settings,
  context: CommandContext,
  stop: StopSignals,
  ended: AbortSignal,
): Promise<{ node: NodeContext; verbs: Verbs }> {
  const { clock } = context;
  const { logLevel, logFormat } = settings.node;
  const log = makeLog({
    level: logLevel,
    format: logFormat,
    write: (line) => void process.stdout.write(`${line}\n`),
    now: () => clock.now(),
  });
  const programs = await findPrograms(settings.node.pgBin);
  const owner = await postgresUser(process.getuid?.());
  const paths = volumePaths(settings.node.volume, settings.node.dataDirectory);
  await prepareFolders(foldersOf(settings, paths.marks), owner);
  const passwords = await completePasswords(settings.postgres, paths.marks);
  if (passwords.generatedPath !== null) {
    log.info("no password was set, so the superuser has a generated one", { file: passwords.generatedPath });
  }
  const nodeSettings = await nodeSettingsOf(settings, programs.bin, context);
  const bytesPerSecond = settings.backup.networkBytesPerSecond;
  const store = await openStore(settings.store, { clock, log, maxRetries: SUPERVISOR_RETRIES });
  const bulkStore = await openStore(settings.store, { clock, log, bytesPerSecond });
  const state = new NodeState(
    {
      node: nodeSettings.nodeName,
      version: nodeSettings.version,
      durability: nodeSettings.durability,
      store: { name: store.name, fencing: true, isOnVolume: isOnVolume(settings.store), trouble: null },
    },
    { clock, log },
  );
  const plan = async (): Promise<ServerPlan> => ({
    bin: programs.bin,
    volume: paths,
    files: configPaths(paths.marks),
    user: owner,
    nodeName: nodeSettings.nodeName,
    machine: await lookAtMachine(paths.volume, settings.node),
    port: settings.node.ports.postgres,
    listenAddress: settings.node.listenAddresses?.join(",") ?? "*",
    socketDirectories: [ownSockets(settings)],
    hook: context.env["HOLDFAST_HOOK"] ?? HOOK,
    environment: settings.postgres.parameters,
    preload: nodeSettings.preload,
    replicationPassword: passwords.replication,
    tls: settings.postgres.tls,
  });
  const node: NodeContext = {
    settings: nodeSettings,
    paths,
    programs,
    owner,
    passwords,
    store,
    bulkStore,
    ...(await openKeyedCodec(settings.codec)),
    postgres: new LocalPostgres({
      plan,
      superuser: settings.postgres.superuser,
      socketFolder: SOCKET_FOLDER,
      supervisorSocket: settings.node.socketPath,
      doors: {
        replicationFrom: PRIVATE_NETWORKS,
        hostAuth: settings.postgres.hostAuth,
        tlsRequired: settings.postgres.tlsRequired,
      },
      clock,
      log,
    }),
    doors: new Doors({ settings: nodeSettings, asRoot: owner !== null, state, clock, log, ended }),
    state,
    stop,
    interrupts: new Interrupts(),
    clock,
    log,
    random: Math.random,
    fencing: makeFencingProbe(store, state, { clock, log }),
    cluster: null,
  };
  const build = context.env["FLY_IMAGE_REF"] ?? nodeSettings.version;
  const clusterSettings = clusterSettingsOf(settings, build);
  const cluster = clusterSettings === null ? null : await Cluster.start(node, clusterSettings);
  return { node: { ...node, cluster }, verbs: new Verbs(clock, () => stop.stopping.aborted) };
}

const isOnVolume = (store: Settings["store"]): boolean =>
  store.kind === "folder" && store.origin === "volume";

const foldersOf = (settings: Settings, marks: string): NodeFolders => ({
  marks,
  runDirectory: settings.node.runDirectory,
  sockets: [SOCKET_FOLDER, ownSockets(settings)],
});

/** Postgres's own socket; programs in the container find it through SOCKET_FOLDER while the doors are open. */
const ownSockets = ({ node }: Settings): string => join(node.runDirectory, "postgres");

async function nodeSettingsOf(
  settings: Settings,
  bin: string,
  context: CommandContext,
): Promise<NodeSettings> {
  const { node, cluster, postgres, wal, backup } = settings;
  const preload = await loadableLibraries(bin, postgres.preload);
  const missing = postgres.preload.filter((name) => !preload.includes(name));
  if (missing.length > 0) context.log.warn("libraries are not installed and not loaded", { missing });
  return {
    nodeName: cluster.nodeName,
    version: await programVersion(),
    releaseCommand: node.releaseCommand,
    ports: node.ports,
    listenAddresses: node.listenAddresses,
    runDirectory: node.runDirectory,
    socketPath: node.socketPath,
    stopTimeoutMs: node.stopTimeoutMs,
    diskReadOnlyBytes: node.diskReadOnlyBytes,
    superuser: postgres.superuser,
    database: postgres.database,
    preload,
    initdbArgs: postgres.initdbArgs,
    segmentBytes: wal.segmentBytes,
    initScripts: { folder: "/docker-entrypoint-initdb.d", env: scriptEnvironment(context.env) },
    flushMs: wal.flushIntervalMs,
    slot: wal.slot,
    prefetchDirectory: wal.prefetchDirectory,
    durability: settings.durability.mode,
    backup: {
      schedule: backup.schedule,
      fetch: { concurrency: wal.downloadConcurrency, retries: backup.fileRetries },
      retention: { fullBackups: backup.retainCount, windowMs: backup.retainDays * 86_400_000 },
      push: {
        thresholdBytes: backup.partBytes,
        concurrency: Math.max(1, backup.diskConcurrency),
        verifiesPages: backup.verifyPages,
        keepsAllCorrupt: backup.storeAllCorruptBlocks,
        hasFilesMetadata: !backup.withoutFilesMetadata,
        hasDatabaseNames: !backup.disablePartialRestore,
        diskBytesPerSecond: backup.diskBytesPerSecond,
        userData: backup.userData,
        archiveTimeoutMs: backup.stopTimeoutMs,
        aliveCheckMs: backup.aliveCheckMs,
        maxSteps: backup.deltaMaxSteps,
        origin: backup.deltaOrigin,
        isForcedFull: false,
        isPermanent: false,
        candidate: { kind: "latest" },
      },
    },
    restore: await environmentRestore(settings, context),
  };
}

async function environmentRestore(
  { restore, backup }: Settings,
  { clock, log }: CommandContext,
): Promise<EnvironmentRestore | null> {
  if (restore === null) return null;
  const { from, request } = restore;
  const place = from === null ? "own" : from.kind === "s3" ? `s3://${from.bucket}/${from.prefix}` : from.path;
  const id = createHash("sha256").update(formatLossless({ place, request })).digest("hex").slice(0, 16);
  const bytesPerSecond = backup.networkBytesPerSecond;
  return { id, request, from: from === null ? null : await openStore(from, { clock, log, bytesPerSecond }) };
}

/** What the user's scripts may see: everything but what opens the store. */
function scriptEnvironment(env: Environment): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(env))
    if (value !== undefined && !SECRET_NAMES.test(name)) kept[name] = value;
  return kept;
}

const SECRET_NAMES = /^(AWS_|WALG_|WALE_|RESTORE_|REPL_|SU_|OPERATOR_)|(SECRET|TOKEN)/;
const SOCKET_FOLDER = "/run/postgresql";
const HOOK = "holdfast-hook";
/** The supervisor repeats what failed by itself, and says so meanwhile. */
const SUPERVISOR_RETRIES = 2;
