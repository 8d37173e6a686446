// Uploads of any length in bounded memory: one PUT when it fits into a part, else a multipart upload that is aborted on failure.

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CreateMultipartUploadCommand,
  type PutObjectCommandInput,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { messageOf } from "../base/errors.ts";
import { StoreError } from "./object-store.ts";
import { contentMd5 } from "./s3-checksum.ts";
import { s3Error } from "./s3-error.ts";
import type { CustomerKey, ObjectHeaders } from "./s3-headers.ts";
import { PartBuffer, SpareBuffers } from "./part-buffer.ts";
import type { S3Requests } from "./s3-request.ts";

/** S3's own limits. */
const PARTS_MOST = 10_000;
/** Parts of the first size; R2 wants all parts but the last equal, so that sizes grow only where an object is beyond its reach anyway. */
const EVEN_PARTS = 4_000;
const ABORT_TIMEOUT_MS = 10_000;
/** What is in memory anyway goes in one PUT up to this. */
const WHOLE_BYTES_MOST = 128 << 20;

export type PutTarget = Pick<UploadTarget, "Bucket" | "Key" | "headers" | "customerKey">;

export interface UploadTarget {
  readonly Bucket: string;
  readonly Key: string;
  /** For messages. */
  readonly what: string;
  readonly headers: ObjectHeaders;
  readonly customerKey: CustomerKey;
  readonly partBytes: number;
  readonly partsInFlight: number;
  /** The stored object's size, null when it is not there. */
  readonly storedBytes: (signal: AbortSignal) => Promise<number | null>;
}

/** Bytes of part `number` (from 1). Doubles every 1,000 parts past the 4,000th: 16 MiB at first makes room for 2 TiB. */
export function partSize(number: number, firstBytes: number): number {
  if (number <= EVEN_PARTS) return firstBytes;
  return firstBytes * 2 ** (1 + Math.floor((number - EVEN_PARTS - 1) / 1_000));
}

/** Uploads; nothing is visible before all of it is. Throws StoreError, or what `body` throws. */
export async function upload(
  body: Uint8Array | AsyncIterable<Uint8Array>,
  knownBytes: number | null,
  target: UploadTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  if (body instanceof Uint8Array && body.byteLength <= WHOLE_BYTES_MOST) {
    return putWhole(body, target, requests, signal);
  }
  const firstBytes = Math.max(target.partBytes, Math.ceil((knownBytes ?? 0) / (PARTS_MOST - 100)));
  const spare = new SpareBuffers();
  const parts = partsOf(body instanceof Uint8Array ? [body] : body, firstBytes, spare);
  try {
    const first = await parts.next();
    const only = first.done === true ? new Uint8Array(0) : first.value;
    const second = first.done === true ? first : await parts.next();
    if (second.done === true) return await putWhole(only, target, requests, signal);
    await putParts(chain([only, second.value], parts), spare, target, requests, signal);
  } finally {
    await parts.return?.(undefined);
  }
}

async function putWhole(
  bytes: Uint8Array,
  target: UploadTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  const input = putInput(bytes, target);
  await requests.pace(bytes.byteLength, signal);
  await requests.repeat(
    `write ${target.what}`,
    (client, options) => client.send(new PutObjectCommand(input), options),
    signal,
  );
}

/** The request of a PUT, with its checksum. */
export function putInput(
  bytes: Uint8Array,
  { Bucket, Key, headers, customerKey }: PutTarget,
): PutObjectCommandInput {
  return {
    Bucket,
    Key,
    Body: bytes,
    ContentLength: bytes.byteLength,
    ContentMD5: contentMd5(bytes),
    ...headers,
    ...customerKey,
  };
}

async function putParts(
  parts: AsyncGenerator<Uint8Array>,
  spare: SpareBuffers,
  target: UploadTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  const { Bucket, Key, what, headers, customerKey } = target;
  const { UploadId } = await requests.repeat(
    `begin the upload of ${what}`,
    (client, options) =>
      client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...headers, ...customerKey }), options),
    signal,
  );
  if (UploadId === undefined) throw new StoreError("refused", `the store began no upload of ${what}`);
  try {
    const sent = await sendParts(parts, spare, UploadId, target, requests, signal);
    await complete(sent, UploadId, target, requests, signal);
  } catch (error) {
    await abort(UploadId, target, requests);
    throw error;
  }
}

interface SentParts {
  readonly parts: readonly CompletedPart[];
  readonly bytes: number;
}

