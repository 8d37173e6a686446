// Where the store is and how its objects are sealed, out of the settings. Pure.

import type { Compression } from "../codec/compression.ts";
import type { Secret } from "../base/secret.ts";
import type { Findings, SettingsWorld, ValuesOf } from "./read-table.ts";
import type { CODEC_TABLE } from "./settings-table-walg.ts";
import type { STORE_TABLE } from "./settings-table-store.ts";

export type StoreValues = ValuesOf<typeof STORE_TABLE>;
export type CodecValues = ValuesOf<typeof CODEC_TABLE>;

export type StoreSettings = S3StoreSettings | FolderStoreSettings;

export interface S3StoreSettings {
  readonly kind: "s3";
  readonly bucket: string;
  /** Without slashes at its ends; may be empty. */
  readonly prefix: string;
  /** With a scheme; null for AWS. */
  readonly endpoint: string | null;
  /** null: ask the bucket, or `us-east-1`. */
  readonly region: string | null;
  readonly forcePathStyle: boolean;
  readonly credentials: S3Credentials;
  readonly caCertFile: string | null;
  readonly storageClass: string | null;
  readonly encryption: S3Encryption | null;
  readonly partBytes: number;
  /** Tries after the first. */
  readonly maxRetries: number;
  readonly lock: { readonly seconds: number; readonly mode: "GOVERNANCE" | "COMPLIANCE" } | null;
}

type S3Credentials =
  | {
      readonly kind: "keys";
      readonly accessKeyId: string;
      readonly secretAccessKey: Secret;
      readonly sessionToken: Secret | null;
    }
  /** The SDK looks: profile, files, the machine's role. */
  | {
      readonly kind: "chain";
      readonly profile: string | null;
      readonly credentialsFile: string | null;
      readonly configFile: string | null;
    };

type S3Encryption =
  | { readonly kind: "AES256" }
  | { readonly kind: "aws:kms"; readonly keyId: string | null }
  | { readonly kind: "customer"; readonly key: Secret };

interface FolderStoreSettings {
  readonly kind: "folder";
  readonly path: string;
  /** `volume`: nothing was set and nothing was mounted; such a store is lost together with the volume, and status must say so. */
  readonly origin: "asked" | "mounted" | "volume";
}

export interface CodecSettings {
  readonly compression: Compression;
  readonly encryption: EncryptionSettings;
}

type EncryptionSettings =
  | { readonly kind: "none" }
  | { readonly kind: "libsodium"; readonly key: KeySource; readonly transform: "none" | "hex" | "base64" }
  | { readonly kind: "openpgp"; readonly key: KeySource; readonly passphrase: Secret | null };

/** The key itself, or the file that holds it: read when it is needed, so that a rotated file counts. */
type KeySource =
  | { readonly kind: "value"; readonly value: Secret }
  | { readonly kind: "file"; readonly path: string };

export interface StorePlace {
  /** For the default prefix; null when nothing names the cluster. */
  readonly clusterName: string | null;
  /** Where a folder on the volume may serve as the store; null: a store must be named. */
  readonly volumeFolder: string | null;
}

