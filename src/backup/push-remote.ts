// Takes a full backup over the replication protocol, without access to the server's files. Storage format, section 10;
// stored in the layout of a local backup, so that every reader finds the label, the control file and the folders.

import { AppError } from "../base/errors.ts";
import { ProgressMeter } from "../base/progress.ts";
import { type BaseBackupEvent, baseBackup } from "../postgres/base-backup.ts";
import { parseControlFile } from "../postgres/control-file.ts";
import { must, one, serverFacts, showSetting } from "../postgres/queries.ts";
import { type ReplicationConnection, connectReplication } from "../postgres/replication-connection.ts";
import { type Sql, connectSql } from "../postgres/sql.ts";
import { formatLsn } from "../wal/lsn.ts";
import { CONTROL_FILE } from "./backup-exclusions.ts";
import { backupNameFor } from "./backup-name.ts";
import { readDatabaseNames } from "./database-names.ts";
import type { DatabaseNames } from "./files-metadata.ts";
import { type Nanoseconds, instantOfMs } from "./go-json.ts";
import type { PushResult, PushSettings, PushTools } from "./push.ts";
import { PushBook } from "./push-book.ts";
import { type StoppedPush, completePush, finishTools } from "./push-complete.ts";
import { SentinelUnknownError, pushControlFile } from "./push-finish.ts";
import { clearLeftovers, removeParts } from "./push-leftovers.ts";
import { watchServer } from "./push-watch.ts";
import {
  type ArchiveStep,
  type HeldMember,
  LABEL_FILE,
  MAP_FILE,
  RemoteArchive,
  rootLike,
} from "./remote-archive.ts";
import { filesNamedIn } from "./remote-corruption.ts";
import { RemoteParts } from "./remote-parts.ts";

export interface RemotePushSettings extends Omit<
  PushSettings,
  "dataDirectory" | "concurrency" | "keepsAllCorrupt" | "maxSteps" | "origin" | "isForcedFull" | "candidate"
> {
  /** WALG_UPLOAD_QUEUE: closed parts that may still be uploading while the next is filled. */
  readonly uploadQueue: number;
}

/**
 * As `pushBackup`, for a server that need not be on this machine: always a full backup, over one connection. What is
 * uploaded cannot be read a second time, so an upload that fails for good fails the backup.
 */
export async function pushRemoteBackup(settings: RemotePushSettings, tools: PushTools): Promise<PushResult> {
  const { clock, signal } = tools;
  const startTime = instantOfMs(clock.now());
  await using sql = await connectSql(tools.server);
  await using connection = await connectReplication(tools.server, { clock });
  const server = await readRemoteServer(sql, connection);
  const halt = new AbortController();
  const guarded: PushTools = { ...tools, signal: AbortSignal.any([signal, halt.signal]) };
  const ping = async (): Promise<void> => void (await one(sql, "select 1 as alive"));
  const watching = watchServer(ping, settings.aliveCheckMs, guarded, halt);
  const label = `holdfast ${new Date(clock.now()).toISOString()}`;
  const { verifiesPages: verifiesChecksums, diskBytesPerSecond: bytesPerSecond } = settings;
  const events = baseBackup(connection, { label, verifiesChecksums, bytesPerSecond }, guarded.signal);
  try {
    return await push({ server, sql, events, startTime, halt }, settings, guarded);
  } catch (error) {
    throw halt.signal.aborted ? halt.signal.reason : error;
  } finally {
    halt.abort();
    await watching;
  }
}

type RemoteServer = StoppedPush["server"];

interface RemoteRun {
  readonly server: RemoteServer;
  readonly sql: Sql;
  readonly events: AsyncGenerator<BaseBackupEvent>;
  readonly startTime: Nanoseconds;
  /** Ends everything. */
  readonly halt: AbortController;
}

type StartEvent = Extract<BaseBackupEvent, { readonly kind: "start" }>;
type EndEvent = Extract<BaseBackupEvent, { readonly kind: "end" }>;

async function push(run: RemoteRun, settings: RemotePushSettings, tools: PushTools): Promise<PushResult> {
  const { server, events } = run;
  const first = await events.next();
  if (first.done === true || first.value.kind !== "start") throw notWhole("it does not begin with its start");
  const start = first.value;
  const name = backupNameFor({
    ...start,
    segmentBytes: server.segmentBytes,
    isStandby: false,
    parentName: null,
  });
  tools.log.info("backup started", { name, start: formatLsn(start.lsn), over: "the replication protocol" });
  await clearLeftovers(name, tools);
  try {
    return await store(name, start, run, settings, tools);
  } catch (error) {
    if (!(error instanceof SentinelUnknownError)) await removeParts(name, tools);
    throw error;
  }
}

