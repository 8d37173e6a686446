// The environment in, typed settings or every problem out.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  readSettings,
  readStoreSettings,
  mergeEnvironment,
  SettingsError,
  type Settings,
} from "../../src/cli/settings.ts";
import type { SettingsWorld } from "../../src/cli/read-table.ts";

const FILES: Readonly<Record<string, string>> = {
  "/run/secrets/password": "from-a-file\n",
  "/run/secrets/empty": "\n",
};
const world = (mounted = false): SettingsWorld => ({
  readFile: (path) => {
    const text = FILES[path];
    if (text === undefined) throw new Error(`ENOENT: no such file, "${path}"`);
    return text;
  },
  isFolder: (path) => mounted && path === "/store",
  hostname: "box",
});

const BUCKET = {
  WALG_S3_PREFIX: "s3://bucket/db",
  AWS_ACCESS_KEY_ID: "key",
  AWS_SECRET_ACCESS_KEY: "secret-key-of-the-bucket",
  POSTGRES_PASSWORD: "a-good-password_1",
};

const read = (env: Record<string, string>, mounted = false): Settings => readSettings(env, world(mounted));
const problemsOf = (env: Record<string, string>): readonly string[] => {
  try {
    read(env);
    return [];
  } catch (error) {
    assert.ok(error instanceof SettingsError, String(error));
    assert.equal(error.exitStatus, 2);
    return error.problems;
  }
};

test("nothing at all: a folder on the volume, a generated password, and a sentence that says what is not protected", () => {
  const settings = read({});
  assert.deepEqual(settings.store, { kind: "folder", path: "/data/holdfast/store", origin: "volume" });
  assert.equal(settings.postgres.superuserPassword, null);
  assert.equal(settings.postgres.superuser, "postgres");
  assert.match(settings.notices.join(), /the archive lies on the volume and is lost together with it/);
  assert.equal(settings.restore, null);
});

test("nothing but a mounted folder: it is the store, and nothing needs saying", () => {
  const settings = read({}, true);
  assert.deepEqual(settings.store, { kind: "folder", path: "/store", origin: "mounted" });
  assert.deepEqual(settings.notices, []);
});

test("the addresses to listen on: everywhere, or those that are named and the loopback", () => {
  assert.equal(read({}).node.listenAddresses, null);
  assert.equal(read({ LISTEN_ADDRESS: "*" }).node.listenAddresses, null);
  assert.deepEqual(read({ LISTEN_ADDRESS: "10.0.0.5,fly-local-6pn" }).node.listenAddresses, [
    "127.0.0.1",
    "10.0.0.5",
    "fly-local-6pn",
  ]);
  assert.match(problemsOf({ LISTEN_ADDRESS: "10.0.0.5;rm" }).join(), /LISTEN_ADDRESS names "10.0.0.5;rm"/);
});

test("the settings are frozen, and no secret shows when they are printed", () => {
  const settings = read({ ...BUCKET, REPL_PASSWORD: "replication-pw", WALG_LIBSODIUM_KEY: "sodium-key" });
  assert.throws(() => {
    (settings as { store: unknown }).store = null;
  }, TypeError);
  const printed = JSON.stringify(settings);
  for (const secret of ["secret-key-of-the-bucket", "a-good-password_1", "replication-pw", "sodium-key"]) {
    assert.ok(!printed.includes(secret), secret);
  }
});

