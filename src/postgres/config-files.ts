// The files the server is started with, rendered. They lie outside PGDATA, so that a restore brings none of another machine. Pure.
//
// What wins, from weak to strong: PGDATA/postgresql.conf, the tuning for this machine, postgresql.user.conf on the volume, the environment,
// ALTER SYSTEM (postgresql.auto.conf), and at last the arguments that keep the promises.

import { join } from "node:path";
import type { Secret } from "../base/secret.ts";
import { formatParameter, parameterProblem, type Parameters, parseParameterFile } from "./parameters.ts";

/** Where the rendered files are written. */
export interface ConfigPaths {
  readonly directory: string;
  readonly main: string;
  /** What changes with the role, by reload. */
  readonly role: string;
  /** Whether writes are taken, by reload: the volume may be full. */
  readonly guard: string;
  readonly hba: string;
  readonly ident: string;
  readonly passfile: string;
  readonly certificate: string;
  readonly key: string;
}

/** The usual places below the folder of the marks, `/data/holdfast`. */
export function configPaths(marks: string): ConfigPaths {
  const directory = join(marks, "postgres");
  return {
    directory,
    main: join(directory, "postgresql.conf"),
    role: join(directory, "role.conf"),
    guard: join(directory, "guard.conf"),
    hba: join(directory, "pg_hba.conf"),
    ident: join(directory, "pg_ident.conf"),
    passfile: join(directory, "pgpass"),
    certificate: join(directory, "server.crt"),
    key: join(directory, "server.key"),
  };
}

export interface MainConfig {
  readonly paths: ConfigPaths;
  readonly dataDirectory: string;
  readonly nodeName: string;
  /** `tuneFor(machine)`. */
  readonly tuning: Parameters;
  /** postgresql.user.conf, checked. */
  readonly userFile: Parameters;
  /** POSTGRES_CONFIG_… and `-c` arguments, checked. */
  readonly environment: Parameters;
  /** In the order they are loaded; user settings of shared_preload_libraries come behind them. */
  readonly preload: readonly string[];
}

/** The main file; it includes the role's and the guard's. */
export function renderMainConfig(config: MainConfig): string {
  const { paths, dataDirectory, tuning, userFile, environment } = config;
  const asked = environment["shared_preload_libraries"] ?? userFile["shared_preload_libraries"] ?? "";
  const preload = [...new Set([...config.preload, ...splitList(asked)])].join(",");
  const without = ({ shared_preload_libraries: _merged, ...rest }: Parameters): Parameters => rest;
  return [
    "# Made by Holdfast at every start of the server; changes are lost.",
    "# Settings of yours: POSTGRES_CONFIG_… in the environment, postgresql.user.conf on the volume, or ALTER SYSTEM.",
    "",
    "# What the cluster brings along.",
    `include_if_exists = '${quote(join(dataDirectory, "postgresql.conf"))}'`,
    "",
    "# For this machine.",
    ...lines(tuning),
    "",
    "# Holdfast's defaults.",
    ...lines(DEFAULTS),
    "",
    "# postgresql.user.conf.",
    ...lines(without(userFile)),
    "",
    "# The environment.",
    ...lines(without(environment)),
    "",
    "# Holdfast's own.",
    ...lines({
      cluster_name: config.nodeName,
      shared_preload_libraries: preload,
      ssl_cert_file: paths.certificate,
      ssl_key_file: paths.key,
    }),
    `include_if_exists = '${quote(paths.role)}'`,
    `include_if_exists = '${quote(paths.guard)}'`,
    "",
  ].join("\n");
}

/** What changes while the server runs. */
export interface RoleConfig {
  /** From `primaryConninfo`; null on a primary. */
  readonly primaryConninfo: string | null;
  readonly primarySlot: string | null;
  /** Empty: nobody is waited for. */
  readonly synchronousStandbyNames: string;
  /** recovery_target_… and the like, for a restore. */
  readonly recovery: Parameters;
}

export const NO_ROLE: RoleConfig = {
  primaryConninfo: null,
  primarySlot: null,
  synchronousStandbyNames: "",
  recovery: {},
};

/** The role's file; reload the server after it was written. */
export function renderRoleConfig({
  primaryConninfo,
  primarySlot,
  synchronousStandbyNames,
  recovery,
}: RoleConfig): string {
  return [
    "# Made by Holdfast whenever the role changes.",
    ...lines({
      primary_conninfo: primaryConninfo ?? "",
      primary_slot_name: primarySlot ?? "",
      synchronous_standby_names: synchronousStandbyNames,
      // A timeline that appears later is followed; a restore says otherwise.
      recovery_target_timeline: "latest",
      ...recovery,
    }),
    "",
  ].join("\n");
}

/** The guard's file; reload the server after it was written. Open sessions have it from their next transaction on. */
export const renderGuardConfig = (isReadOnly: boolean): string =>
  [
    "# Made by Holdfast: on while the volume is nearly full (DISK_READ_ONLY_BELOW).",
    ...(isReadOnly ? lines({ default_transaction_read_only: "on" }) : []),
    "",
  ].join("\n");

export interface ServerArguments {
  readonly paths: ConfigPaths;
  readonly port: number;
  readonly listenAddress: string;
  readonly socketDirectories: readonly string[];
  /** `holdfast-hook`, found by PATH or with its folder. */
  readonly hook: string;
  /** From `recoveryMinimums`. */
  readonly raised?: Parameters;
}

