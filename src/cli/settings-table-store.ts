// The rows of the settings table that say where the store is: WAL-G's names, and those that Fly and Tigris set.

import { Secret } from "../base/secret.ts";
import { byteCount, choice, setting, text, whole, yesOrNo } from "./setting-kinds.ts";

const secret = (value: string): Secret => new Secret(value.trim());

/** WAL-G reads these bare or with a prefix; bare wins. */
const prefixed = (...names: readonly string[]): readonly string[] =>
  names.flatMap((name, index) => [...(index === 0 ? [] : [name]), `WALG_${name}`, `WALE_${name}`]);

export const STORE_TABLE = {
  WALG_S3_PREFIX: setting(
    "Store",
    "`s3://bucket/path`",
    text,
    "The bucket and the path below which everything lies.",
    {
      aliases: ["WALE_S3_PREFIX"],
      shownDefault: "`s3://BUCKET_NAME/CLUSTER_NAME`",
    },
  ),
  WALG_FILE_PREFIX: setting("Store", "path", text, "A folder as the store, instead of a bucket.", {
    aliases: ["WALE_FILE_PREFIX"],
    shownDefault:
      "`/store` when it is mounted, else a folder on the volume, which does not survive the volume",
  }),
  WALG_STORAGE_PREFIX: setting("Store", "path", text, "A further folder below the prefix.", {
    aliases: ["WALE_STORAGE_PREFIX"],
  }),
  BUCKET_NAME: setting("Store", "name", text, "Set by `fly storage create`."),
  AWS_ACCESS_KEY_ID: setting("Store", "text", (value) => value.trim(), "Key of the bucket.", {
    aliases: prefixed("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
    file: true,
  }),
  AWS_SECRET_ACCESS_KEY: setting("Store", "secret", secret, "Its secret.", {
    aliases: prefixed("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
    secret: true,
  }),
  AWS_SESSION_TOKEN: setting("Store", "secret", secret, "Token of temporary keys.", {
    aliases: prefixed("AWS_SESSION_TOKEN"),
    secret: true,
  }),
  AWS_ENDPOINT: setting(
    "Store",
    "URL",
    text,
    "Where the S3 service answers; `http://` or `https://` may be left out.",
    {
      aliases: [
        "WALG_AWS_ENDPOINT",
        "WALE_AWS_ENDPOINT",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL",
        "WALE_S3_ENDPOINT",
      ],
      shownDefault: "AWS",
    },
  ),
  AWS_REGION: setting("Store", "name", text, "Region of the bucket.", {
    aliases: [...prefixed("AWS_REGION"), "AWS_DEFAULT_REGION"],
    shownDefault: "`us-east-1` with an endpoint, else the bucket is asked",
  }),
  AWS_S3_FORCE_PATH_STYLE: setting(
    "Store",
    "yes or no",
    yesOrNo,
    "The bucket stands in the path, not in the host's name.",
    {
      aliases: prefixed("AWS_S3_FORCE_PATH_STYLE"),
      shownDefault: "true with an endpoint that is an address or has no dot, else false",
    },
  ),
  AWS_PROFILE: setting("Store", "name", text, "Profile of the shared credentials file.", {
    aliases: prefixed("AWS_PROFILE"),
  }),
  AWS_SHARED_CREDENTIALS_FILE: setting("Store", "path", text, "The shared credentials file.", {
    aliases: prefixed("AWS_SHARED_CREDENTIALS_FILE"),
  }),
  AWS_CONFIG_FILE: setting("Store", "path", text, "The shared configuration file.", {
    aliases: prefixed("AWS_CONFIG_FILE"),
  }),
  S3_CA_CERT_FILE: setting(
    "Store",
    "path",
    text,
    "Certificates (PEM) that the endpoint is checked against.",
    { aliases: [...prefixed("S3_CA_CERT_FILE"), "AWS_CA_BUNDLE"] },
  ),
  S3_STORAGE_CLASS: setting("Store", "text", text, "Storage class of new objects.", {
    aliases: prefixed("S3_STORAGE_CLASS"),
    shownDefault: "STANDARD",
  }),
  S3_SSE: setting(
    "Store",
    "`AES256` or `aws:kms`",
    choice(["AES256", "aws:kms"]),
    "Encryption by the service.",
    { aliases: prefixed("S3_SSE") },
  ),
  S3_SSE_C: setting("Store", "secret", secret, "Key that the service encrypts with and does not keep.", {
    aliases: prefixed("S3_SSE_C"),
    secret: true,
  }),
  S3_SSE_KMS_ID: setting("Store", "text", text, "Key id for `aws:kms`.", {
    aliases: prefixed("S3_SSE_KMS_ID"),
  }),
  S3_MAX_PART_SIZE: setting(
    "Store",
    "bytes",
    byteCount(5 << 20, 5 * 2 ** 30),
    "Part size of large uploads.",
    { fallback: 20 << 20, shownDefault: "20971520", aliases: prefixed("S3_MAX_PART_SIZE") },
  ),
  S3_MAX_RETRIES: setting(
    "Store",
    "whole number",
    whole(0, 1_000),
    "Tries of a request by a command, before it fails.",
    { fallback: 15, aliases: prefixed("S3_MAX_RETRIES") },
  ),
  S3_RETENTION_PERIOD: setting(
    "Store",
    "seconds",
    whole(-1, Number.MAX_SAFE_INTEGER),
    "Lock backups' objects for so long; -1: no lock.",
    { fallback: -1, aliases: prefixed("S3_RETENTION_PERIOD") },
  ),
  S3_RETENTION_MODE: setting(
    "Store",
    "`GOVERNANCE` or `COMPLIANCE`",
    choice(["GOVERNANCE", "COMPLIANCE"]),
    "Kind of that lock.",
    { fallback: "GOVERNANCE", aliases: prefixed("S3_RETENTION_MODE") },
  ),
  WALG_NETWORK_RATE_LIMIT: setting(
    "Store",
    "bytes a second",
    byteCount(1),
    "Uploads of base backups go no faster.",
  ),
} as const;