async function store(
  name: string,
  start: StartEvent,
  { server, sql, events, startTime, halt }: RemoteRun,
  settings: RemotePushSettings,
  tools: PushTools,
): Promise<PushResult> {
  const { log, clock } = tools;
  const lookedAt = instantOfMs(clock.now());
  const book = new PushBook();
  const totalBytes = start.tablespaces.reduce((sum, { bytes }) => sum + bytes, 0);
  const limits = { partBytes: partBytesFor(totalBytes, settings), uploadQueue: settings.uploadQueue };
  await using parts = new RemoteParts(name, limits, tools, (pushed) => book.add(pushed));
  parts.failed.addEventListener("abort", () => halt.abort(parts.failed.reason), { once: true });
  const meter = new ProgressMeter(totalBytes, tools.onProgress ?? (() => undefined), () =>
    clock.monotonicMs(),
  );
  const received = await receive(events, parts, meter, tools);
  await parts.finish();
  meter.finish();
  const controlFile = held(received.held, CONTROL_FILE);
  checkControlFile(controlFile, server);
  const finish = await finishTools(tools);
  const control = await pushControlFile(name, controlFile.head, controlFile.bytes, finish);
  if (received.end.hasCorruptPages) noteCorruption(received.warnings, start, book, tools);
  const databases = settings.hasDatabaseNames
    ? await readDatabaseNames(sql, tools.server, log)
    : new Map<string, DatabaseNames>();
  return completePush(
    {
      name,
      server,
      start: start.lsn,
      stop: {
        stop: received.end.lsn,
        label: textOf(held(received.held, LABEL_FILE)),
        tablespaceMap: textOf(received.held.get(MAP_FILE) ?? null),
      },
      delta: null,
      control,
      memberBytes: book.memberBytes + controlFile.bytes.byteLength,
      catalogBytes: book.memberBytes + controlFile.bytes.byteLength,
      tablespaces: start.tablespaces.flatMap(({ oid, location }) =>
        oid === null || location?.startsWith("/") !== true
          ? []
          : [{ name: oid, location, link: `pg_tblspc/${oid}` }],
      ),
      databases,
      startTime,
      lookedAt,
    },
    book,
    settings,
    tools,
    finish,
  );
}

interface Received {
  readonly end: EndEvent;
  readonly held: ReadonlyMap<string, HeldMember>;
  /** The server's words about pages. */
  readonly warnings: readonly string[];
}

/** Takes the archives apart and fills the parts. */
async function receive(
  events: AsyncGenerator<BaseBackupEvent>,
  parts: RemoteParts,
  meter: ProgressMeter,
  { log }: PushTools,
): Promise<Received> {
  let archive: RemoteArchive | null = null;
  let hasRoot = false;
  const held = new Map<string, HeldMember>();
  const warnings: string[] = [];
  const endArchive = (): void => {
    archive?.end();
    for (const [name, member] of archive?.held ?? []) held.set(name, member);
  };
  const fill = async (step: ArchiveStep): Promise<void> => {
    if (step.kind === "data") return parts.write(step.bytes);
    if (!hasRoot) await parts.begin(rootLike(step.member));
    hasRoot = true;
    return parts.begin(step.member);
  };
  for await (const event of events) {
    switch (event.kind) {
      case "start":
        throw notWhole("it begins twice");
      case "archive":
        endArchive();
        archive = new RemoteArchive(event.tablespace?.oid ?? null);
        break;
      case "data":
        for (const step of archive?.push(event.bytes) ?? []) await fill(step);
        meter.add(event.bytes.byteLength);
        break;
      case "warning":
        log.warn("the server warns", { text: event.text });
        warnings.push(event.text);
        break;
      case "end":
        endArchive();
        return { end: event, held, warnings };
    }
  }
  throw notWhole("it has no end");
}

/** Files with wrong checksums are known from the server's words only; each counts as one page. */
function noteCorruption(
  warnings: readonly string[],
  { tablespaces }: StartEvent,
  book: PushBook,
  { log }: PushTools,
): void {
  for (const [file, count] of filesNamedIn(warnings, tablespaces, (name) => book.files.has(name))) {
    book.corrupt.set(file, { count, some: [] });
    log.error("pages with a wrong checksum are in the backup as they are", { file, warnings: count });
  }
}

/** Enough parts for a restore to fetch several at once. */
function partBytesFor(totalBytes: number, { thresholdBytes }: RemotePushSettings): number {
  return Math.min(thresholdBytes, Math.max(LEAST_PART_BYTES, Math.ceil(totalBytes / PARTS_WANTED)));
}

/** Asks over SQL what the walsender does not tell. Throws AppError when the two connections lead to different servers. */
async function readRemoteServer(sql: Sql, connection: ReplicationConnection): Promise<RemoteServer> {
  const facts = await serverFacts(sql);
  const { systemId } = await connection.identifySystem();
  if (systemId !== facts.systemId)
    throw new AppError(
      `the replication connection leads to system ${systemId}, and the one for SQL to ${facts.systemId}`,
      {
        code: "BACKUP_TWO_SERVERS",
        hint: "connect to one server, and not through a proxy in front of several",
      },
    );
  const rows = await sql.query("select oid, xmin from pg_database");
  return {
    versionNumber: facts.versionNumber,
    systemIdentifier: facts.systemId,
    segmentBytes: facts.segmentBytes,
    dataDirectory: await showSetting(sql, "data_directory"),
    databases: new Map(rows.map((row) => [must(row, "oid"), must(row, "xmin")])),
    volume: "", // so a later delta reads every file
  };
}

function checkControlFile({ bytes }: HeldMember, { systemIdentifier }: RemoteServer): void {
  const { systemId } = parseControlFile(bytes);
  if (systemId === systemIdentifier) return;
  throw notWhole(`its control file is that of system ${systemId}, and the server is ${systemIdentifier}`);
}

function held(members: ReadonlyMap<string, HeldMember>, name: string): HeldMember {
  const member = members.get(name);
  if (member === undefined) throw notWhole(`it has no ${name.slice(1)}`);
  return member;
}

const textOf = (member: HeldMember | null): string =>
  member === null ? "" : Buffer.from(member.bytes).toString("utf8");

const notWhole = (problem: string): AppError =>
  new AppError(`the server's base backup is not whole: ${problem}`, {
    code: "BASE_BACKUP_FORMAT",
    hint: "read the server's log around this moment",
  });

const PARTS_WANTED = 16;
const LEAST_PART_BYTES = 32 << 20;