test("a bucket by WAL-G's names", () => {
  const { store, codec } = read({
    ...BUCKET,
    WALG_S3_PREFIX: "s3://bucket/some//path/",
    AWS_ENDPOINT: "minio:9000",
    AWS_REGION: "eu-west-1",
    AWS_S3_FORCE_PATH_STYLE: "false",
    S3_STORAGE_CLASS: "STANDARD_IA",
    S3_SSE: "aws:kms",
    S3_SSE_KMS_ID: "key-7",
    S3_RETENTION_PERIOD: "3600",
    S3_MAX_RETRIES: "4",
    WALG_COMPRESSION_METHOD: "zstd",
    WALG_ZSTD_LEVEL: "better",
  });
  assert.ok(store.kind === "s3" && store.credentials.kind === "keys");
  assert.equal(store.bucket, "bucket");
  assert.equal(store.prefix, "some//path");
  assert.equal(store.endpoint, "https://minio:9000");
  assert.equal(store.region, "eu-west-1");
  assert.equal(store.forcePathStyle, false);
  assert.equal(store.storageClass, "STANDARD_IA");
  assert.deepEqual(store.encryption, { kind: "aws:kms", keyId: "key-7" });
  assert.deepEqual(store.lock, { seconds: 3600, mode: "GOVERNANCE" });
  assert.equal(store.maxRetries, 4);
  assert.equal(store.credentials.secretAccessKey.reveal(), "secret-key-of-the-bucket");
  assert.deepEqual(codec.compression, { method: "zstd", zstdLevel: "better" });
});

for (const { name, env, expected } of [
  {
    name: "WALE_S3_PREFIX is the old spelling",
    env: { WALG_S3_PREFIX: "", WALE_S3_PREFIX: "s3://old/x" },
    expected: { bucket: "old", prefix: "x" },
  },
  {
    name: "a prefix may be the bucket's root",
    env: { WALG_S3_PREFIX: "s3://bucket" },
    expected: { bucket: "bucket", prefix: "" },
  },
  {
    name: "WALG_STORAGE_PREFIX lies below",
    env: { WALG_STORAGE_PREFIX: "/deep/er/" },
    expected: { prefix: "db/deep/er" },
  },
  {
    name: "a scheme is kept",
    env: { AWS_ENDPOINT: "http://s3:9000/" },
    expected: { endpoint: "http://s3:9000" },
  },
  {
    name: "no scheme means https",
    env: { AWS_ENDPOINT: "s3.eu-central-1.amazonaws.com" },
    expected: { endpoint: "https://s3.eu-central-1.amazonaws.com", forcePathStyle: false },
  },
  {
    name: "an address cannot have a bucket in front",
    env: { AWS_ENDPOINT: "http://127.0.0.1:9000" },
    expected: { forcePathStyle: true },
  },
  {
    name: "an IPv6 address cannot either",
    env: { AWS_ENDPOINT: "http://[fdaa::3]:9000" },
    expected: { endpoint: "http://[fdaa::3]:9000", forcePathStyle: true },
  },
  {
    name: "nor can a name without a dot",
    env: { AWS_ENDPOINT: "http://minio" },
    expected: { forcePathStyle: true },
  },
  {
    name: "WALG_ in front of AWS's names",
    env: { WALG_AWS_REGION: "r1", WALG_AWS_S3_FORCE_PATH_STYLE: "1" },
    expected: { region: "r1", forcePathStyle: true },
  },
  {
    name: "the bare name wins",
    env: { WALG_AWS_REGION: "r1", AWS_REGION: "r2" },
    expected: { region: "r2" },
  },
  { name: "AWS_DEFAULT_REGION counts last", env: { AWS_DEFAULT_REGION: "r3" }, expected: { region: "r3" } },
  { name: "customer's key", env: { S3_SSE: "AES256" }, expected: { encryption: { kind: "AES256" } } },
] as const) {
  test(`store: ${name}`, () => {
    const store = read({ ...BUCKET, ...env }).store as unknown as Record<string, unknown>;
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(store[key], value, key);
  });
}