/** The store that is meant; a problem when it is not clear. */
export function readStore(
  values: StoreValues,
  place: StorePlace,
  world: SettingsWorld,
  findings: Findings,
): StoreSettings {
  const { WALG_S3_PREFIX: prefix, WALG_FILE_PREFIX: folder, BUCKET_NAME: bucket } = values;
  if (prefix !== null && folder !== null) {
    findings.problems.push("WALG_S3_PREFIX and WALG_FILE_PREFIX name two stores; keep one");
  }
  const below = trimSlashes(values.WALG_STORAGE_PREFIX ?? "");
  if (folder !== null && prefix === null) return folderStore(folder, below, "asked", findings);
  if (prefix !== null) return s3Store(prefix, below, values, findings, "WALG_S3_PREFIX");
  if (bucket !== null) {
    if (place.clusterName === null) {
      findings.problems.push(
        "BUCKET_NAME needs CLUSTER_NAME, or WALG_S3_PREFIX in its place: two clusters must not share a prefix",
      );
    }
    return s3Store(
      `s3://${bucket}/${place.clusterName ?? "unnamed"}`,
      below,
      values,
      findings,
      "BUCKET_NAME",
    );
  }
  if (values.AWS_ACCESS_KEY_ID !== null || values.AWS_ENDPOINT !== null) {
    const set = values.AWS_ACCESS_KEY_ID === null ? "AWS_ENDPOINT" : "AWS_ACCESS_KEY_ID";
    findings.problems.push(`WALG_S3_PREFIX is missing (or BUCKET_NAME), though ${set} is set`);
    return { kind: "folder", path: "/", origin: "volume" };
  }
  if (place.volumeFolder === null) {
    findings.problems.push("WALG_S3_PREFIX is missing, or WALG_FILE_PREFIX: no store is named");
    return { kind: "folder", path: "/", origin: "volume" };
  }
  if (world.isFolder(MOUNTED_STORE)) return folderStore(MOUNTED_STORE, below, "mounted", findings);
  findings.notices.push(
    "WALG_S3_PREFIX is not set and no folder is mounted at /store: the archive lies on the volume and is lost together with it",
  );
  return folderStore(place.volumeFolder, below, "volume", findings);
}

/** The source of RESTORE_FROM: a prefix or folder, with the store's keys unless there are others. */
export function readSource(from: string, values: StoreValues, findings: Findings): StoreSettings {
  if (/^s3:/i.test(from)) return s3Store(from, "", values, findings, "RESTORE_FROM");
  return folderStore(from, "", "asked", findings, "RESTORE_FROM");
}

export function readCodec(values: CodecValues, findings: Findings): CodecSettings {
  const method = values.WALG_COMPRESSION_METHOD ?? "lz4";
  return {
    compression: method === "zstd" ? { method, zstdLevel: values.WALG_ZSTD_LEVEL ?? "default" } : { method },
    encryption: readEncryption(values, findings),
  };
}

function readEncryption(values: CodecValues, { problems }: Findings): EncryptionSettings {
  const sodium = keySource(values.WALG_LIBSODIUM_KEY, values.WALG_LIBSODIUM_KEY_PATH);
  const pgp = keySource(values.WALG_PGP_KEY, values.WALG_PGP_KEY_PATH);
  for (const name of ["WALG_LIBSODIUM_KEY", "WALG_PGP_KEY"] as const) {
    if (values[name] !== null && values[`${name}_PATH`] !== null) {
      problems.push(`${name} and ${name}_PATH are both set; keep one`);
    }
  }
  if (sodium !== null && pgp !== null) {
    problems.push("WALG_LIBSODIUM_KEY and WALG_PGP_KEY name two kinds of encryption; keep one");
  }
  if (sodium !== null) {
    return { kind: "libsodium", key: sodium, transform: values.WALG_LIBSODIUM_KEY_TRANSFORM ?? "none" };
  }
  if (pgp !== null) return { kind: "openpgp", key: pgp, passphrase: values.WALG_PGP_KEY_PASSPHRASE };
  if (values.WALG_PGP_KEY_PASSPHRASE !== null) {
    problems.push("WALG_PGP_KEY_PASSPHRASE is set, but neither WALG_PGP_KEY nor WALG_PGP_KEY_PATH");
  }
  return { kind: "none" };
}

function keySource(value: Secret | null, path: string | null): KeySource | null {
  if (value !== null) return { kind: "value", value };
  return path === null ? null : { kind: "file", path };
}

function folderStore(
  given: string,
  below: string,
  origin: FolderStoreSettings["origin"],
  findings: Findings,
  name: string = "WALG_FILE_PREFIX",
): FolderStoreSettings {
  const path = given.replace(/^file:\/\/(localhost)?/, "").replace(/(?<=.)\/+$/, "");
  if (!path.startsWith("/"))
    findings.problems.push(`${name} is "${given}"; write a path from the root, such as /store`);
  return { kind: "folder", path: below === "" ? path : `${path}/${below}`, origin };
}

