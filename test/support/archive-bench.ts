// An archive with everything around it, in one process: a store, an owner with its streamer, the socket, a server that archives, and restores.

import { cp, mkdir, rm, writeFile, chmod, chown, readFile } from "node:fs/promises";
import { join } from "node:path";
import { answerArchive, startStreamer, type Streamer } from "../../src/archive/streamer.ts";
import type { StreamerBeginning, StreamerEnd } from "../../src/archive/streamer-options.ts";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import type { HookAnswer, HookRequest } from "../../src/archive/hook-answer.ts";
import { systemClock } from "../../src/base/clock.ts";
import { type Log, makeLog, silentLog } from "../../src/base/log.ts";
import type { Codec } from "../../src/codec/seal.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { readControlFile } from "../../src/postgres/data-directory.ts";
import { connectReplication } from "../../src/postgres/replication-connection.ts";
import { ReconnectingSql } from "../../src/postgres/sql.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { listenLocally, type LocalSocket } from "../../src/supervisor/local-socket.ts";
import { planGenesis } from "../../src/tail/genesis.ts";
import { LogOwner } from "../../src/tail/owner.ts";
import { DEFAULT_RHYTHM } from "../../src/tail/owner-options.ts";
import { NO_PROMOTION, type FencePurpose } from "../../src/tail/slot.ts";
import { type Claim, takeOver } from "../../src/tail/take-over.ts";
import { type Lsn, lsnOf } from "../../src/wal/lsn.ts";
import { publishObject } from "../../src/tail/publish.ts";
import { historyName, segmentFloor } from "../../src/wal/segment-name.ts";
import { localPath } from "../../src/archive/local-wal.ts";
import { lastStep } from "../../src/wal/timeline-path.ts";
import type { ScratchPostgres } from "./scratch-postgres.ts";

export const LZ4: Codec = { compression: { method: "lz4" }, cipher: noCipher };

/** Lines on standard error when HOLDFAST_TEST_LOG is set. */
export const testLog: Log =
  process.env["HOLDFAST_TEST_LOG"] === undefined
    ? silentLog
    : makeLog({
        level: "debug",
        format: "text",
        write: (line) => process.stderr.write(`${line}\n`),
        now: Date.now,
      });

/** What answers the hooks of one server; set and changed while it runs. */
export interface Answers {
  archive: (request: HookRequest, signal: AbortSignal) => Promise<HookAnswer>;
  restore: (request: HookRequest, signal: AbortSignal) => Promise<HookAnswer>;
}

const nobody = async (): Promise<HookAnswer> => ({ exit: 1, sentence: "nobody answers" });

/** A socket for `server`'s hooks, and the settings that use it. */
export class Hooks implements AsyncDisposable {
  readonly answers: Answers = { archive: nobody, restore: nobody };
  readonly calls: {
    readonly verb: string;
    readonly name: string;
    readonly exit: number;
    readonly ms: number;
  }[] = [];
  readonly conf: readonly string[];
  readonly #socket: LocalSocket;
  readonly #client: string;

  private constructor(socket: LocalSocket, client: string) {
    this.#socket = socket;
    this.#client = client;
    this.conf = [
      "archive_mode = on",
      `archive_command = 'perl ${client} ${socket.path} archive %f %p'`,
      `restore_command = 'perl ${client} ${socket.path} restore %f %p'`,
      "wal_retrieve_retry_interval = 100ms",
      "hot_standby = on",
      "wal_level = replica",
    ];
  }

  /** The shell command that asks for this verb. */
  command(verb: "archive" | "restore"): string {
    return `perl ${this.#client} ${this.#socket.path} ${verb}`;
  }