test("what `fly storage create` sets is enough, with the app's name as the prefix", () => {
  const env = {
    BUCKET_NAME: "wispy-moon-42",
    AWS_ENDPOINT_URL_S3: "https://fly.storage.tigris.dev",
    AWS_ACCESS_KEY_ID: "tid_x",
    AWS_SECRET_ACCESS_KEY: "tsec_y",
    AWS_REGION: "auto",
    FLY_APP_NAME: "my-db",
    FLY_MACHINE_ID: "148ed193b95089",
    FLY_REGION: "ams",
    FLY_PRIVATE_IP: "fdaa:0:1::3",
    PRIMARY_REGION: "ams",
    SU_PASSWORD: "su",
    OPERATOR_PASSWORD: "op",
    REPL_PASSWORD: "re",
  };
  const { store, cluster, postgres, notices } = read(env);
  assert.ok(store.kind === "s3");
  assert.deepEqual(
    [store.bucket, store.prefix, store.region, store.endpoint, store.forcePathStyle],
    ["wispy-moon-42", "my-db", "auto", "https://fly.storage.tigris.dev", false],
  );
  assert.deepEqual(cluster, {
    name: "my-db",
    nodeName: "148ed193b95089",
    nodes: ["my-db.internal"],
    priority: 100,
    region: "ams",
    primaryRegion: "ams",
    forgetAfterMs: 86_400_000,
    fly: { app: "my-db", machine: "148ed193b95089" },
  });
  assert.equal(postgres.superuserPassword?.reveal(), "su");
  assert.equal(postgres.operatorPassword?.reveal(), "op");
  assert.deepEqual(notices, []);
  assert.deepEqual(problemsOf({ ...env, FLY_APP_NAME: "" }), [
    "BUCKET_NAME needs CLUSTER_NAME, or WALG_S3_PREFIX in its place: two clusters must not share a prefix",
  ]);
});

test("the official image's names", () => {
  const { postgres } = read({
    POSTGRES_USER: "boss",
    POSTGRES_PASSWORD_FILE: "/run/secrets/password",
    POSTGRES_INITDB_ARGS: `--locale=C --lc-collate="C.UTF-8" -k`,
    POSTGRES_HOST_AUTH_METHOD: "MD5",
    POSTGRES_CONFIG_WORK_MEM: "64MB",
    POSTGRES_CONFIG_cron__database_name: "app",
    POSTGRES_PRELOAD: "pg_cron, auto_explain",
  });
  assert.equal(postgres.superuser, "boss");
  assert.equal(postgres.database, "boss");
  assert.equal(postgres.superuserPassword?.reveal(), "from-a-file");
  assert.deepEqual(postgres.initdbArgs, ["--locale=C", "--lc-collate=C.UTF-8", "-k"]);
  assert.equal(postgres.hostAuth, "scram-sha-256");
  assert.deepEqual(postgres.parameters, { work_mem: "64MB", "cron.database_name": "app" });
  assert.deepEqual(postgres.preload, ["pg_stat_statements", "repmgr", "pg_cron", "auto_explain"]);
  assert.match(
    read({ POSTGRES_HOST_AUTH_METHOD: "trust" }).notices.join("\n"),
    /everybody who reaches the port is let in/,
  );
});

