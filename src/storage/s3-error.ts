// What an answer of S3 means, or the lack of one. Tables from the S3 API reference, "Error responses", and from servers that were tried.

import { StoreError, type StoreErrorKind } from "./object-store.ts";

/** Codes whose meaning is not that of their status. */
const BY_CODE: Readonly<Record<string, { readonly kind: StoreErrorKind; readonly hint?: string }>> = {
  BadDigest: { kind: "unknown", hint: "bytes changed on the way: check the network and the memory" },
  XAmzContentSHA256Mismatch: {
    kind: "unknown",
    hint: "bytes changed on the way: check the network and the memory",
  },
  XAmzContentChecksumMismatch: {
    kind: "unknown",
    hint: "bytes changed on the way: check the network and the memory",
  },
  IncompleteBody: { kind: "unknown" },
  RequestTimeout: { kind: "unknown" },
  InternalError: { kind: "unknown" },
  ServiceUnavailable: { kind: "unknown" },
  SlowDown: {
    kind: "unknown",
    hint: "the store asks for fewer requests: lower the concurrency if it goes on",
  },
  NoSuchBucket: { kind: "refused", hint: "check the bucket's name and the region" },
  RequestTimeTooSkewed: { kind: "refused", hint: "set this machine's clock: it is too far from the store's" },
  SignatureDoesNotMatch: { kind: "refused", hint: "check the secret key" },
  InvalidAccessKeyId: { kind: "refused", hint: "check the access key" },
  ExpiredToken: { kind: "refused", hint: "renew the session token" },
  AccessDenied: {
    kind: "refused",
    hint: "grant these keys reading, writing, listing and deleting in the bucket",
  },
  PermanentRedirect: { kind: "refused", hint: "set the bucket's region" },
  AuthorizationHeaderMalformed: { kind: "refused", hint: "set the bucket's region" },
  NotImplemented: { kind: "refused", hint: "use a store that supports this request" },
  CredentialsProviderError: {
    kind: "refused",
    hint: "set the access key and the secret key, or give the machine a role",
  },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    kind: "refused",
    hint: "check the endpoint's name against its certificate",
  },
  CERT_HAS_EXPIRED: { kind: "refused", hint: "renew the store's certificate" },
  SELF_SIGNED_CERT_IN_CHAIN: {
    kind: "refused",
    hint: "give the CA file that signed the store's certificate",
  },
  DEPTH_ZERO_SELF_SIGNED_CERT: {
    kind: "refused",
    hint: "give the CA file that signed the store's certificate",
  },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: {
    kind: "refused",
    hint: "give the CA file that signed the store's certificate",
  },
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: {
    kind: "refused",
    hint: "give the CA file that signed the store's certificate",
  },
  EPROTO: { kind: "refused", hint: "check whether the endpoint speaks https or http" },
};

/** The SDK's error, reduced to what we use: its objects hold requests and headers, which must not reach a log. */
export interface S3Failure {
  /** The store's code, or Node's. */
  readonly code: string;
  /** HTTP status; null without an answer. */
  readonly status: number | null;
  readonly message: string;
}

export function failureOf(error: unknown, secrets: readonly string[]): S3Failure {
  const found = (typeof error === "object" && error !== null ? error : {}) as {
    readonly name?: unknown;
    readonly code?: unknown;
    readonly message?: unknown;
    readonly $metadata?: { readonly httpStatusCode?: unknown };
  };
  const status = found.$metadata?.httpStatusCode;
  const code = typeof found.code === "string" ? found.code : found.name;
  return {
    code: typeof code === "string" ? code : "Error",
    status: typeof status === "number" ? status : null,
    message: scrub(typeof found.message === "string" ? found.message : String(error), secrets),
  };
}

/** A sound "there is no such object". A bare 404, as a wrong endpoint answers it, is none. */
export const isAbsent = ({ code, status }: S3Failure): boolean => status === 404 && code === "NoSuchKey";

/** The condition of a conditional write did not hold. */
export const isPreconditionFailed = ({ status }: S3Failure): boolean => status === 412;

/** A StoreError that says what was attempted where. */
export function s3Error(failure: S3Failure, what: string): StoreError {
  const { kind, hint } = BY_CODE[failure.code] ?? { kind: kindOfStatus(failure.status) };
  const answer = failure.status === null ? failure.code : `${failure.status} ${failure.code}`;
  // What the SDK says when the store's answer had no text.
  const text = failure.message === "UnknownError" ? "" : `: ${failure.message}`;
  return new StoreError(kind, `could not ${what}: ${answer}${text}`, {
    ...(hint === undefined ? {} : { hint }),
    ...(failure.status === null ? {} : { status: failure.status }),
  });
}

function kindOfStatus(status: number | null): StoreErrorKind {
  if (status === null || status >= 500) return "unknown";
  return status === 408 ||
    status === 409 ||
    status === 425 ||
    status === 429 ||
    status === 499 ||
    status < 300
    ? "unknown"
    : "refused";
}

function scrub(message: string, secrets: readonly string[]): string {
  const clean = secrets.reduce(
    (text, secret) => (secret === "" ? text : text.replaceAll(secret, "[secret]")),
    message,
  );
  return clean.length > 300 ? `${clean.slice(0, 300)}…` : clean;
}
