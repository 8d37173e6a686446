// Postgres's own settings as users give them: which are ours, which would break a promise, how they are written. Pure.

export type Parameters = Readonly<Record<string, string>>;

/** Names and values by the server's spelling, and what is wrong with the rest. */
export interface CheckedParameters {
  readonly parameters: Parameters;
  /** Sentences that begin with the setting's name. */
  readonly problems: readonly string[];
}

/** Checks what users set, wherever they set it. Later values of one name win. */
export function checkParameters(given: Iterable<readonly [name: string, value: string]>): CheckedParameters {
  const parameters: Record<string, string> = {};
  const problems: string[] = [];
  for (const [rawName, value] of given) {
    const name = rawName.toLowerCase();
    const problem = parameterProblem(name, value);
    if (problem === null) parameters[name] = value;
    else problems.push(`${name} ${problem}`);
  }
  return { parameters, problems };
}

/** Why a user may not set this, completing "NAME …"; null when he may. */
export function parameterProblem(name: string, value: string): string | null {
  if (!/^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)?$/.test(name)) return "is not the name of a Postgres setting";
  if (/[\0\n\r]/.test(value)) return "has a value with a line break or a zero byte";
  const owned = OWNED[name];
  if (owned !== undefined) return owned;
  if (name.startsWith("recovery_target"))
    return "is set by RESTORE_TARGET_…, so that it does not stay behind after the restore";
  const rule = RULES[name];
  return rule === undefined ? null : rule(value.trim().toLowerCase());
}

/** `name = 'value'` for a configuration file; quotes and backslashes are doubled. */
export function formatParameter(name: string, value: string): string {
  return `${name} = '${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}

/** Reads the lines of a configuration file as far as users need it: `name = value`, `name value`, quotes, comments. */
export function parseParameterFile(text: string): {
  readonly entries: readonly (readonly [string, string])[];
  /** Sentences that begin with the line's number. */
  readonly problems: readonly string[];
} {
  const entries: (readonly [string, string])[] = [];
  const problems: string[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    // guc-file.l: an optional `=`; a quoted value doubles its quotes or escapes them; a bare one has neither blank nor `#`.
    const match =
      /^\s*([A-Za-z_][\w.$]*)(?:\s*=\s*|\s+)(?:'((?:[^'\\]|''|\\.)*)'|([^\s#']+))\s*(?:#.*)?$/.exec(line);
    if (match === null || /^include(_dir|_if_exists)?$/i.test(match[1]!)) {
      problems.push(`line ${index + 1} is not \`name = value\``);
      continue;
    }
    entries.push([match[1]!.toLowerCase(), match[3] ?? unquote(match[2]!)]);
  }
  return { entries, problems };
}

const unquote = (inner: string): string =>
  inner.replaceAll(/''|\\(.)/g, (_whole, escaped?: string) => escaped ?? "'");

const ours = "is set by Holdfast";
const OWNED: Readonly<Record<string, string>> = {
  archive_mode: `${ours}: the archive depends on it`,
  archive_command: `${ours}: the archive depends on it`,
  archive_library: `${ours}: the archive depends on it`,
  archive_cleanup_command: `${ours}: the archive depends on it`,
  recovery_end_command: `${ours}: restores depend on it`,
  restore_command: `${ours}: restores depend on it`,
  primary_conninfo: `${ours}: a standby follows whoever is primary`,
  primary_slot_name: `${ours}: a standby follows whoever is primary`,
  promote_trigger_file: `${ours}: only the gate promotes`,
  synchronous_standby_names: "is set by Holdfast; say DURABILITY",
  hot_standby: `${ours}: standbys are asked for their position`,
  wal_log_hints: `${ours}: an old primary is rewound by it`,
  config_file: `${ours}: it is started with files of its own`,
  data_directory: "is set by PGDATA",
  hba_file: "is made by Holdfast; add lines in pg_hba.user.conf on the volume",
  ident_file: `${ours}: it is started with files of its own`,
  external_pid_file: `${ours}: it is started with files of its own`,
  unix_socket_directories: `${ours}: its own programs connect there`,
  unix_socket_permissions: `${ours}: the socket asks for no password`,
  unix_socket_group: `${ours}: the socket asks for no password`,
  listen_addresses: "is set by LISTEN_ADDRESS",
  port: "is set by POSTGRES_PORT",
  ssl: "is always on; say TLS_CERT_FILE and TLS_KEY_FILE",
  ssl_cert_file: "is set by TLS_CERT_FILE",
  ssl_key_file: "is set by TLS_KEY_FILE",
  cluster_name: "is set by NODE_NAME",
  wal_segment_size: "is fixed when a cluster is made; say WALG_PG_WAL_SIZE then",
};

const off = /^(off|false|no|0|f|n)$/;
const on = /^(on|true|yes|1|t|y)$/;

const RULES: Readonly<Record<string, (value: string) => string | null>> = {
  fsync: (value) =>
    off.test(value) ? "cannot be off: after a crash the log and the volume would differ (W7)" : null,
  full_page_writes: (value) =>
    off.test(value) ? "cannot be off: a torn page would be restored as it is" : null,
  wal_level: (value) => (value === "minimal" ? "cannot be minimal: nothing could be restored" : null),
  data_sync_retry: (value) => (on.test(value) ? "cannot be on: a failed fsync would be forgotten" : null),
  password_encryption: (value) => (value === "scram-sha-256" ? null : "can only be scram-sha-256"),
  max_wal_senders: (value) => atLeast(value, 5, "the streamer, standbys and backups need them"),
  max_replication_slots: (value) => atLeast(value, 5, "the streamer and the standbys need them"),
  max_slot_wal_keep_size: (value) =>
    value.startsWith("-") ? "cannot be unbounded: a standby that is away would fill the volume" : null,
};

function atLeast(value: string, least: number, because: string): string | null {
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  return number >= least ? null : `must be at least ${least}: ${because}`;
}