test("all problems come at once, in whole sentences that begin with a name", () => {
  assert.deepEqual(
    problemsOf({
      WALG_S3_PREFIX: "bucket/db",
      AWS_ACCESS_KEY_ID: "key",
      AWS_ENDPOINT: "ftp://x",
      WAL_FLUSH_INTERVAL: "soon",
      STOP_TIMEOUT: "1s",
      WALG_COMPRESSION_METHOD: "gzip",
      S3_SSE_KMS_ID: "id",
      TLS_CERT_FILE: "/x",
      WALG_LIBSODIUM_KEY: "a",
      WALG_LIBSODIUM_KEY_PATH: "/b",
      WALG_PGP_KEY: "c",
      BACKUP_RETAIN_COUNT: "0",
      POSTGRES_CONFIG_FSYNC: "off",
      POSTGRES_USER: "pg_boss",
      RESTORE_TARGET_TIME: "yesterday",
      RESTORE_TARGET_XID: "12",
    }),
    [
      'STOP_TIMEOUT is "1s"; at least 2s',
      'WAL_FLUSH_INTERVAL is "soon"; write a duration as 500ms, 10s, 1m30s, 2h or 7d',
      'BACKUP_RETAIN_COUNT is "0"; write a whole number from 1 to 100000',
      'WALG_COMPRESSION_METHOD is "gzip"; one of lz4, zstd, brotli, lzma, none',
      'WALG_S3_PREFIX is "bucket/db"; write s3://bucket/path',
      'AWS_ENDPOINT is "ftp://x"; write http://host:port or https://host',
      "AWS_SECRET_ACCESS_KEY is missing, though AWS_ACCESS_KEY_ID is set",
      "S3_SSE_KMS_ID is set, but S3_SSE is not aws:kms",
      "POSTGRES_PASSWORD is missing (or SU_PASSWORD): with a bucket or other nodes it must be the same everywhere",
      'POSTGRES_USER is "pg_boss", a name that is taken',
      "TLS_KEY_FILE is missing: certificate and key belong together",
      "POSTGRES_CONFIG_…: fsync cannot be off: after a crash the log and the volume would differ (W7)",
      "WALG_LIBSODIUM_KEY and WALG_LIBSODIUM_KEY_PATH are both set; keep one",
      "WALG_LIBSODIUM_KEY and WALG_PGP_KEY name two kinds of encryption; keep one",
      "RESTORE_TARGET_…: more than one target was given: time, xid",
      'RESTORE_TARGET_…: not a time: "yesterday" (write 2026-11-24 12:00:00+00)',
    ],
  );
});

