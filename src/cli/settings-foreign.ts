// Names that WAL-G, the official image or postgres-flex know and Holdfast does without: accepted with a sentence, or refused with one.

/** What to say when the name is set. `refused` names would leave data in the clear or elsewhere than asked: they are problems. */
export interface ForeignSetting {
  readonly names: readonly string[];
  readonly refused?: true;
  readonly sentence: string;
}

/** Names match whole; `*` at the end matches any rest. */
export const FOREIGN_SETTINGS: readonly ForeignSetting[] = [
  {
    names: ["S3_RANGE_BATCH_ENABLED", "S3_RANGE_MAX_RETRIES", "WALG_S3_RANGE_*", "WALE_S3_RANGE_*"],
    sentence: "has no effect: a download that breaks off always goes on by range",
  },
  {
    names: ["S3_DELETE_BATCH_SIZE", "WALG_S3_DELETE_BATCH_SIZE"],
    sentence: "has no effect: one request deletes up to 1000 objects",
  },
  {
    names: ["S3_ENABLE_VERSIONING", "WALG_S3_ENABLE_VERSIONING"],
    sentence: "has no effect: old versions of objects are left to the bucket's own rules",
  },
  {
    names: ["AWS_DUAL_STACK", "WALG_AWS_DUAL_STACK"],
    sentence: "has no effect; set AWS_ENDPOINT to the endpoint that answers over IPv6",
  },
  {
    names: ["AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"],
    sentence: "counts only together with AWS_WEB_IDENTITY_TOKEN_FILE and without keys",
  },
  {
    names: ["WALG_GPG_KEY_ID", "WALE_GPG_KEY_ID", "GPG_KEY_ID"],
    refused: true,
    sentence:
      "encryption through an external gpg is not supported, and data would lie in the clear; use WALG_PGP_KEY or WALG_LIBSODIUM_KEY",
  },
  {
    names: ["WALG_CSE_KMS_ID", "WALG_CSE_KMS_REGION", "WALE_CSE_KMS_ID"],
    refused: true,
    sentence:
      "encryption by AWS KMS is not supported, and data would lie in the clear; use WALG_LIBSODIUM_KEY, or S3_SSE=aws:kms",
  },
  {
    names: ["YC_CSE_KMS_KEY_ID", "YC_SERVICE_ACCOUNT_KEY_FILE"],
    refused: true,
    sentence:
      "encryption by Yandex KMS is not supported, and data would lie in the clear; use WALG_LIBSODIUM_KEY",
  },
  {
    names: ["WALG_ENVELOPE_*"],
    refused: true,
    sentence: "envelope encryption is not supported, and data would lie in the clear; use WALG_PGP_KEY",
  },
  {
    names: ["WALG_GS_PREFIX", "WALE_GS_PREFIX"],
    refused: true,
    sentence:
      "Google Cloud Storage is not supported by itself; use its S3 interface: WALG_S3_PREFIX, AWS_ENDPOINT=https://storage.googleapis.com and HMAC keys",
  },
  {
    names: ["WALG_AZ_PREFIX", "WALE_AZ_PREFIX"],
    refused: true,
    sentence: "Azure Blob Storage is not supported; use a store with an S3 interface",
  },
  {
    names: ["WALG_SSH_PREFIX", "WALE_SSH_PREFIX"],
    refused: true,
    sentence: "a store over SSH is not supported; mount the folder and use WALG_FILE_PREFIX",
  },
  {
    names: ["WALG_SWIFT_PREFIX", "WALE_SWIFT_PREFIX"],
    refused: true,
    sentence: "Swift is not supported; use its S3 interface",
  },
  {
    names: ["WALG_OSS_PREFIX"],
    refused: true,
    sentence:
      "Alibaba's own interface is not supported; use its S3 interface: WALG_S3_PREFIX and AWS_ENDPOINT",
  },
  {
    names: ["WALG_FAILOVER_STORAGES"],
    refused: true,
    sentence: "failover storages are set in a configuration file, not by the environment",
  },
  { names: ["WALG_FAILOVER_STORAGES_*"], sentence: "has no effect here" },
  { names: ["WALG_TARGET_STORAGE"], sentence: "has no effect here: there is one store" },
  {
    names: ["GOMAXPROCS", "GODEBUG", "GOGC", "GOMEMLIMIT"],
    sentence: "is a setting of the Go runtime and has no effect here",
  },
  { names: ["WALG_SERIALIZER_TYPE"], sentence: "has no effect, as in WAL-G" },
  {
    names: ["WALG_STREAM_CREATE_COMMAND", "WALG_STREAM_RESTORE_COMMAND", "WALG_STREAM_SPLITTER_*"],
    sentence: "belongs to other databases and has no effect here",
  },
  {
    names: ["WALG_USE_WAL_DELTA", "WALG_FORCE_WAL_DELTA"],
    sentence:
      "has no effect: delta backups read page headers, because WAL-G's delta maps cannot read the WAL of Postgres 15 and later",
  },
  {
    names: ["WALG_DIRECT_IO", "WALG_DIRECT_IO_BLOCK_COUNT"],
    sentence: "has no effect: files are read through the page cache",
  },
  {
    names: ["WALG_USE_RATING_COMPOSER", "WALG_USE_COPY_COMPOSER", "WALG_USE_DATABASE_COMPOSER"],
    sentence: "has no effect: parts are composed in one way",
  },
  {
    names: ["WALG_UPLOAD_WAL_METADATA"],
    sentence: "has no effect: no metadata objects are written beside segments",
  },
  {
    names: ["WALG_PG_WAL_PAGE_SIZE", "WALG_PG_BLOCK_SIZE"],
    sentence: "has no effect: pages of 8192 bytes are supported",
  },
  { names: ["NOTIFY_SOCKET"], sentence: "has no effect: the supervisor does not speak to systemd" },
  {
    names: ["S3_USE_LIST_OBJECTS_V1", "WALG_S3_USE_LIST_OBJECTS_V1"],
    sentence: "has no effect: listings use version 2",
  },
  {
    names: ["S3_SKIP_VALIDATION", "WALG_S3_SKIP_VALIDATION"],
    sentence: "has no effect: the store is always looked at before it is used",
  },
  { names: ["S3_LOG_LEVEL", "WALG_S3_LOG_LEVEL"], sentence: "has no effect; LOG_LEVEL=debug tells more" },
  {
    names: ["S3_REQUEST_ADDITIONAL_HEADERS", "WALG_S3_REQUEST_ADDITIONAL_HEADERS"],
    sentence: "has no effect: no headers are added",
  },
  {
    names: ["S3_ENDPOINT_SOURCE", "S3_ENDPOINT_PORT", "S3_ENDPOINT_PROTOCOL", "WALG_S3_ENDPOINT_*"],
    sentence: "has no effect; set AWS_ENDPOINT",
  },
  {
    names: ["S3_USE_YC_SESSION_TOKEN", "WALG_S3_USE_YC_SESSION_TOKEN"],
    sentence: "has no effect; set AWS_SESSION_TOKEN",
  },
  {
    names: ["S3_DISABLE_100_CONTINUE", "WALG_S3_DISABLE_100_CONTINUE"],
    sentence: "has no effect: no such header is sent",
  },
  {
    names: ["S3_MIN_THROTTLING_RETRY_DELAY", "S3_MAX_THROTTLING_RETRY_DELAY"],
    sentence: "has no effect: pauses after throttling grow by themselves",
  },
  { names: ["AWS_DEFAULT_OUTPUT"], sentence: "has no effect here" },
  {
    names: ["WALG_STATSD_ADDRESS", "WALG_STATSD_EXTRA_TAGS"],
    sentence: "has no effect; metrics are served for Prometheus",
  },
  {
    names: ["HTTP_LISTEN", "HTTP_EXPOSE_PPROF", "HTTP_EXPOSE_EXPVAR"],
    sentence: "has no effect: there is no such debug server",
  },
  {
    names: ["PROFILE_SAMPLING_RATIO", "PROFILE_MODE", "PROFILE_PATH"],
    sentence: "has no effect: there is no such profiler",
  },
  {
    names: [
      "GOOGLE_APPLICATION_CREDENTIALS",
      "GCS_*",
      "AZURE_*",
      "OS_*",
      "OSS_*",
      "SSH_PRIVATE_KEY_PATH",
      "SSH_USERNAME",
      "SSH_PASSWORD",
      "SSH_PORT",
    ],
    sentence: "has no effect: it belongs to a kind of store that is not supported",
  },
  {
    names: ["PGBACKREST_STANZA"],
    sentence: "counts only for the `pgbackrest` commands, which read repositories of pgBackRest",
  },
  {
    names: ["ADMIN_TOKEN", "ADMIN_TOKEN_FILE"],
    sentence:
      "has no effect: nothing can be changed over the network; run the holdfast commands on the machine",
  },
  {
    names: ["POSTGRES_INITDB_WALDIR"],
    refused: true,
    sentence: "WAL lies on the volume, in PGDATA; a folder of its own is not supported",
  },
  { names: ["FLY_CONSUL_URL", "FLY_CONSUL_*"], sentence: "has no effect: the cluster needs no Consul" },
  { names: ["SSH_KEY", "SSH_CERT"], sentence: "has no effect: no node logs in to another" },
  {
    names: ["BARMAN_ENABLED", "S3_ARCHIVE_CONFIG", "S3_ARCHIVE_REMOTE_RESTORE_CONFIG"],
    sentence: "has no effect; the archive is set by WALG_S3_PREFIX or BUCKET_NAME, a restore by RESTORE_FROM",
  },
];

/** The sentence for a name, or null when it is none of these. */
export function foreignSetting(name: string): ForeignSetting | null {
  const found = FOREIGN_SETTINGS.find(({ names }) =>
    names.some((known) => (known.endsWith("*") ? name.startsWith(known.slice(0, -1)) : known === name)),
  );
  return found ?? null;
}