/** Arguments behind `postgres -D …`: what keeps a promise stands here, because ALTER SYSTEM is stronger than any file. No secret. */
export function serverArguments(config: ServerArguments): readonly string[] {
  const { paths, hook } = config;
  const parameters: Parameters = {
    config_file: paths.main,
    hba_file: paths.hba,
    ident_file: paths.ident,
    port: String(config.port),
    listen_addresses: config.listenAddress,
    unix_socket_directories: config.socketDirectories.join(","),
    // Local connections are asked for no password (see renderHba), so only root and Postgres's own group may open the socket.
    unix_socket_permissions: "0770",
    fsync: "on",
    full_page_writes: "on",
    ssl: "on",
    hot_standby: "on",
    wal_log_hints: "on",
    password_encryption: "scram-sha-256",
    archive_mode: "on",
    archive_command: `${hook} archive %f %p`,
    archive_library: "",
    restore_command: `${hook} restore %f %p`,
    ...config.raised,
  };
  return Object.entries(parameters).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

export interface FollowTarget {
  /** Every member that may be primary, by the name it is reached by. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly user: string;
  /** Holds the password; libpq reads it, so that no password stands in a setting that every superuser can see. */
  readonly passfile: string;
  /** This node's name: shows in pg_stat_replication and in synchronous_standby_names. */
  readonly applicationName: string;
  /** `read-write`: only the primary. `any` cascades, or follows one who is not yet open. */
  readonly session?: "read-write" | "any";
  readonly connectTimeoutS?: number;
  /** After so long without an acknowledgement from the peer's kernel the connection is dead. */
  readonly tcpUserTimeoutMs?: number;
}

/** A connection string that names every member, so that following needs no command. */
export function primaryConninfo(target: FollowTarget): string {
  const pairs: Record<string, string> = {
    host: target.hosts.map(({ host }) => host).join(","),
    port: target.hosts.map(({ port }) => String(port)).join(","),
    user: target.user,
    passfile: target.passfile,
    application_name: target.applicationName,
    target_session_attrs: target.session ?? "read-write",
    // A primary whose volume is nearly full is read-only by default: it must be found and followed all the same, or nobody could take over.
    options: "-c default_transaction_read_only=off",
    connect_timeout: String(target.connectTimeoutS ?? 3),
    tcp_user_timeout: String(target.tcpUserTimeoutMs ?? 5_000),
    keepalives_idle: "3",
    keepalives_interval: "2",
    keepalives_count: "3",
    sslmode: "prefer",
  };
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${conninfoValue(value)}`)
    .join(" ");
}

/** One line of a password file for any host and database. Holds the secret: write it with mode 0600. */
export function passfileLine(user: string, password: Secret): string {
  const escaped = (text: string): string => text.replaceAll(/[\\:]/g, (char) => `\\${char}`);
  return `*:*:*:${escaped(user)}:${escaped(password.reveal())}\n`;
}

/** Quotes a value of a connection string. */
export function conninfoValue(value: string): string {
  return /^[^\s'\\]+$/.test(value) ? value : `'${value.replaceAll(/['\\]/g, (char) => `\\${char}`)}'`;
}

/** postgresql.auto.conf without what users may not set and without what `drop` names; `dropped` names what went. */
export function cleanAutoConf(
  text: string,
  drop: readonly string[] = [],
): { readonly text: string; readonly dropped: readonly string[] } {
  const dropped: string[] = [];
  const kept = text.split("\n").filter((line) => {
    const [entry] = parseParameterFile(line).entries;
    if (entry === undefined) return true;
    const [name, value] = entry;
    if (!drop.includes(name) && parameterProblem(name, value) === null) return true;
    dropped.push(name);
    return false;
  });
  return { text: kept.join("\n"), dropped };
}

/** What Postgres's own defaults are not made for. */
const DEFAULTS: Parameters = {
  wal_level: "replica",
  max_wal_senders: "20",
  max_replication_slots: "20",
  wal_compression: "lz4",
  // A receiver that froze gives its slot back soon, and a dead peer is noticed.
  wal_sender_timeout: "10s",
  wal_receiver_timeout: "10s",
  wal_receiver_status_interval: "1s",
  wal_retrieve_retry_interval: "1s",
  hot_standby_feedback: "off",
  // The log goes to standard error, where the supervisor takes it.
  logging_collector: "off",
  log_destination: "stderr",
  log_line_prefix: "[%p] %q%u@%d ",
  log_checkpoints: "on",
  log_lock_waits: "on",
  log_temp_files: "10MB",
  tcp_keepalives_idle: "30",
  tcp_keepalives_interval: "10",
  tcp_keepalives_count: "3",
  ssl_min_protocol_version: "TLSv1.2",
};

const lines = (parameters: Parameters): readonly string[] =>
  Object.entries(parameters).map(([name, value]) => formatParameter(name, value));

const splitList = (text: string): readonly string[] =>
  text
    .split(",")
    .map((name) => name.trim().replaceAll(/^"|"$/g, ""))
    .filter((name) => name !== "");

const quote = (path: string): string => path.replaceAll("'", "''");