function s3Store(
  url: string,
  below: string,
  values: StoreValues,
  findings: Findings,
  name: string,
): S3StoreSettings {
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/i.exec(url);
  if (match === null) findings.problems.push(`${name} is "${url}"; write s3://bucket/path`);
  const bucket = match?.[1] ?? "";
  if (match !== null && !/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(bucket)) {
    findings.problems.push(`${name} names the bucket "${bucket}", which no bucket can be called`);
  }
  const endpoint = readEndpoint(values.AWS_ENDPOINT, "AWS_ENDPOINT", findings);
  return {
    kind: "s3",
    bucket,
    prefix: [trimSlashes(match?.[2] ?? ""), below].filter((part) => part !== "").join("/"),
    endpoint,
    region: values.AWS_REGION,
    forcePathStyle: values.AWS_S3_FORCE_PATH_STYLE ?? needsPathStyle(endpoint),
    credentials: readCredentials(values, findings),
    caCertFile: values.S3_CA_CERT_FILE,
    storageClass: values.S3_STORAGE_CLASS,
    encryption: readS3Encryption(values, findings),
    partBytes: values.S3_MAX_PART_SIZE ?? 20 << 20,
    maxRetries: values.S3_MAX_RETRIES ?? 2,
    lock: readLock(values),
  };
}

/** A URL with a scheme, without a path; `https` when none was written, as WAL-G does. */
export function readEndpoint(given: string | null, name: string, { problems }: Findings): string | null {
  if (given === null) return null;
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(given) ? given : `https://${given}`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === "") {
    problems.push(`${name} is "${given}"; write http://host:port or https://host`);
    return null;
  }
  if (url.username !== "" || url.password !== "" || url.search !== "") {
    problems.push(`${name} holds more than scheme, host, port and path; keys have settings of their own`);
    return null;
  }
  return url.href.replace(/\/+$/, "");
}

/** A bucket cannot be part of an address, nor of a name that only this network knows. */
function needsPathStyle(endpoint: string | null): boolean {
  if (endpoint === null) return false;
  const { hostname } = new URL(endpoint);
  return hostname.startsWith("[") || /^[\d.]+$/.test(hostname) || !hostname.includes(".");
}

function readCredentials(values: StoreValues, { problems }: Findings): S3Credentials {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = values;
  if (accessKeyId !== null && secretAccessKey !== null) {
    return { kind: "keys", accessKeyId, secretAccessKey, sessionToken: values.AWS_SESSION_TOKEN };
  }
  if (accessKeyId !== null)
    problems.push("AWS_SECRET_ACCESS_KEY is missing, though AWS_ACCESS_KEY_ID is set");
  if (secretAccessKey !== null)
    problems.push("AWS_ACCESS_KEY_ID is missing, though AWS_SECRET_ACCESS_KEY is set");
  return {
    kind: "chain",
    profile: values.AWS_PROFILE,
    credentialsFile: values.AWS_SHARED_CREDENTIALS_FILE,
    configFile: values.AWS_CONFIG_FILE,
  };
}

function readS3Encryption(values: StoreValues, { problems }: Findings): S3Encryption | null {
  if (values.S3_SSE_C !== null) {
    if (values.S3_SSE === "aws:kms")
      problems.push("S3_SSE_C and S3_SSE=aws:kms exclude each other; keep one");
    return { kind: "customer", key: values.S3_SSE_C };
  }
  if (values.S3_SSE === "aws:kms") return { kind: "aws:kms", keyId: values.S3_SSE_KMS_ID };
  if (values.S3_SSE_KMS_ID !== null) problems.push("S3_SSE_KMS_ID is set, but S3_SSE is not aws:kms");
  return values.S3_SSE === null ? null : { kind: "AES256" };
}

function readLock(values: StoreValues): S3StoreSettings["lock"] {
  const seconds = values.S3_RETENTION_PERIOD ?? -1;
  return seconds <= 0 ? null : { seconds, mode: values.S3_RETENTION_MODE ?? "GOVERNANCE" };
}

const trimSlashes = (path: string): string => path.replaceAll(/^\/+|\/+$/g, "");

const MOUNTED_STORE = "/store";
