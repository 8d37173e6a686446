// The rows of the settings table that carry WAL-G's names: codecs, WAL, backups, connection.

import { Secret } from "../base/secret.ts";
import {
  byteCount,
  choice,
  duration,
  json,
  pattern,
  setting,
  text,
  whole,
  yesOrNo,
} from "./setting-kinds.ts";

const secret = (value: string): Secret => new Secret(value.trim());

export const CODEC_TABLE = {
  WALG_COMPRESSION_METHOD: setting(
    "Compression and encryption",
    "one of `lz4`, `zstd`, `brotli`, `lzma`, `none`",
    choice(["lz4", "zstd", "brotli", "lzma", "none"]),
    "How new objects are compressed; every method is read.",
    { fallback: "lz4", aliases: ["WALE_COMPRESSION_METHOD"] },
  ),
  WALG_ZSTD_LEVEL: setting(
    "Compression and encryption",
    "one of `fastest`, `default`, `better`, `best`",
    choice(["fastest", "default", "better", "best"]),
    "Level of zstd.",
    { fallback: "default" },
  ),
  WALG_LIBSODIUM_KEY: setting(
    "Compression and encryption",
    "secret",
    secret,
    "Key for libsodium encryption.",
    { secret: true, file: false },
  ),
  WALG_LIBSODIUM_KEY_PATH: setting("Compression and encryption", "path", text, "File that holds the key.", {
    aliases: ["WALG_LIBSODIUM_KEY_FILE"],
  }),
  WALG_LIBSODIUM_KEY_TRANSFORM: setting(
    "Compression and encryption",
    "one of `none`, `hex`, `base64`",
    choice(["none", "hex", "base64"]),
    "How the key is written.",
    { fallback: "none" },
  ),
  WALG_PGP_KEY: setting(
    "Compression and encryption",
    "secret",
    (value) => new Secret(value),
    "OpenPGP key, armoured.",
    { secret: true, file: false },
  ),
  WALG_PGP_KEY_PATH: setting("Compression and encryption", "path", text, "File that holds the OpenPGP key.", {
    aliases: ["WALG_PGP_KEY_FILE"],
  }),
  WALG_PGP_KEY_PASSPHRASE: setting(
    "Compression and encryption",
    "secret",
    (value) => new Secret(value),
    "Passphrase of that key.",
    { secret: true },
  ),
} as const;

export const WAL_TABLE = {
  WALG_PREVENT_WAL_OVERWRITE: setting(
    "WAL",
    "yes or no",
    yesOrNo,
    "Refuse other content under a name that exists. A bucket with a tail log never overwrites, whatever this says.",
    { fallback: true },
  ),
  WALG_UPLOAD_CONCURRENCY: setting(
    "WAL",
    "whole number",
    whole(1, 256),
    "Segments, and parts of an object, uploaded at once.",
    { fallback: 16, aliases: ["UPLOAD_CONCURRENCY"] },
  ),
  WALG_DOWNLOAD_CONCURRENCY: setting(
    "WAL",
    "whole number",
    whole(1, 256),
    "Parts downloaded at once, and segments fetched ahead; 1 fetches none ahead.",
    { fallback: 10 },
  ),
  TOTAL_BG_UPLOADED_LIMIT: setting(
    "WAL",
    "whole number",
    whole(1, 100_000),
    "Most segments that one `wal-push` uploads.",
    { fallback: 32 },
  ),
  WALG_PREFETCH_DIR: setting("WAL", "path", text, "Where segments fetched ahead wait.", {
    shownDefault: "a folder on the volume",
  }),
  PG_READY_RENAME: setting(
    "WAL",
    "yes or no",
    yesOrNo,
    "`wal-push` marks what it uploaded besides as done.",
    { fallback: false },
  ),
  WALG_INTEGRITY_MAX_DELAYED_WALS: setting(
    "WAL",
    "whole number",
    whole(0, 100_000),
    "How many segments at the end `wal-verify` counts as delayed, not lost.",
    { fallback: 0 },
  ),
  WALG_SLOTNAME: setting(
    "WAL",
    "name",
    pattern(/^[a-z0-9_]{1,63}$/, "write lower-case letters, digits and underscores"),
    "Replication slot of the streamer and of `wal-receive`.",
    { fallback: "holdfast" },
  ),
  WALG_PG_WAL_SIZE: setting(
    "WAL",
    "MiB",
    whole(1, 1024),
    "Size of a WAL segment of a new cluster, and for commands without a server.",
    { fallback: 16 },
  ),
  WALG_DAEMON_WAL_UPLOAD_TIMEOUT: setting(
    "WAL",
    "duration",
    duration(1_000),
    "Longest answer of the daemon.",
    { fallback: 60_000, shownDefault: "60s" },
  ),
} as const;

