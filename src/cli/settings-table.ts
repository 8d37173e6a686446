// The table of Holdfast's own settings, the official image's and those of Fly. docs/settings.md is printed from it.

import { Secret } from "../base/secret.ts";
import {
  addresses,
  byteCount,
  choice,
  duration,
  list,
  pattern,
  setting,
  text,
  whole,
  yesOrNo,
} from "./setting-kinds.ts";

const secret = (value: string): Secret => new Secret(value);

/** Names of Postgres roles and databases of ours must fit NAMEDATALEN. */
const sqlName = pattern(/^[^\0]{1,63}$/u, "write a name of 1 to 63 bytes");
/** Becomes part of object keys and of slot names. */
const plainName = pattern(
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
  "write 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first",
);

/** What the node is, how it is reached, what it promises. */
export const NODE_TABLE = {
  CLUSTER_NAME: setting(
    "Cluster",
    "name",
    plainName,
    "Name of the cluster; part of the default prefix in the bucket.",
    {
      shownDefault: "`FLY_APP_NAME`, else `holdfast`",
    },
  ),
  NODE_NAME: setting(
    "Cluster",
    "name",
    plainName,
    "Name of this node, stable over restarts; other nodes must reach it by this name unless `NODES` says otherwise.",
    {
      shownDefault: "`FLY_MACHINE_ID`, else the host's name",
    },
  ),
  NODES: setting(
    "Cluster",
    "list of names",
    list,
    "Names of all nodes by which they reach each other (`n1,n2,n3`, or `n1=host1,n2=host2`); the same on every node. Empty: this node is alone.",
    {
      shownDefault: "on Fly `<app>.internal`, else none",
    },
  ),
  NODE_PRIORITY: setting(
    "Cluster",
    "0 to 1000",
    whole(0, 1000),
    "Which standby is preferred when two have the same WAL; 0 is never promoted.",
    { fallback: 100 },
  ),
  REGION: setting("Cluster", "name", plainName, "Where this node is.", { aliases: ["FLY_REGION"] }),
  PRIMARY_REGION: setting(
    "Cluster",
    "name",
    plainName,
    "Only nodes of this region are promoted without a command.",
  ),
  FORGET_AFTER: setting(
    "Cluster",
    "duration, 1 minute at least",
    duration(60_000),
    "A member not heard for this long stops counting and loses its replication slot; it joins again by itself when it comes back.",
    { fallback: 24 * 3_600_000, shownDefault: "24h" },
  ),
  DURABILITY: setting(
    "Cluster",
    "one of `async`, `bucket`, `standby`, `both`",
    choice(["async", "bucket", "standby", "both"]),
    "What a commit waits for. `async`: the local disk; the store follows within `WAL_FLUSH_INTERVAL`. `bucket`: the store. `standby`: one standby. `both`: both.",
    { fallback: "async" },
  ),
  DURABILITY_POLICY: setting(
    "Cluster",
    "one of `strict`, `bounded`",
    choice(["strict", "bounded"]),
    "When the store or the standby does not answer: `strict` lets commits wait, `bounded` goes on without after `DURABILITY_GRACE`, loudly.",
    { fallback: "strict" },
  ),
  DURABILITY_GRACE: setting("Cluster", "duration", duration(1_000), "How long `bounded` waits.", {
    fallback: 30_000,
    shownDefault: "30s",
  }),
  STOP_TIMEOUT: setting(
    "Node",
    "duration",
    duration(2_000),
    "How long a stop may take in all; the container's own limit must be longer.",
    { fallback: 60_000, shownDefault: "60s" },
  ),
  DISK_READ_ONLY_BELOW: setting(
    "Node",
    "bytes",
    byteCount(0),
    "With less room than this on the volume new transactions are read-only, with half of it those that write are ended; with half as much again writes are taken. 0: never.",
    { shownDefault: "5 % of the volume, 96 MiB to 1 GiB" },
  ),
  LOG_LEVEL: setting(
    "Node",
    "one of `debug`, `info`, `warn`, `error`",
    choice(["debug", "info", "warn", "error"]),
    "How much the supervisor tells.",
    { fallback: "info", aliases: ["HOLDFAST_LOG_LEVEL"] },
  ),
  LOG_FORMAT: setting(
    "Node",
    "one of `text`, `json`",
    choice(["text", "json"]),
    "Lines for people or for machines.",
    { fallback: "text", aliases: ["HOLDFAST_LOG_FORMAT"] },
  ),
  PORT: setting(
    "Node",
    "port",
    whole(1, 65_535),
    "Clients connect here and reach the primary, on whichever node it is.",
    { fallback: 5432, aliases: ["PROXY_PORT"] },
  ),
  READ_PORT: setting("Node", "port", whole(1, 65_535), "Clients connect here for reading from standbys.", {
    fallback: 5434,
  }),
  POSTGRES_PORT: setting("Node", "port", whole(1, 65_535), "Postgres itself listens here.", {
    fallback: 5433,
  }),
  CHECK_PORT: setting("Node", "port", whole(1, 65_535), "Health checks and the API.", {
    fallback: 5500,
    aliases: ["HOLDFAST_CHECK_PORT"],
  }),
  METRICS_PORT: setting("Node", "port", whole(1, 65_535), "`/metrics` for Prometheus.", { fallback: 9187 }),
  LISTEN_ADDRESS: setting(
    "Node",
    "list of addresses",
    addresses,
    "Where the ports above listen besides 127.0.0.1; `*` is everywhere. Other nodes need the checks' port and Postgres's.",
    { shownDefault: "`*`" },
  ),
  DATA_VOLUME: setting("Node", "path", text, "The volume.", { fallback: "/data" }),
  PGDATA: setting("Node", "path", text, "The data directory, a folder below the volume.", {
    shownDefault: "`DATA_VOLUME`/pgdata",
  }),
  RUN_DIRECTORY: setting("Node", "path", text, "Sockets of this start: not on the volume.", {
    fallback: "/run/holdfast",
  }),
  PG_BIN: setting("Node", "path", text, "The folder of the Postgres programs.", {
    shownDefault: "the newest in /usr/lib/postgresql",
    aliases: ["HOLDFAST_PG_BIN"],
  }),
  MEMORY_LIMIT: setting(
    "Node",
    "bytes",
    byteCount(64 << 20),
    "Memory that Postgres's defaults are made for.",
    { shownDefault: "the container's limit, else the machine's memory" },
  ),
  RELEASE_COMMAND: setting(
    "Node",
    "yes or no",
    yesOrNo,
    "Set by Fly in machines that run a release command: such a machine founds, fences and joins nothing.",
    { fallback: false },
  ),
  FLY_APP_NAME: setting("Node", "name", text, "Set by Fly."),
  FLY_MACHINE_ID: setting("Node", "name", text, "Set by Fly; names this node."),
  FLY_PRIVATE_IP: setting("Node", "address", text, "Set by Fly."),
} as const;

