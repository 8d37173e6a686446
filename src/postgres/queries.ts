// What the image asks a server and tells it, typed. Every function throws ServerError.

import { type Lsn, parseLsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import { ServerError } from "./server-error.ts";
import { quoteIdentifier, quoteLiteral, type QueryOptions, type Sql, type SqlRow } from "./sql.ts";

/** True on a standby and while a restore replays. */
export async function isInRecovery(sql: Sql, options?: QueryOptions): Promise<boolean> {
  return (await one(sql, "select pg_is_in_recovery() as answer", options))["answer"] === "t";
}

export interface WalPositions {
  readonly inRecovery: boolean;
  /** Primary only: end of what is flushed, and of what is inserted. */
  readonly flushed: Lsn | null;
  readonly inserted: Lsn | null;
  /** Recovery only; `received` is null unless something was streamed since the start. */
  readonly received: Lsn | null;
  readonly replayed: Lsn | null;
  /** Commit time of the last replayed transaction, milliseconds since 1970. */
  readonly replayedAtMs: number | null;
  readonly replayPaused: boolean;
}

/** Where this server stands in the WAL, in one round trip. */
export async function walPositions(sql: Sql, options?: QueryOptions): Promise<WalPositions> {
  const row = await one(
    sql,
    `select r as recovery,
       case when not r then pg_current_wal_flush_lsn() end as flushed,
       case when not r then pg_current_wal_insert_lsn() end as inserted,
       case when r then pg_last_wal_receive_lsn() end as received,
       case when r then pg_last_wal_replay_lsn() end as replayed,
       case when r then (extract(epoch from pg_last_xact_replay_timestamp()) * 1000)::bigint end as replayed_at,
       case when r then pg_is_wal_replay_paused() else false end as paused
     from pg_is_in_recovery() r`,
    options,
  );
  return {
    inRecovery: flag(row, "recovery"),
    flushed: lsnOrNull(row, "flushed"),
    inserted: lsnOrNull(row, "inserted"),
    received: lsnOrNull(row, "received"),
    replayed: lsnOrNull(row, "replayed"),
    replayedAtMs: numberOrNull(row, "replayed_at"),
    replayPaused: flag(row, "paused"),
  };
}

export interface ServerFacts {
  /** 150020, 170012, … */
  readonly versionNumber: number;
  readonly version: string;
  readonly systemId: bigint;
  readonly startedAtMs: number;
  readonly segmentBytes: number;
  readonly checkpointTimeline: TimelineId;
}

/** Facts that do not change while the server runs, but for the timeline. */
export async function serverFacts(sql: Sql, options?: QueryOptions): Promise<ServerFacts> {
  const row = await one(
    sql,
    `select current_setting('server_version_num') as number, current_setting('server_version') as version,
       (select system_identifier from pg_control_system()) as system,
       (extract(epoch from pg_postmaster_start_time()) * 1000)::bigint as started,
       (select setting from pg_settings where name = 'wal_segment_size') as segment,
       (select timeline_id from pg_control_checkpoint()) as timeline`,
    options,
  );
  return {
    versionNumber: Number(must(row, "number")),
    version: must(row, "version"),
    systemId: BigInt(must(row, "system")),
    startedAtMs: Number(must(row, "started")),
    segmentBytes: Number(must(row, "segment")),
    checkpointTimeline: Number(must(row, "timeline")),
  };
}

/** The timeline a primary writes now. The control file lags behind after a promotion; the name of the open segment does not. */
export async function currentTimeline(sql: Sql, options?: QueryOptions): Promise<TimelineId> {
  const row = await one(sql, "select pg_walfile_name(pg_current_wal_insert_lsn()) as name", options);
  return Number.parseInt(must(row, "name").slice(0, 8), 16);
}

export interface ArchiverStats {
  readonly archivedCount: number;
  readonly lastArchivedWal: string | null;
  readonly lastArchivedAtMs: number | null;
  readonly failedCount: number;
  readonly lastFailedWal: string | null;
  readonly lastFailedAtMs: number | null;
}

export async function archiverStats(sql: Sql, options?: QueryOptions): Promise<ArchiverStats> {
  const row = await one(
    sql,
    `select archived_count, last_archived_wal, (extract(epoch from last_archived_time) * 1000)::bigint as archived_at,
       failed_count, last_failed_wal, (extract(epoch from last_failed_time) * 1000)::bigint as failed_at
     from pg_stat_archiver`,
    options,
  );
  return {
    archivedCount: Number(must(row, "archived_count")),
    lastArchivedWal: row["last_archived_wal"] ?? null,
    lastArchivedAtMs: numberOrNull(row, "archived_at"),
    failedCount: Number(must(row, "failed_count")),
    lastFailedWal: row["last_failed_wal"] ?? null,
    lastFailedAtMs: numberOrNull(row, "failed_at"),
  };
}

export interface WalReceiverState {
  readonly status: string;
  readonly senderHost: string | null;
  readonly senderPort: number | null;
  readonly slot: string | null;
  readonly flushed: Lsn | null;
  readonly timeline: TimelineId | null;
}

/** What a standby's WAL receiver is doing; null without one. */
export async function walReceiver(sql: Sql, options?: QueryOptions): Promise<WalReceiverState | null> {
  const [row] = await sql.query(
    "select status, sender_host, sender_port, slot_name, flushed_lsn, received_tli from pg_stat_wal_receiver",
    [],
    options,
  );
  if (row === undefined) return null;
  return {
    status: must(row, "status"),
    senderHost: row["sender_host"] ?? null,
    senderPort: numberOrNull(row, "sender_port"),
    slot: row["slot_name"] ?? null,
    flushed: lsnOrNull(row, "flushed_lsn"),
    timeline: numberOrNull(row, "received_tli"),
  };
}

export interface ReplicaState {
  readonly applicationName: string;
  /** Another one after each connect: process id and time of the walsender. */
  readonly connection: string;
  readonly address: string | null;
  /** streaming, catchup, startup, backup, stopping. */
  readonly state: string;
  /** async, potential, sync, quorum. */
  readonly syncState: string;
  readonly sent: Lsn | null;
  readonly flushed: Lsn | null;
  readonly replayed: Lsn | null;
}

/** Who streams from this server. */
export async function replicas(sql: Sql, options?: QueryOptions): Promise<readonly ReplicaState[]> {
  const rows = await sql.query(
    `select application_name, pid || ' ' || backend_start as connection, client_addr, state, sync_state, sent_lsn, flush_lsn, replay_lsn
     from pg_stat_replication order by application_name, pid`,
    [],
    options,
  );
  return rows.map((row) => ({
    applicationName: must(row, "application_name"),
    connection: must(row, "connection"),
    address: row["client_addr"] ?? null,
    state: row["state"] ?? "unknown",
    syncState: row["sync_state"] ?? "unknown",
    sent: lsnOrNull(row, "sent_lsn"),
    flushed: lsnOrNull(row, "flush_lsn"),
    replayed: lsnOrNull(row, "replay_lsn"),
  }));
}

export interface DatabaseSize {
  readonly name: string;
  readonly bytes: bigint;
}

export async function databaseSizes(sql: Sql, options?: QueryOptions): Promise<readonly DatabaseSize[]> {
  const rows = await sql.query(
    "select datname as name, pg_database_size(oid) as bytes from pg_database order by datname",
    [],
    options,
  );
  return rows.map((row) => ({ name: must(row, "name"), bytes: BigInt(must(row, "bytes")) }));
}

/** Ends the open segment; its end, or the present position when nothing was written since the last switch. */
export async function switchWal(sql: Sql, options?: QueryOptions): Promise<Lsn> {
  return parseLsn(must(await one(sql, "select pg_switch_wal() as lsn", options), "lsn"));
}

/** Returns when the checkpoint is complete; no deadline unless one is given. */
export async function checkpoint(sql: Sql, options: QueryOptions = {}): Promise<void> {
  await sql.query("checkpoint", [], { timeoutMs: Infinity, ...options });
}

/** Asks for a promotion and does not wait: watch `isInRecovery`. False when the request could not be sent. */
export async function promote(sql: Sql, options?: QueryOptions): Promise<boolean> {
  return flag(await one(sql, "select pg_promote(false) as asked", options), "asked");
}

/** Reads the configuration files again. A value that is wrong is only logged: see `settingProblems`. */
export async function reloadConfiguration(sql: Sql, options?: QueryOptions): Promise<void> {
  await sql.query("select pg_reload_conf()", [], options);
}

export async function showSetting(sql: Sql, name: string, options?: QueryOptions): Promise<string> {
  return must(await one(sql, `select current_setting(${quoteLiteral(name)}) as value`, options), "value");
}

/** Settings that wait for a restart, by name. */
export async function settingsPendingRestart(sql: Sql, options?: QueryOptions): Promise<readonly string[]> {
  const rows = await sql.query(
    "select name from pg_settings where pending_restart order by name",
    [],
    options,
  );
  return rows.map((row) => must(row, "name"));
}

/** Lines of the configuration files that the server could not use, as sentences; what only waits for a restart is not among them. */
export async function settingProblems(sql: Sql, options?: QueryOptions): Promise<readonly string[]> {
  const rows = await sql.query(
    `select coalesce(f.name, '?') as name, f.error, f.sourcefile, f.sourceline from pg_file_settings f
     left join pg_settings s on s.name = f.name
     where f.error is not null and s.pending_restart is not true order by f.seqno`,
    [],
    options,
  );
  return rows.map((row) => `${row["name"]}: ${row["error"]} (${row["sourcefile"]}:${row["sourceline"]})`);
}

/** Creates the extension in this database unless it is there; brings it to the newest version that is installed. */
export async function ensureExtension(sql: Sql, name: string, options?: QueryOptions): Promise<void> {
  await sql.query(`create extension if not exists ${quoteIdentifier(name)} cascade`, [], options);
  await sql.query(`alter extension ${quoteIdentifier(name)} update`, [], options);
}

/** Creates the database unless it is there. */
export async function ensureDatabase(
  sql: Sql,
  name: string,
  owner: string,
  options?: QueryOptions,
): Promise<void> {
  const found = await sql.query("select 1 as yes from pg_database where datname = $1", [name], options);
  if (found.length > 0) return;
  await sql.query(`create database ${quoteIdentifier(name)} owner ${quoteIdentifier(owner)}`, [], options);
}

/** The single row of an answer that always has one. */
export async function one(sql: Sql, text: string, options?: QueryOptions): Promise<SqlRow> {
  const [row] = await sql.query(text, [], options);
  if (row === undefined) throw new ServerError(`the server answered without a row: ${text}`);
  return row;
}

export function must(row: SqlRow, column: string): string {
  const value = row[column];
  if (value === null || value === undefined) throw new ServerError(`the server's answer lacks "${column}"`);
  return value;
}

export const flag = (row: SqlRow, column: string): boolean => row[column] === "t";

export function lsnOrNull(row: SqlRow, column: string): Lsn | null {
  const value = row[column];
  return value === null || value === undefined ? null : parseLsn(value);
}

export function numberOrNull(row: SqlRow, column: string): number | null {
  const value = row[column];
  return value === null || value === undefined ? null : Number(value);
}
