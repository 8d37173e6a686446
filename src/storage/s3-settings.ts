// What an S3 store needs to know, and the client made of it.

import { readFile } from "node:fs/promises";
import { rootCertificates } from "node:tls";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { messageOf } from "../base/errors.ts";
import type { Secret } from "../base/secret.ts";
import { StoreError } from "./object-store.ts";
import { addMd5ToDeletes } from "./s3-checksum.ts";

export interface S3Settings {
  readonly bucket: string;
  /** Without slashes at its ends; empty for the bucket's root. */
  readonly prefix: string;
  /** `http(s)://host[:port]`; null for AWS. */
  readonly endpoint: string | null;
  /** null: `us-east-1`, and on AWS the bucket's region is followed. */
  readonly region: string | null;
  /** null: the SDK's own chain (instance and container roles, profiles). */
  readonly credentials: S3Credentials | null;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
  readonly forcePathStyle: boolean;
  /** PEM file with authorities to trust besides the usual ones. */
  readonly caFile: string | null;
  readonly storageClass: string | null;
  readonly encryption: S3Encryption | null;
  /** Object lock of new objects. */
  readonly retention: { readonly mode: "GOVERNANCE" | "COMPLIANCE"; readonly seconds: number } | null;
  /** Tries after the first of a read, a plain PUT, a listing or a delete; time ends them too. */
  readonly maxRetries: number;
  /** Size of the first parts of a large object; at least 5 MiB. */
  readonly partBytes: number;
  /** Parts of one object under way at once. */
  readonly partsInFlight: number;
  readonly connectTimeoutMs: number;
  /** Silence on a connection that ends the request. */
  readonly idleTimeoutMs: number;
}

interface S3Credentials {
  readonly accessKeyId: Secret;
  readonly secretAccessKey: Secret;
  readonly sessionToken: Secret | null;
}

/** `customer`: the key's 32 bytes as text (SSE-C). */
type S3Encryption =
  | { readonly kind: "AES256" }
  /** Without a key id (empty) the bucket's own key. */
  | { readonly kind: "aws:kms"; readonly keyId: string }
  | { readonly kind: "customer"; readonly key: Secret };

/** Values for what a user seldom sets. However many tries are left, a dead endpoint is reported within 30 s. */
export const S3_DEFAULTS = {
  prefix: "",
  endpoint: null,
  region: null,
  credentials: null,
  forcePathStyle: false,
  caFile: null,
  storageClass: null,
  encryption: null,
  retention: null,
  maxRetries: 15,
  partBytes: 16 << 20,
  partsInFlight: 3,
  connectTimeoutMs: 5_000,
  idleTimeoutMs: 5_900,
} as const satisfies Partial<S3Settings>;

const SOCKETS_MOST = 128;
const PROBE_IDLE_MS = 60_000;
/** The store may work on a copy or the end of an upload for so long without a byte. */
const PATIENT_TIMEOUT_MS = 180_000;

/** Clients that try once: repeats are the store's own business. Throws StoreError `refused` when the CA file cannot be read. */
export async function makeS3Clients(settings: S3Settings): Promise<S3Clients> {
  const idleTimeoutMs = Math.max(settings.idleTimeoutMs, PATIENT_TIMEOUT_MS);
  return { quick: await makeClient(settings), patient: await makeClient({ ...settings, idleTimeoutMs }) };
}

/** Two clients of one account: the patient one is for requests that the store works on in silence, such as copies. */
export interface S3Clients {
  readonly quick: S3Client;
  readonly patient: S3Client;
}

async function makeClient(settings: S3Settings): Promise<S3Client> {
  // Idle connections are probed seldom: Node's default of a second is traffic that an idle database must not make.
  const agent = { keepAlive: true, keepAliveMsecs: PROBE_IDLE_MS, maxSockets: SOCKETS_MOST };
  const config: S3ClientConfig = {
    region: settings.region ?? "us-east-1",
    forcePathStyle: settings.forcePathStyle,
    followRegionRedirects: settings.region === null && settings.endpoint === null,
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: settings.connectTimeoutMs,
      socketTimeout: settings.idleTimeoutMs,
      httpAgent: agent,
      httpsAgent: { ...agent, ...(await trusted(settings.caFile)) },
    },
    // Servers that are not AWS may refuse or, worse, store the trailers of the SDK's own checksums; see s3-checksum.ts.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    ...(settings.endpoint === null ? {} : { endpoint: settings.endpoint }),
    ...(settings.credentials === null ? {} : { credentials: plain(settings.credentials) }),
  };
  const client = new S3Client(config);
  addMd5ToDeletes(client);
  return client;
}

/** Every value that must not appear in a message. */
export function secretsOf({ credentials, encryption }: S3Settings): readonly string[] {
  const secrets = [
    credentials?.secretAccessKey,
    credentials?.sessionToken,
    encryption?.kind === "customer" ? encryption.key : null,
  ];
  return secrets.flatMap((secret) => (secret === null || secret === undefined ? [] : [secret.reveal()]));
}

function plain({ accessKeyId, secretAccessKey, sessionToken }: S3Credentials): {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
} {
  return {
    accessKeyId: accessKeyId.reveal(),
    secretAccessKey: secretAccessKey.reveal(),
    ...(sessionToken === null ? {} : { sessionToken: sessionToken.reveal() }),
  };
}

async function trusted(caFile: string | null): Promise<{ ca?: string[] }> {
  if (caFile === null) return {};
  try {
    return { ca: [...rootCertificates, await readFile(caFile, "utf8")] };
  } catch (error) {
    throw new StoreError("refused", `could not read the certificates in "${caFile}": ${messageOf(error)}`, {
      hint: "check the path and the rights of the CA file",
    });
  }
}
