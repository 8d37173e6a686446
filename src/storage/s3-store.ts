// Objects in a bucket of S3 or of a server that speaks its protocol.

import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import {
  type GetObjectCommandOutput,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { assertKey } from "./object-key.ts";
import {
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  type PutOptions,
  StoreError,
} from "./object-store.ts";
import { type BodyPlan, resumingBody } from "./s3-body.ts";
import { copyObject } from "./s3-copy.ts";
import { type S3Failure, isAbsent, isPreconditionFailed, s3Error } from "./s3-error.ts";
import {
  type CustomerKey,
  type ObjectHeaders,
  customerKey,
  objectHeaders,
  sourceCustomerKey,
} from "./s3-headers.ts";
import { type Where, deleteObjects, listObjects } from "./s3-listing.ts";
import { S3Requests, type S3Tools } from "./s3-request.ts";
import { type S3Clients, type S3Settings, makeS3Clients } from "./s3-settings.ts";
import { putInput, upload } from "./s3-upload.ts";

/** S3 copies up to 5 GiB in one request; smaller ranges keep each request short. */
const COPY_RANGE_BYTES = 1 << 30;

/** Opens the store; asks nothing of it yet. Throws StoreError `refused` when the CA file cannot be read. */
export async function openS3Store(
  settings: S3Settings,
  tools: S3Tools,
  copyRangeBytes = COPY_RANGE_BYTES,
): Promise<S3Store> {
  return new S3Store(settings, await makeS3Clients(settings), tools, copyRangeBytes);
}

/** `beyond`: 416, the range begins behind the object's end, or the object is empty. */
type NoBody = "absent" | "beyond";

/** Made by `openS3Store`. Reads and plain writes are repeated; conditional writes are tried once. */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly #settings: S3Settings;
  readonly #clients: S3Clients;
  readonly #requests: S3Requests;
  readonly #tools: S3Tools;
  readonly #prefix: string;
  readonly #customerKey: CustomerKey;
  readonly #copyRangeBytes: number;

  constructor(settings: S3Settings, clients: S3Clients, tools: S3Tools, copyRangeBytes: number) {
    const prefix = settings.prefix.replaceAll(/^\/+|\/+$/g, "");
    this.name = `s3://${settings.bucket}${prefix === "" ? "" : `/${prefix}`}`;
    this.#settings = settings;
    this.#clients = clients;
    this.#requests = new S3Requests(clients, settings, tools);
    this.#tools = tools;
    this.#prefix = prefix === "" ? "" : `${prefix}/`;
    this.#customerKey = customerKey(settings);
    this.#copyRangeBytes = copyRangeBytes;
  }

  /** Closes idle connections; the store can be used again all the same. */
  [Symbol.dispose](): void {
    this.#clients.quick.destroy();
    this.#clients.patient.destroy();
  }

  async get(
    key: string,
    signal: AbortSignal,
    range?: { readonly start: number; readonly end?: number },
  ): Promise<ObjectBody | null> {
    const start = range?.start ?? 0;
    if (range?.end !== undefined && range.end <= start) return this.#emptyBody(key, signal);
    const last = range?.end === undefined ? "" : String(range.end - 1);
    const found = await this.#open(key, range === undefined ? null : `bytes=${start}-${last}`, null, signal);
    if (found === "beyond") return this.#emptyBody(key, signal);
    if (found === "absent") return null;
    const info = this.#infoOf(key, found, range !== undefined);
    const end = Math.min(range?.end ?? info.bytes, info.bytes);
    const plan: BodyPlan = {
      what: this.#what(key),
      first: bodyOf(found),
      start,
      end,
      idleTimeoutMs: this.#settings.idleTimeoutMs,
      reopen: (at) => this.#reopen(info, at, end, signal),
    };
    return { ...info, body: resumingBody(plan, this.#requests, signal) };
  }

  /** A GET of the first byte: unlike the answer to HEAD, its 404 says whether the object is missing or the bucket. */
  async head(key: string, signal: AbortSignal): Promise<ObjectInfo | null> {
    const found = await this.#open(key, "bytes=0-0", null, signal);
    if (found === "absent") return null;
    if (found === "beyond") return this.#headEmpty(key, signal);
    bodyOf(found).resume();
    return this.#infoOf(key, found, true);
  }

  async put(
    key: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    options: PutOptions = {},
  ): Promise<void> {
    signal.throwIfAborted();
    const target = {
      Bucket: this.#settings.bucket,
      Key: this.#key(key),
      what: this.#what(key),
      headers: this.#headers(),
      customerKey: this.#customerKey,
      partBytes: this.#settings.partBytes,
      partsInFlight: this.#settings.partsInFlight,
      storedBytes: async (signal: AbortSignal) => (await this.head(key, signal))?.bytes ?? null,
    };
    await upload(body, options.bytes ?? null, target, this.#requests, signal);
  }

  async create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    const sent = await this.#conditionalPut(key, body, { IfNoneMatch: "*" }, signal);
    if (sent === null) return "created";
    if (isPreconditionFailed(sent)) return "exists";
    throw s3Error(sent, `create ${this.#what(key)}`);
  }

  async replace(
    key: string,
    body: Uint8Array,
    etag: string,
    signal: AbortSignal,
  ): Promise<"replaced" | "changed"> {
    const sent = await this.#conditionalPut(key, body, { IfMatch: etag }, signal);
    if (sent === null) return "replaced";
    if (isPreconditionFailed(sent) || isAbsent(sent)) return "changed";
    throw s3Error(sent, `replace ${this.#what(key)}`);
  }

  list(
    prefix: string,
    signal: AbortSignal,
    { after = "" }: { readonly after?: string } = {},
  ): AsyncIterable<ObjectInfo> {
    return listObjects(this.#where, { prefix, after }, this.#requests, signal);
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    for (const key of keys) assertKey(key, this.name);
    await deleteObjects(this.#where, keys, this.#requests, signal);
  }

  async copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    const source = await this.head(from, signal);
    if (source === null)
      throw new StoreError("refused", `could not copy ${this.#what(from)}: it is not there`);
    const target = {
      Bucket: this.#settings.bucket,
      Key: this.#key(to),
      what: this.#what(to),
      sourceKey: this.#key(from),
      headers: this.#headers(),
      customerKey: this.#customerKey,
      sourceCustomerKey: sourceCustomerKey(this.#settings),
      rangeBytes: this.#copyRangeBytes,
    };
    await copyObject(source, target, this.#requests, signal);
  }

  /** Null when it was written, else the failure. */
  async #conditionalPut(
    key: string,
    body: Uint8Array,
    condition: { readonly IfNoneMatch: string } | { readonly IfMatch: string },
    signal: AbortSignal,
  ): Promise<S3Failure | null> {
    signal.throwIfAborted();
    const target = {
      Bucket: this.#settings.bucket,
      Key: this.#key(key),
      headers: this.#headers(),
      customerKey: this.#customerKey,
    };
    const input = { ...putInput(body, target), ...condition };
    await this.#requests.pace(body.byteLength, signal);
    const sent = await this.#requests.once(
      (client, options) => client.send(new PutObjectCommand(input), options),
      signal,
    );
    return sent.ok ? null : sent.failure;
  }

  async #open(
    key: string,
    range: string | null,
    etag: string | null,
    signal: AbortSignal,
  ): Promise<GetObjectCommandOutput | NoBody> {
    const input = {
      Bucket: this.#settings.bucket,
      Key: this.#key(key),
      ...(range === null ? {} : { Range: range }),
      ...(etag === null ? {} : { IfMatch: etag }),
      ...this.#customerKey,
    };
    return this.#requests.repeat<GetObjectCommandOutput | NoBody>(
      `read ${this.#what(key)}`,
      (client, options) => client.send(new GetObjectCommand(input), options),
      signal,
      {
        accept: (failure) => {
          if (isAbsent(failure)) return "absent";
          return failure.status === 416 ? "beyond" : undefined;
        },
      },
    );
  }

  async #reopen(info: ObjectInfo, at: number, end: number, signal: AbortSignal): Promise<Readable> {
    const found = await this.#open(info.key, `bytes=${at}-${end - 1}`, info.etag, signal);
    if (found === "absent" || found === "beyond") {
      throw new StoreError("damaged", `${this.#what(info.key)} was removed while it was read`);
    }
    this.#infoOf(info.key, found, true);
    return bodyOf(found);
  }

  async #emptyBody(key: string, signal: AbortSignal): Promise<ObjectBody | null> {
    const info = await this.head(key, signal);
    return info === null ? null : { ...info, body: nothing() };
  }

  async #headEmpty(key: string, signal: AbortSignal): Promise<ObjectInfo | null> {
    const input = { Bucket: this.#settings.bucket, Key: this.#key(key), ...this.#customerKey };
    const found = await this.#requests.repeat(
      `look at ${this.#what(key)}`,
      (client, options) => client.send(new HeadObjectCommand(input), options),
      signal,
    );
    return {
      key,
      bytes: found.ContentLength ?? 0,
      modifiedMs: found.LastModified?.getTime() ?? 0,
      etag: found.ETag ?? "",
    };
  }

  #infoOf(key: string, found: GetObjectCommandOutput, ranged: boolean): ObjectInfo {
    const bytes = ranged ? Number(/\/(\d+)$/.exec(found.ContentRange ?? "")?.[1]) : found.ContentLength;
    if (bytes === undefined || Number.isNaN(bytes)) {
      throw new StoreError(
        "refused",
        `${this.#what(key)}: the store does not tell its size${ranged ? " or ignores ranges" : ""}`,
      );
    }
    return { key, bytes, modifiedMs: found.LastModified?.getTime() ?? 0, etag: found.ETag ?? "" };
  }

  get #where(): Where {
    return { name: this.name, bucket: this.#settings.bucket, prefix: this.#prefix };
  }

  #key(key: string): string {
    assertKey(key, this.name);
    return this.#prefix + key;
  }

  #headers(): ObjectHeaders {
    return objectHeaders(this.#settings, this.#tools.clock.now());
  }

  #what(key: string): string {
    return `${this.name}/${key}`;
  }
}

/**
 * The answer's body. From here on its reader watches for silence, and only while it waits: the SDK's time-out would also end a
 * body whose reader is slow, and crash the process over one that nobody reads.
 */
function bodyOf({ Body }: GetObjectCommandOutput): IncomingMessage {
  const body = Body as IncomingMessage;
  body.on("error", () => undefined); // who reads it gets it
  body.socket.setTimeout(0);
  return body;
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // no bytes
}