/** Who may connect, and Postgres's own settings. */
export const POSTGRES_TABLE = {
  POSTGRES_USER: setting("Postgres", "name", sqlName, "The superuser.", { fallback: "postgres", file: true }),
  POSTGRES_PASSWORD: setting(
    "Postgres",
    "secret",
    secret,
    "The superuser's password. `SU_PASSWORD` is the same. Set anew at each start of a primary.",
    {
      aliases: ["SU_PASSWORD"],
      secret: true,
      shownDefault: "required with a bucket; else generated and kept on the volume",
    },
  ),
  POSTGRES_DB: setting("Postgres", "name", sqlName, "Database made in a new cluster.", {
    file: true,
    shownDefault: "`POSTGRES_USER`",
  }),
  OPERATOR_PASSWORD: setting(
    "Postgres",
    "secret",
    secret,
    "Password of the role `operator`: may create databases and roles, watch and cancel; no superuser (on Postgres 15 the right to make roles is close to that). Without it there is no such role.",
    { secret: true },
  ),
  REPL_PASSWORD: setting(
    "Postgres",
    "secret",
    secret,
    "Password of the role `repmgr`, by which nodes replicate from each other. The same on all nodes.",
    {
      secret: true,
      shownDefault: "derived from the superuser's",
    },
  ),
  POSTGRES_INITDB_ARGS: setting(
    "Postgres",
    "words as in a shell",
    text,
    "More arguments for initdb, used once, for a new cluster.",
    { file: true },
  ),
  POSTGRES_HOST_AUTH_METHOD: setting(
    "Postgres",
    "one of `scram-sha-256`, `md5`, `trust`",
    choice(["scram-sha-256", "md5", "trust"]),
    "How clients prove who they are. `md5` means `scram-sha-256` here. `trust` lets everybody in without a password.",
    { fallback: "scram-sha-256" },
  ),
  POSTGRES_PRELOAD: setting(
    "Postgres",
    "list of names",
    list,
    "More libraries for `shared_preload_libraries`, such as `pg_cron`.",
  ),
  TLS_CERT_FILE: setting(
    "Postgres",
    "path",
    text,
    "Certificate (PEM, chain included) for clients that want TLS.",
    { shownDefault: "a self-signed one is made" },
  ),
  TLS_KEY_FILE: setting("Postgres", "path", text, "Its key.", {
    shownDefault: "made together with the certificate",
  }),
  TLS_REQUIRED: setting(
    "Postgres",
    "yes or no",
    yesOrNo,
    "Refuse clients from other machines that come without TLS.",
    { fallback: false },
  ),
} as const;