async function sendParts(
  bodies: AsyncGenerator<Uint8Array>,
  spare: SpareBuffers,
  UploadId: string,
  target: UploadTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<SentParts> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const parts: CompletedPart[] = [];
  const inFlight = new Set<Promise<void>>();
  let bytes = 0;
  let failed: { readonly error: unknown } | null = null;
  const begin = (body: Uint8Array, number: number): void => {
    const work: Promise<void> = sendPart(body, number, UploadId, target, requests, either)
      .then((part) => {
        parts[number - 1] = part;
        return spare.keep(body);
      })
      .catch((error: unknown) => {
        failed ??= { error };
        stop.abort(error);
      })
      .finally(() => void inFlight.delete(work));
    inFlight.add(work);
  };
  try {
    let number = 0;
    for await (const body of bodies) {
      number += 1;
      if (number > PARTS_MOST)
        throw new StoreError("refused", `${target.what} is too long for ${PARTS_MOST} parts`);
      bytes += body.byteLength;
      // Memory stays at `partsInFlight` parts of the first size, or two of a grown one.
      const most = body.byteLength > target.partBytes ? 1 : target.partsInFlight;
      while (inFlight.size >= most) await Promise.race(inFlight);
      if (failed !== null) break;
      begin(body, number);
    }
  } catch (error) {
    stop.abort(error);
    throw error;
  } finally {
    await Promise.all(inFlight);
  }
  const failure = failed as { readonly error: unknown } | null;
  if (failure !== null) throw failure.error;
  return { parts, bytes };
}

async function sendPart(
  body: Uint8Array,
  PartNumber: number,
  UploadId: string,
  { Bucket, Key, what, customerKey }: UploadTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<CompletedPart> {
  const ContentMD5 = contentMd5(body);
  await requests.pace(body.byteLength, signal);
  const { ETag } = await requests.repeat(
    `write part ${PartNumber} of ${what}`,
    (client, options) =>
      client.send(
        new UploadPartCommand({
          Bucket,
          Key,
          UploadId,
          PartNumber,
          Body: body,
          ContentLength: body.byteLength,
          ContentMD5,
          ...customerKey,
        }),
        options,
      ),
    signal,
    { underWay: true },
  );
  if (ETag === undefined)
    throw new StoreError("refused", `the store gave part ${PartNumber} of ${what} no tag`);
  return { PartNumber, ETag };
}

/** The first try may have succeeded without its answer reaching us: then the upload is gone and the object must be there. */
async function complete(
  { parts, bytes }: SentParts,
  UploadId: string,
  target: UploadTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  const { Bucket, Key, what, customerKey } = target;
  const MultipartUpload = { Parts: [...parts] };
  const input = { Bucket, Key, UploadId, MultipartUpload, ...customerKey };
  const outcome = await requests.repeat<"finished" | "gone">(
    `finish the upload of ${what}`,
    async (client, options) => {
      await client.send(new CompleteMultipartUploadCommand(input), options);
      return "finished";
    },
    signal,
    {
      slow: true,
      underWay: true,
      accept: ({ code }, attempt) => (attempt > 1 && code === "NoSuchUpload" ? "gone" : undefined),
    },
  );
  if (outcome === "finished" || (await target.storedBytes(signal)) === bytes) return;
  throw new StoreError("unknown", `the upload of ${what} is gone, and the object is not what was sent`);
}

async function abort(
  UploadId: string,
  { Bucket, Key, what }: UploadTarget,
  requests: S3Requests,
): Promise<void> {
  const command = new AbortMultipartUploadCommand({ Bucket, Key, UploadId });
  try {
    const limit = AbortSignal.timeout(ABORT_TIMEOUT_MS);
    const sent = await requests.once((client, options) => client.send(command, options), limit);
    if (sent.ok || sent.failure.code === "NoSuchUpload") return;
    throw s3Error(sent.failure, `abort the upload of ${what}`);
  } catch (error) {
    requests.log.warn("an unfinished upload stays in the bucket", {
      object: what,
      because: messageOf(error),
    });
  }
}

async function* chain(
  ready: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* ready;
  yield* rest;
}

/** Cuts a body into parts of the sizes that `partSize` gives; each is a copy, for writers reuse their buffers. */
async function* partsOf(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  firstBytes: number,
  spare: SpareBuffers,
): AsyncGenerator<Uint8Array> {
  let number = 1;
  let part = new PartBuffer(partSize(number, firstBytes), spare);
  for await (let piece of body) {
    while (piece.byteLength > 0) {
      piece = part.fill(piece);
      if (part.room > 0) continue;
      yield part.bytes();
      number += 1;
      part = new PartBuffer(partSize(number, firstBytes), spare);
    }
  }
  if (part.size > 0) yield part.bytes();
}