export const BASE_BACKUP_TABLE = {
  WALG_UPLOAD_DISK_CONCURRENCY: setting(
    "Backups",
    "whole number",
    whole(1, 64),
    "Parts of a base backup filled at once.",
    { fallback: 1 },
  ),
  WALG_UPLOAD_QUEUE: setting(
    "Backups",
    "whole number",
    whole(0, 64),
    "Finished parts of a remote backup that may still be uploading.",
    { fallback: 2 },
  ),
  WALG_TAR_SIZE_THRESHOLD: setting(
    "Backups",
    "bytes",
    byteCount(1 << 20),
    "A part is closed when it is larger.",
    { fallback: 1_073_741_823 },
  ),
  WALG_TAR_DISABLE_FSYNC: setting(
    "Backups",
    "yes or no",
    yesOrNo,
    "`backup-fetch` does not sync what it restored. Only for trials: a power cut soon after spoils it.",
    { fallback: false },
  ),
  WALG_DISK_RATE_LIMIT: setting("Backups", "bytes a second", byteCount(1), "A base backup reads no faster."),
  WALG_DOWNLOAD_FILE_RETRIES: setting(
    "Backups",
    "whole number",
    whole(0, 1_000),
    "Tries more for a part of a restore that could not be fetched; for at most a minute when not set.",
    { shownDefault: "3" },
  ),
  WALG_DELTA_MAX_STEPS: setting(
    "Backups",
    "whole number",
    whole(0, 1_000),
    "Delta backups between full ones; 0: always full.",
    { fallback: 0 },
  ),
  WALG_DELTA_ORIGIN: setting(
    "Backups",
    "`LATEST` or `LATEST_FULL`",
    choice(["LATEST", "LATEST_FULL"]),
    "What a delta builds on.",
    { fallback: "LATEST" },
  ),
  WALG_DELTA_FROM_NAME: setting("Backups", "name", text, "A certain backup to build on."),
  WALG_DELTA_FROM_USER_DATA: setting("Backups", "JSON", json, "The same, found by its user data.", {
    quotable: true,
  }),
  WALG_SENTINEL_USER_DATA: setting("Backups", "JSON", json, "Stored with the backup.", { quotable: true }),
  WALG_FETCH_TARGET_USER_DATA: setting("Backups", "JSON", json, "Chooses the backup to restore.", {
    quotable: true,
  }),
  WALG_USE_REVERSE_UNPACK: setting(
    "Backups",
    "yes or no",
    yesOrNo,
    "Accepted: what comes out is the same either way.",
    { fallback: false },
  ),
  WALG_SKIP_REDUNDANT_TARS: setting(
    "Backups",
    "yes or no",
    yesOrNo,
    "Accepted: parts that newer links replace wholly are always left out.",
    { fallback: false },
  ),
  WALG_WITHOUT_FILES_METADATA: setting("Backups", "yes or no", yesOrNo, "Write no `files_metadata.json`.", {
    fallback: false,
  }),
  WALG_DISABLE_PARTIAL_RESTORE: setting(
    "Backups",
    "yes or no",
    yesOrNo,
    "Do not note the names of databases and tables.",
    { fallback: false },
  ),
  WALG_VERIFY_PAGE_CHECKSUMS: setting(
    "Backups",
    "yes or no",
    yesOrNo,
    "Check pages on the way into a backup.",
    { fallback: true },
  ),
  WALG_STORE_ALL_CORRUPT_BLOCKS: setting(
    "Backups",
    "yes or no",
    yesOrNo,
    "Note every corrupt block, not only the first ten of a file.",
    { fallback: false },
  ),
  WALG_ALIVE_CHECK_INTERVAL: setting(
    "Backups",
    "duration",
    duration(0),
    "Ask this often whether the backup's session still lives; 0: never.",
    { fallback: 60_000, shownDefault: "1m" },
  ),
  WALG_STOP_BACKUP_TIMEOUT: setting("Backups", "duration", duration(1_000), "Longest `pg_backup_stop`."),
} as const;

export const WALG_COMMAND_TABLE = {
  WALG_CONFIG_PATH: setting("WAL-G commands", "path", text, "A configuration file.", {
    shownDefault: "`~/.walg.json`, `.yaml`, `.yml`, `.env`",
  }),
  WALG_LOG_LEVEL: setting(
    "WAL-G commands",
    "one of `NORMAL`, `DEVEL`, `ERROR`",
    choice(["NORMAL", "DEVEL", "ERROR"]),
    "How much the commands tell.",
    { fallback: "NORMAL" },
  ),
  WALG_LOG_DESTINATION: setting("WAL-G commands", "path", text, "Where they tell it.", {
    fallback: "stderr",
  }),
  PGHOST: setting("WAL-G commands", "name or folder", text, "Server for `backup-push`.", {
    shownDefault: "the local socket",
  }),
  PGPORT: setting("WAL-G commands", "port", whole(1, 65_535), "Its port.", {
    shownDefault: "`POSTGRES_PORT`",
  }),
  PGUSER: setting("WAL-G commands", "name", text, "Role for it.", { shownDefault: "`POSTGRES_USER`" }),
  PGPASSWORD: setting("WAL-G commands", "secret", (value) => new Secret(value), "Password for it.", {
    secret: true,
    file: false,
  }),
  PGPASSFILE: setting("WAL-G commands", "path", text, "File of passwords."),
  PGDATABASE: setting("WAL-G commands", "name", text, "Database for it.", { shownDefault: "`postgres`" }),
  PGSSLMODE: setting(
    "WAL-G commands",
    "one of `disable`, `prefer`, `require`, `verify-ca`, `verify-full`",
    choice(["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
    "TLS for it.",
    { fallback: "prefer" },
  ),
  PGSSLROOTCERT: setting("WAL-G commands", "path", text, "Certificates to check the server against."),
  PGSSLCERT: setting("WAL-G commands", "path", text, "Certificate to show to the server."),
  PGSSLKEY: setting("WAL-G commands", "path", text, "Its key."),
  PGAPPNAME: setting("WAL-G commands", "text", text, "Name shown in `pg_stat_activity`.", {
    fallback: "wal-g",
  }),
} as const;
