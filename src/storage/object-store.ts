// The contract of a store: objects under string keys. test/support/object-store-suite.ts tests every promise on every driver.

import { freePiece } from "../base/bytes.ts";
import { AppError } from "../base/errors.ts";

export interface ObjectInfo {
  /** Relative to the store's prefix, no leading slash. */
  readonly key: string;
  readonly bytes: number;
  /** Milliseconds since 1970, by the store's clock. */
  readonly modifiedMs: number;
  /** The same in nanoseconds, from a store that knows it that finely (a folder): WAL-G prints and orders by them. */
  readonly modifiedNs?: bigint;
  /** Opaque; equal tags mean equal content. For `replace`. */
  readonly etag: string;
}

export interface ObjectBody extends ObjectInfo {
  /** The whole object or the range asked for. A short read resumes by range; what cannot be completed throws. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface PutOptions {
  /** Bytes if known; lets a driver choose a single PUT. */
  readonly bytes?: number;
}

/** A strongly consistent store. Every method may throw StoreError; "not there" is a value, never an error. */
export interface ObjectStore {
  /** For people: `s3://bucket/prefix` or `file:///path`. Holds no secret. */
  readonly name: string;
  /**
   * The object, or null when a sound answer says that it is not there. A missing bucket is not "not there": it throws `refused`.
   * A range is `start` up to `end`, which is not included; without `end`, to the object's end; past it, nothing. `bytes` is
   * always the whole object's size. Read the body or leave its loop: an untouched one may hold a connection.
   */
  get(
    key: string,
    signal: AbortSignal,
    range?: { readonly start: number; readonly end?: number },
  ): Promise<ObjectBody | null>;
  head(key: string, signal: AbortSignal): Promise<ObjectInfo | null>;
  /** Resolves once the object is durable and visible as a whole; replaces what is there. Verified by checksum. Streams of any length in bounded memory; a piece is used only until the next one is asked for. */
  put(
    key: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    options?: PutOptions,
  ): Promise<void>;
  /** Creates the object unless one is there. One attempt, no hidden retry: an unknown outcome throws StoreError `unknown`. */
  create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists">;
  /** Replaces the object only if its tag is still `etag`. One attempt. */
  replace(key: string, body: Uint8Array, etag: string, signal: AbortSignal): Promise<"replaced" | "changed">;
  /** All objects whose key begins with `prefix`, in key order (bytes), from `after` (exclusive) on. */
  list(prefix: string, signal: AbortSignal, options?: { readonly after?: string }): AsyncIterable<ObjectInfo>;
  /** Deletes; keys that are not there are no error. Throws when any key could not be deleted, naming it. */
  delete(keys: readonly string[], signal: AbortSignal): Promise<void>;
  /** Copies within the store, server side where possible. Throws `refused` when the source is missing. */
  copy(from: string, to: string, signal: AbortSignal): Promise<void>;
}

/**
 * `unknown`: no answer or one that proves nothing (time-out, reset, 5xx, 429, 409): repeat the same bytes.
 * `refused`: a clear no (400, 403, missing bucket, TLS name mismatch, unwritable folder): repeating won't help by itself.
 * `damaged`: bytes were read that are not what was stored (short, wrong checksum).
 */
export type StoreErrorKind = "unknown" | "refused" | "damaged";

export class StoreError extends AppError {
  readonly kind: StoreErrorKind;
  readonly status: number | null;

  constructor(
    kind: StoreErrorKind,
    message: string,
    options: { hint?: string; status?: number; cause?: unknown } = {},
  ) {
    super(message, {
      code: `STORE_${kind.toUpperCase()}`,
      hint: options.hint ?? HINTS[kind],
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    });
    this.kind = kind;
    this.status = options.status ?? null;
  }
}

const HINTS: Record<StoreErrorKind, string> = {
  unknown: "check that the store's endpoint is up and reachable from here",
  refused: "check the bucket's name, the keys and their rights",
  damaged: "compare with `holdfast verify --content`; another copy of the object may be good",
};

/** Reads a whole object into memory; `limitBytes` guards against a foreign giant. */
export async function readWhole(object: ObjectBody, limitBytes = 1 << 30): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let total = 0;
  for await (const piece of object.body) {
    total += piece.byteLength;
    if (total > limitBytes)
      throw new StoreError("damaged", `object "${object.key}" is larger than ${limitBytes} bytes`);
    pieces.push(piece);
  }
  if (pieces.length === 1) return pieces[0]!;
  const whole = Buffer.concat(pieces, total);
  for (const piece of pieces) freePiece(piece);
  return whole;
}