  static async open(folder: string, user: { uid?: number; gid?: number }): Promise<Hooks> {
    const client = join(folder, "hook.pl");
    await writeFile(client, CLIENT);
    await chmod(client, 0o644);
    const verbs: Record<
      string,
      (args: readonly string[], signal: AbortSignal) => Promise<{ lines: string[]; exit: number }>
    > = {};
    const owner = user.uid === undefined || user.gid === undefined ? null : { uid: user.uid, gid: user.gid };
    const socket = await listenLocally({ path: join(folder, "hooks.sock"), verbs, log: silentLog, owner });
    const hooks = new Hooks(socket, client);
    for (const verb of ["archive", "restore"] as const) {
      verbs[verb] = async ([name, path], signal) => {
        const began = performance.now();
        const { exit, sentence } = await hooks.answers[verb]({ name: name!, path: path! }, signal);
        testLog.debug(`${verb} ${name}`, { exit, sentence });
        hooks.calls.push({ verb, name: name!, exit, ms: performance.now() - began });
        return { lines: [sentence], exit };
      };
    }
    return hooks;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#socket[Symbol.asyncDispose]());
  }
}

export interface PrimaryOptions {
  readonly flushMs?: number;
  readonly queuedBytes?: number;
  readonly codec?: Codec;
  readonly signal: AbortSignal;
  readonly beginning?: StreamerBeginning | "continue";
  readonly claim?: Claim;
  readonly purpose?: FencePurpose;
  readonly fast?: boolean;
  readonly onGap?: (from: Lsn, to: Lsn) => void;
}

/** The streamer of a running server, and what stands behind it. */
/** The slice of a server that archiving needs. */
export type ArchivingServer = Pick<ScratchPostgres, "dataDirectory" | "host" | "port" | "psql">;

export class Archiving implements AsyncDisposable {
  readonly streamer: Streamer;
  readonly owner: LogOwner;
  readonly #sql: ReconnectingSql;

  constructor(streamer: Streamer, owner: LogOwner, sql: ReconnectingSql) {
    this.streamer = streamer;
    this.owner = owner;
    this.#sql = sql;
  }

  /** Takes the log over for a running server and streams into it. */
  static async begin(
    server: ArchivingServer,
    store: ObjectStore,
    hooks: Hooks,
    options: PrimaryOptions,
  ): Promise<Archiving> {
    const { signal, codec = LZ4 } = options;
    const control = await readControlFile(server.dataDirectory);
    const identity = { systemId: control.systemId, segmentBytes: control.segmentBytes };
    const tools = { clock: systemClock, log: testLog, signal, random: Math.random };
    const claim =
      options.claim ??
      (await takeOver(store, {
        ...tools,
        identity,
        purpose: options.purpose ?? "start",
        node: "test",
        fencing: "conditional",
        cipher: codec.cipher,
      }));
    testLog.debug("claimed", {
      tip: claim.view.tip,
      slots: claim.view.slots.map(({ header }) => JSON.stringify(header, printable)),
    });
    const owner = new LogOwner({
      ...tools,
      ...DEFAULT_RHYTHM,
      claim,
      store,
      codec,
      flushMs: options.flushMs ?? DEFAULT_RHYTHM.flushMs,
      queuedBytes: options.queuedBytes ?? DEFAULT_RHYTHM.queuedBytes,
    });
    const address = { host: server.host, port: server.port, user: "postgres", applicationName: "holdfast" };
    const sql = new ReconnectingSql(address);
    const streamer = startStreamer({
      ...tools,
      owner,
      beginning: await beginningOf(server, store, claim, options),
      systemId: identity.systemId,
      segmentBytes: identity.segmentBytes,
      dataDirectory: server.dataDirectory,
      publish: { ...tools, store, codec, fencing: "conditional" },
      connect: () => connectReplication(address, { clock: systemClock }),
      sql,
      slot: "holdfast",
      reportMs: options.fast === true ? 0 : 1_000,
      onGap: options.onGap ?? ((): void => undefined),
    });
    hooks.answers.archive = (request, requestSignal) => answerArchive(streamer, request, requestSignal);
    await streamer.doors;
    return new Archiving(streamer, owner, sql);
  }

