// A server with everything that makes backups hard: tablespaces, churn between backups, and an archive to replay from.

import { mkdir, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { pushBackup, type PushResult, type PushSettings, type PushTools } from "../../src/backup/push.ts";
import { type RemotePushSettings, pushRemoteBackup } from "../../src/backup/push-remote.ts";
import { fetchBackup, type FetchResult, type FetchSettings } from "../../src/backup/fetch.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog, type Log } from "../../src/base/log.ts";
import type { Compression } from "../../src/codec/compression.ts";
import type { CipherKey } from "../../src/codec/encryption.ts";
import type { ServerAddress } from "../../src/postgres/server-address.ts";
import type { BackupReader } from "../../src/backup/catalog.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { type ScratchPostgres, programUser, scratchPostgres } from "./scratch-postgres.ts";
import { chown } from "node:fs/promises";

/** How a test's backups are stored. */
export interface Sealing {
  readonly compression: Compression;
  readonly cipherKey: CipherKey;
}

export const PLAIN: Sealing = { compression: { method: "lz4" }, cipherKey: { kind: "none" } };

export const never = (): AbortSignal => new AbortController().signal;

/** A server that archives by copying into `archive`. Segments of 1 MiB keep tests small. */
export async function backupSource(
  options: { readonly conf?: readonly string[]; readonly initdbArgs?: readonly string[] } = {},
): Promise<{ readonly server: ScratchPostgres; readonly archive: string }> {
  const server = await scratchPostgres({
    start: false,
    segmentMb: 1,
    ...(options.initdbArgs === undefined ? {} : { initdbArgs: options.initdbArgs }),
  });
  const archive = join(server.root, "archive");
  await mkdir(archive);
  await own(archive);
  await server.configure([
    "archive_mode = on",
    `archive_command = 'cp %p "${archive}/%f.part" && mv "${archive}/%f.part" "${archive}/%f"'`,
    "fsync = off",
    "max_wal_size = 64MB",
    "autovacuum = off",
    ...(options.conf ?? []),
  ]);
  await server.start();
  return { server, archive };
}

export async function own(path: string): Promise<void> {
  const { uid, gid } = await programUser();
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
}

export const addressOf = (server: ScratchPostgres): ServerAddress => ({
  host: server.host,
  port: server.port,
  user: "postgres",
  applicationName: "holdfast-test",
});

export function pushSettingsFor(server: ScratchPostgres, more: Partial<PushSettings> = {}): PushSettings {
  return {
    dataDirectory: server.dataDirectory,
    hostname: "db1",
    thresholdBytes: 1_073_741_823,
    concurrency: 2,
    verifiesPages: true,
    keepsAllCorrupt: false,
    hasFilesMetadata: true,
    hasDatabaseNames: true,
    diskBytesPerSecond: null,
    userData: null,
    archiveTimeoutMs: 60_000,
    aliveCheckMs: 0,
    maxSteps: 0,
    origin: "LATEST",
    isForcedFull: false,
    isPermanent: false,
    candidate: { kind: "latest" },
    ...more,
  };
}

export function push(
  server: ScratchPostgres,
  store: ObjectStore,
  sealing: Sealing,
  more: Partial<PushSettings> = {},
  { signal = never(), log = silentLog }: { signal?: AbortSignal; log?: Log } = {},
): Promise<PushResult> {
  const tools = { store, server: addressOf(server), ...sealing, clock: systemClock, log, signal };
  return pushBackup(pushSettingsFor(server, more), tools);
}

/** The same over the replication protocol. */
export function pushRemotely(
  server: ScratchPostgres,
  store: ObjectStore,
  sealing: Sealing,
  more: Partial<RemotePushSettings> = {},
  { signal = never(), ...tools }: Partial<PushTools> = {},
): Promise<PushResult> {
  const settings = { ...pushSettingsFor(server), uploadQueue: 2, ...more };
  const all = { store, server: addressOf(server), ...sealing, clock: systemClock, log: silentLog, signal };
  return pushRemoteBackup(settings, { ...all, ...tools });
}

export async function fetch(
  store: BackupReader,
  name: string,
  directory: string,
  { cipherKey }: Pick<Sealing, "cipherKey">,
  more: Partial<FetchSettings> = {},
  { signal = never(), log = silentLog }: { signal?: AbortSignal; log?: Log } = {},
): Promise<FetchResult> {
  const { uid, gid } = await programUser();
  const settings: FetchSettings = {
    backup: { kind: "name", name },
    directory,
    tablespaces: { kind: "below", root: `${directory}-tablespaces` },
    mask: null,
    only: [],
    concurrency: 2,
    serverMajor: null,
    owner: uid === undefined || gid === undefined ? null : { uid, gid },
    ...more,
  };
  return fetchBackup(settings, { store, cipherKey, clock: systemClock, log, signal });
}

/** Tables of all kinds; with tablespaces, some of them there. */
export async function fill(server: ScratchPostgres, tablespaces: boolean): Promise<void> {
  const where = async (name: string): Promise<string> => {
    if (!tablespaces) return "";
    const path = join(server.root, name);
    await mkdir(path);
    await own(path);
    await server.psql(`create tablespace ${name} location '${path}'`);
    return `tablespace ${name}`;
  };
  const [first, second] = [await where("spare"), await where("fast")];
  await server.psql(`
    create table wide (id int primary key, body text) ${first};
    insert into wide select g, repeat(md5(g::text), 20) from generate_series(1, 4000) g;
    create index on wide (md5(body)) ${second};
    create table shrink as select g as id, repeat('s', 200) as body from generate_series(1, 5000) g;
    create table doomed as select g as id, md5(g::text) as body from generate_series(1, 3000) g;
    create table bloated as select g as id, md5(g::text) as body from generate_series(1, 8000) g;
    create table untouched as select g as id, md5(g::text) as body from generate_series(1, 3000) g;
    create table zeroed as select g as id, repeat('z', 300) as body from generate_series(1, 1000) g;
    create unlogged table scratch as select g as id from generate_series(1, 3000) g;
    create table large (id int, document jsonb);
    insert into large select g, jsonb_build_object('n', g, 'text', repeat(md5(g::text), 40)) from generate_series(1, 500) g;
    create materialized view seen as select count(*) as rows from wide;`);
  await server.psql("create database second");
  await server.psql("create table there as select g as id from generate_series(1, 500) g", {
    database: "second",
  });
}

/** What a delta must get right: changed pages, truncation and growth, new files under old names, pages of zeros. */
export async function churn(server: ScratchPostgres, round: number): Promise<void> {
  await server.psql(`
    update wide set body = repeat(md5((id + ${round})::text), 20) where id % 37 = ${round};
    truncate shrink; insert into shrink select g, repeat('${round}', 150) from generate_series(1, 2500 * ${round}) g;
    drop table doomed; create table doomed as select g as id, md5((g * ${round})::text) as body from generate_series(1, 2000) g;
    delete from bloated where id % 3 = ${round % 3};
    create table fresh_${round} as select g as id, repeat('f', 100) as body from generate_series(1, 900) g;
    insert into scratch select g from generate_series(1, 2000) g;
    update large set document = document || '{"round": ${round}}' where id % 50 = 0;
    refresh materialized view seen;`);
  await server.psql("vacuum full bloated");
  await server.psql("delete from wide where id > 3500");
  await server.psql("vacuum wide");
  await server.psql("checkpoint");
  await appendZeroPages(server, "zeroed");
}

/** Two pages that were allocated and never written, as after a crash while a relation grew. */
async function appendZeroPages(server: ScratchPostgres, table: string): Promise<void> {
  const path = join(server.dataDirectory, await server.psql(`select pg_relation_filepath('${table}')`));
  const { size } = await stat(path);
  await using file = await open(path, "r+");
  await file.write(Buffer.alloc(16_384), 0, 16_384, size);
}

/** Everything that a client can see: schema and rows of all databases. Unlogged rows are gone after a restore. */
export async function dump(server: ScratchPostgres): Promise<string> {
  const { stdout } = await server.run("pg_dumpall", ["--no-unlogged-table-data", "--no-sync"]);
  const random = /^\\(un)?restrict .*$/gm; // a token of newer releases that differs each time
  return stdout.replaceAll(random, "").replaceAll(/ LOCATION '[^']*'/g, " LOCATION ''");
}

/** Ends the open segment and waits until the archive has it. */
export async function archived(server: ScratchPostgres): Promise<void> {
  // Without a record behind the last switch another one does nothing and names a file that nobody will archive.
  await server.psql("select pg_logical_emit_message(false, 'test', 'a record')");
  const name = await server.psql("select pg_walfile_name(pg_switch_wal())");
  for (const deadline = Date.now() + 120_000; ;) {
    if (Date.now() > deadline)
      throw new Error(`segment ${name} was not archived: ${server.log.slice(-2000)}`);
    const last = await server.psql("select coalesce(last_archived_wal, '') from pg_stat_archiver");
    if (last.slice(0, 24) >= name) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