for (const { name, env, problem } of [
  {
    name: "two stores",
    env: { ...BUCKET, WALG_FILE_PREFIX: "/store" },
    problem: "WALG_S3_PREFIX and WALG_FILE_PREFIX name two stores; keep one",
  },
  {
    name: "keys without a bucket",
    env: { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", POSTGRES_PASSWORD: "c" },
    problem: "WALG_S3_PREFIX is missing (or BUCKET_NAME), though AWS_ACCESS_KEY_ID is set",
  },
  {
    name: "a relative folder",
    env: { WALG_FILE_PREFIX: "store" },
    problem: 'WALG_FILE_PREFIX is "store"; write a path from the root, such as /store',
  },
  {
    name: "both forms of a secret",
    env: { POSTGRES_PASSWORD: "a", POSTGRES_PASSWORD_FILE: "/run/secrets/password" },
    problem: "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set; keep one",
  },
  {
    name: "a file that is not there",
    env: { POSTGRES_PASSWORD_FILE: "/nowhere" },
    problem:
      'POSTGRES_PASSWORD_FILE names "/nowhere", which cannot be read: ENOENT: no such file, "/nowhere"',
  },
  {
    name: "an empty file",
    env: { POSTGRES_PASSWORD_FILE: "/run/secrets/empty" },
    problem: 'POSTGRES_PASSWORD_FILE names "/run/secrets/empty", which is empty',
  },
  {
    name: "two passwords for one role",
    env: { POSTGRES_PASSWORD: "a", SU_PASSWORD: "b" },
    problem: "POSTGRES_PASSWORD and SU_PASSWORD mean the same and differ; keep one",
  },
  {
    name: "encryption that we cannot do",
    env: { WALG_GPG_KEY_ID: "1234" },
    problem:
      "WALG_GPG_KEY_ID is refused: encryption through an external gpg is not supported, and data would lie in the clear; use WALG_PGP_KEY or WALG_LIBSODIUM_KEY",
  },
  {
    name: "a store that we cannot do",
    env: { WALG_GS_PREFIX: "gs://x" },
    problem:
      "WALG_GS_PREFIX is refused: Google Cloud Storage is not supported by itself; use its S3 interface: WALG_S3_PREFIX, AWS_ENDPOINT=https://storage.googleapis.com and HMAC keys",
  },
  {
    name: "a misspelt target",
    env: { RESTORE_TARGET_TIEM: "2026-01-01" },
    problem: "RESTORE_TARGET_TIEM is not a setting; did you mean RESTORE_TARGET_TIME?",
  },
  {
    name: "a restore from oneself",
    env: { ...BUCKET, RESTORE_FROM: "s3://bucket/db/" },
    problem:
      "RESTORE_FROM names the cluster's own archive; leave it out, or give the new cluster a prefix of its own",
  },
  {
    name: "initdb arguments that are ours",
    env: { POSTGRES_INITDB_ARGS: "--waldir=/x" },
    problem: "POSTGRES_INITDB_ARGS holds --waldir, which Holdfast sets by itself",
  },
  {
    name: "an open quote in initdb's arguments",
    env: { POSTGRES_INITDB_ARGS: "--locale='C" },
    problem: "POSTGRES_INITDB_ARGS has a quote that is never closed",
  },
  {
    name: "a segment size that is no power of two",
    env: { WALG_PG_WAL_SIZE: "24" },
    problem: "WALG_PG_WAL_SIZE is 24; write a power of two",
  },
  {
    name: "other nodes and no password",
    env: { NODES: "n1,n2", NODE_NAME: "n1", WALG_FILE_PREFIX: "/store" },
    problem:
      "POSTGRES_PASSWORD is missing (or SU_PASSWORD): with a bucket or other nodes it must be the same everywhere",
  },
  {
    name: "a list of nodes without this one",
    env: { ...BUCKET, NODES: "n1,n2", NODE_NAME: "n3" },
    problem:
      'NODES: this node is called "n3" and NODES is "n1,n2"; start the container with --name and --hostname of one of NODES, or set NODE_NAME',
  },
  {
    name: "a schedule with kept quotes",
    env: { ...BUCKET, BACKUP_SCHEDULE: '"0 3 * * *"' },
    problem:
      "BACKUP_SCHEDULE begins and ends with a quote: `docker run --env-file` keeps quotes as part of the value; write the line without them",
  },
  {
    name: "kept quotes",
    env: { WALG_FILE_PREFIX: '"/store"' },
    problem:
      "WALG_FILE_PREFIX begins and ends with a quote: `docker run --env-file` keeps quotes as part of the value; write the line without them",
  },
  {
    name: "a value that was cut",
    env: { POSTGRES_PASSWORD: '"pa' },
    problem:
      "POSTGRES_PASSWORD begins with a quote that is never closed: the file's reader cut it, probably at `#`; write it without quotes and without `#`",
  },
  {
    name: "a kept comment",
    env: { BACKUP_RETAIN_COUNT: "7 # a week" },
    problem:
      "BACKUP_RETAIN_COUNT holds a comment: `docker run --env-file` keeps what stands behind `#`; put comments on lines of their own",
  },
  {
    name: "Windows line ends",
    env: { STOP_TIMEOUT: "60\r" },
    problem:
      "STOP_TIMEOUT ends with a carriage return: the file has Windows line ends; save it with Unix ones",
  },
] as const) {
  test(`refused: ${name}`, () => assert.deepEqual(problemsOf(env), [problem]));
}

test("what has no effect is said, and stops nobody", () => {
  const { notices } = read({
    ...BUCKET,
    GOMAXPROCS: "2",
    WALG_USE_WAL_DELTA: "true",
    WALG_COMPRESION_METHOD: "zstd",
    FLY_CONSUL_URL: "https://x",
    PATH: "/bin",
    SOMETHING_ELSE: "1",
    OPERATOR_PASSWORD: "pa#ss",
    S3_STORAGE_CLASS: "",
  });
  assert.deepEqual(notices, [
    "OPERATOR_PASSWORD holds `#`: `fly secrets import` would cut it there; letters, digits, `-` and `_` are safe everywhere",
    "S3_STORAGE_CLASS is set but empty: either leave the line out, or its value was cut at `#` by the file's reader",
    "GOMAXPROCS is a setting of the Go runtime and has no effect here",
    "WALG_USE_WAL_DELTA has no effect: delta backups read page headers, because WAL-G's delta maps cannot read the WAL of Postgres 15 and later",
    "WALG_COMPRESION_METHOD is not a setting and has no effect; did you mean WALG_COMPRESSION_METHOD?",
    "FLY_CONSUL_URL has no effect: the cluster needs no Consul",
  ]);
});

test("a restore from another cluster's archive, with keys of its own", () => {
  const { restore, store } = read({
    ...BUCKET,
    AWS_ENDPOINT: "http://s3:9000",
    AWS_SESSION_TOKEN: "token",
    RESTORE_FROM: "s3://other/prod",
    RESTORE_TARGET_TIME: "2026-11-24 12:00:00+00",
    RESTORE_TARGET_INCLUSIVE: "false",
    RESTORE_AWS_ACCESS_KEY_ID: "reader",
    RESTORE_AWS_SECRET_ACCESS_KEY: "reader-secret",
    RESTORE_AWS_ENDPOINT: "https://elsewhere.example.org",
  });
  assert.ok(restore?.from?.kind === "s3" && restore.from.credentials.kind === "keys" && store.kind === "s3");
  assert.deepEqual(
    [restore.from.bucket, restore.from.prefix, restore.from.endpoint],
    ["other", "prod", "https://elsewhere.example.org"],
  );
  assert.equal(restore.from.credentials.accessKeyId, "reader");
  assert.equal(
    restore.from.credentials.sessionToken,
    null,
    "the store's token does not belong to another key",
  );
  assert.equal(store.endpoint, "http://s3:9000");
  assert.deepEqual(restore.request, {
    target: { kind: "time", us: BigInt(Date.UTC(2026, 10, 24, 12)) * 1000n, inclusive: false },
    timeline: "latest",
    backup: "LATEST",
  });
});

for (const { name, env, asked } of [
  { name: "nothing", env: {}, asked: false },
  { name: "inclusive alone", env: { RESTORE_TARGET_INCLUSIVE: "false" }, asked: false },
  { name: "a folder to restore from", env: { RESTORE_FROM: "/archive" }, asked: true },
  { name: "a target alone", env: { RESTORE_TARGET_LSN: "0/3000000" }, asked: true },
  { name: "immediate", env: { RESTORE_TARGET_IMMEDIATE: "true" }, asked: true },
  { name: "not immediate", env: { RESTORE_TARGET_IMMEDIATE: "false" }, asked: false },
  { name: "the newest backup", env: { RESTORE_BACKUP: "LATEST" }, asked: false },
] as const) {
  test(`a restore is ${asked ? "" : "not "}asked for by ${name}`, () => {
    assert.equal(read(env).restore !== null, asked);
  });
}

test("a durability that is not there is refused, not taken for a weaker one", () => {
  const available = ["async", "bucket", "standby", "both"].filter(
    (mode) => problemsOf({ ...BUCKET, DURABILITY: mode }).length === 0,
  );
  assert.ok(available.includes("async"));
  assert.match(
    problemsOf({ ...BUCKET, DURABILITY: "paper" }).join(),
    /DURABILITY is "paper"; one of async, bucket, standby, both/,
  );
});

test("the store alone is read without passwords, and is never guessed", () => {
  const { POSTGRES_PASSWORD: _password, ...bucket } = BUCKET;
  const { store, codec } = readStoreSettings(
    { ...bucket, WALG_LIBSODIUM_KEY_PATH: "/key", WALG_LIBSODIUM_KEY_TRANSFORM: "hex" },
    world(),
  );
  assert.equal(store.kind, "s3");
  assert.deepEqual(codec.encryption, {
    kind: "libsodium",
    key: { kind: "file", path: "/key" },
    transform: "hex",
  });
  assert.throws(() => readStoreSettings({}, world(true)), {
    message: /WALG_S3_PREFIX is missing, or WALG_FILE_PREFIX: no store is named/,
  });
});

test("a configuration file lies under the environment", () => {
  assert.deepEqual(
    mergeEnvironment(
      { A: "env", B: "", C: undefined, E: "" },
      { A: "file", B: "file", C: "file", D: "file" },
    ),
    {
      A: "env",
      B: "file",
      C: "file",
      D: "file",
      E: "",
    },
  );
});