  /** Waits until everything the server has written by now is durable. */
  async settle(server: ArchivingServer, limitMs = 30_000): Promise<void> {
    const end = BigInt(
      (await server.psql("select pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')")).split(".")[0]!,
    );
    const deadline = Date.now() + limitMs;
    while ((this.owner.durable ?? 0n) < end) {
      if (Date.now() > deadline)
        throw new Error(
          `not durable after ${limitMs} ms: ${JSON.stringify(this.streamer.status(), printable)}`,
        );
      await systemClock.sleep(10);
    }
  }

  ended(): Promise<StreamerEnd> {
    return this.streamer.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.streamer.stop();
    await this.#sql[Symbol.asyncDispose]();
  }
}

async function beginningOf(
  server: ArchivingServer,
  store: ObjectStore,
  claim: Claim,
  { beginning, signal, codec = LZ4 }: PrimaryOptions,
): Promise<StreamerBeginning> {
  if (beginning === "continue") return { kind: "continue" };
  if (beginning !== undefined) return beginning;
  const { segmentBytes } = claim.identity;
  const path = await localPath(server.dataDirectory);
  const { redo } = await readControlFile(server.dataDirectory);
  const tools = { clock: systemClock, log: testLog, signal, random: Math.random };
  for (const { timeline } of path.slice(1)) {
    const name = historyName(timeline);
    const body = await readFile(join(server.dataDirectory, "pg_wal", name));
    if (body.byteLength > 0)
      await publishObject(name, body, true, { ...tools, store, codec, fencing: "conditional" });
  }
  const firstLocal = segmentFloor(
    lsnOf(lastStep(path).begin > redo ? lastStep(path).begin : redo),
    segmentBytes,
  );
  const genesis = await planGenesis(store, {
    segmentBytes,
    path,
    promotion: NO_PROMOTION,
    firstLocal,
    cipher: codec.cipher,
    signal,
  });
  return { kind: "genesis", genesis };
}

/** A cold or hot copy of a data directory as a base backup would restore it: pg_basebackup without WAL. */
export async function baseCopy(server: ScratchPostgres, target: string): Promise<void> {
  await server.run("pg_basebackup", [
    "--pgdata",
    target,
    "--wal-method=none",
    "--checkpoint=fast",
    "--no-sync",
  ]);
}

/** A second directory from a base copy, with `signalFile`; owned as the first. */
export async function copyForRestore(
  base: string,
  target: string,
  server: ScratchPostgres,
  conf: readonly string[],
): Promise<void> {
  await rm(target, { recursive: true, force: true });
  await cp(base, target, { recursive: true, preserveTimestamps: true });
  await mkdir(join(target, "pg_wal", "archive_status"), { recursive: true });
  const old = await readFile(join(target, "postgresql.conf"), "utf8");
  await writeFile(join(target, "postgresql.conf"), `${old}\n${conf.join("\n")}\n`);
  await giveAll(target, server.user);
}

async function giveAll(path: string, { uid, gid }: { uid?: number; gid?: number }): Promise<void> {
  if (uid === undefined || gid === undefined) return;
  const { readdir } = await import("node:fs/promises");
  await chown(path, uid, gid);
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    await chown(join(entry.parentPath, entry.name), uid, gid);
  }
  await chmod(path, 0o700);
}

/** The source that reads what `server`'s owner wrote. */
export async function sourceOf(server: ArchivingServer, store: ObjectStore): Promise<ArchiveSource> {
  const { systemId, segmentBytes } = await readControlFile(server.dataDirectory);
  return {
    store,
    cipher: noCipher,
    likely: "lz4",
    clock: systemClock,
    log: testLog,
    systemId,
    segmentBytes,
    magic: null,
  };
}

const printable = (_key: string, value: unknown): unknown =>
  typeof value === "bigint" ? value.toString() : value;

/** The image has a shell client; here it is Perl, which every Debian has. */
const CLIENT = `use IO::Socket::UNIX;
my ($path, @words) = @ARGV;
my $socket = IO::Socket::UNIX->new(Peer => $path) or exit 1;
print $socket join(" ", @words), "\\n";
my $exit = 1;
while (<$socket>) { if (/^exit (\\d+)$/) { $exit = $1 } else { print STDERR $_ } }
exit $exit;
`;