/** Streaming, base backups, restores. */
export const BACKUP_TABLE = {
  WAL_FLUSH_INTERVAL: setting(
    "WAL",
    "duration",
    duration(50, 3_600_000),
    "While WAL is written, it is put into the store this often: what a lost volume can cost.",
    { fallback: 1_000, shownDefault: "1s" },
  ),
  BACKUP_SCHEDULE: setting(
    "Backups",
    "cron expression, or `off`",
    pattern(
      /^(off|none|never|([\d*/,a-z-]+\s+){4,5}[\d*/,a-z-]+)$/i,
      "write a cron expression of five fields such as `0 3 * * *`, or off",
    ),
    "When base backups are taken, in UTC.",
    { fallback: "0 3 * * *" },
  ),
  BACKUP_RETAIN_COUNT: setting(
    "Backups",
    "whole number",
    whole(1, 100_000),
    "Keep this many full backups; more when `BACKUP_RETAIN_DAYS` asks for more.",
    { fallback: 7 },
  ),
  BACKUP_RETAIN_DAYS: setting(
    "Backups",
    "whole number",
    whole(0, 36_500),
    "Keep what is needed to restore any moment of so many days; 0: by count alone.",
    { fallback: 0 },
  ),
  RESTORE_FROM: setting(
    "Restore",
    "prefix",
    text,
    "Fill an empty volume from this archive (`s3://bucket/prefix` or a folder) and go on as a cluster of its own; it is never written to.",
    {
      shownDefault: "the cluster's own archive",
    },
  ),
  RESTORE_BACKUP: setting("Restore", "name", text, "Begin with this base backup.", {
    fallback: "LATEST",
    shownDefault: "the newest that reaches the target",
  }),
  RESTORE_TARGET_TIME: setting(
    "Restore",
    "time",
    text,
    "Stop at this moment: `2026-11-24 12:00:00+00`; without a zone it is UTC.",
    { quotable: false },
  ),
  RESTORE_TARGET_LSN: setting("Restore", "LSN", text, "Stop at this position: `0/3000148`."),
  RESTORE_TARGET_XID: setting("Restore", "transaction", text, "Stop at this transaction."),
  RESTORE_TARGET_NAME: setting(
    "Restore",
    "name",
    text,
    "Stop at this restore point, made with `pg_create_restore_point`.",
  ),
  RESTORE_TARGET_IMMEDIATE: setting(
    "Restore",
    "yes or no",
    yesOrNo,
    "Stop as soon as the backup is consistent.",
    { fallback: false },
  ),
  RESTORE_TARGET_INCLUSIVE: setting(
    "Restore",
    "yes or no",
    yesOrNo,
    "Whether what is exactly at the target still counts.",
    { fallback: true },
  ),
  RESTORE_TARGET_TIMELINE: setting(
    "Restore",
    "`latest` or a number",
    text,
    "The timeline to follow; an abandoned one too.",
    { fallback: "latest" },
  ),
  RESTORE_AWS_ACCESS_KEY_ID: setting(
    "Restore",
    "text",
    text,
    "Key for `RESTORE_FROM`, when it is another than the store's.",
    { file: true, shownDefault: "`AWS_ACCESS_KEY_ID`" },
  ),
  RESTORE_AWS_SECRET_ACCESS_KEY: setting("Restore", "secret", secret, "Its secret.", {
    secret: true,
    shownDefault: "`AWS_SECRET_ACCESS_KEY`",
  }),
  RESTORE_AWS_ENDPOINT: setting("Restore", "URL", text, "Endpoint of `RESTORE_FROM`.", {
    shownDefault: "`AWS_ENDPOINT`",
  }),
  RESTORE_AWS_REGION: setting("Restore", "name", text, "Region of `RESTORE_FROM`.", {
    shownDefault: "`AWS_REGION`",
  }),
} as const;
