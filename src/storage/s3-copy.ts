// Copies within a bucket, made by the store; above 5 GiB in ranges.

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { type ObjectInfo, StoreError } from "./object-store.ts";
import type { CustomerKey, ObjectHeaders, SourceCustomerKey } from "./s3-headers.ts";
import type { S3Requests } from "./s3-request.ts";

export interface CopyTarget {
  readonly Bucket: string;
  readonly Key: string;
  /** For messages. */
  readonly what: string;
  readonly sourceKey: string;
  readonly headers: ObjectHeaders;
  readonly customerKey: CustomerKey;
  readonly sourceCustomerKey: SourceCustomerKey;
  /** Above this the copy is made in ranges of this size; S3 allows 5 GiB at most. */
  readonly rangeBytes: number;
}

const PARTS_MOST = 10_000;
const ABORT_TIMEOUT_MS = 10_000;

/** Copies the version of the source that `source` names. Throws StoreError. */
export async function copyObject(
  source: ObjectInfo,
  target: CopyTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  if (source.bytes > target.rangeBytes) return copyRanges(source, target, requests, signal);
  const { Bucket, Key, headers, customerKey, sourceCustomerKey } = target;
  const CopySourceIfMatch = source.etag;
  const input = {
    Bucket,
    Key,
    CopySource: sourceOf(target),
    CopySourceIfMatch,
    ...headers,
    ...customerKey,
    ...sourceCustomerKey,
  };
  await requests.repeat(
    `copy to ${target.what}`,
    (client, options) => client.send(new CopyObjectCommand(input), options),
    signal,
    { slow: true },
  );
}

async function copyRanges(
  source: ObjectInfo,
  target: CopyTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  const { Bucket, Key, what, headers, customerKey } = target;
  const begun = await requests.repeat(
    `begin the copy to ${what}`,
    (client, options) =>
      client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...headers, ...customerKey }), options),
    signal,
  );
  const { UploadId } = begun;
  if (UploadId === undefined) throw new StoreError("refused", `the store began no copy to ${what}`);
  try {
    const Parts = await copyParts(source, UploadId, target, requests, signal);
    const input = { Bucket, Key, UploadId, MultipartUpload: { Parts }, ...customerKey };
    await requests.repeat(
      `finish the copy to ${what}`,
      (client, options) => client.send(new CompleteMultipartUploadCommand(input), options),
      signal,
      { slow: true },
    );
  } catch (error) {
    const command = new AbortMultipartUploadCommand({ Bucket, Key, UploadId });
    await requests
      .once((client, options) => client.send(command, options), AbortSignal.timeout(ABORT_TIMEOUT_MS))
      .catch(() => undefined); // the first error matters more
    throw error;
  }
}

async function copyParts(
  source: ObjectInfo,
  UploadId: string,
  target: CopyTarget,
  requests: S3Requests,
  signal: AbortSignal,
): Promise<CompletedPart[]> {
  const { Bucket, Key, what, customerKey, sourceCustomerKey } = target;
  const size = Math.max(target.rangeBytes, Math.ceil(source.bytes / PARTS_MOST));
  const parts: CompletedPart[] = [];
  for (let start = 0, PartNumber = 1; start < source.bytes; start += size, PartNumber += 1) {
    const last = Math.min(start + size, source.bytes) - 1;
    const input = {
      Bucket,
      Key,
      UploadId,
      PartNumber,
      CopySource: sourceOf(target),
      CopySourceIfMatch: source.etag,
      CopySourceRange: `bytes=${start}-${last}`,
      ...customerKey,
      ...sourceCustomerKey,
    };
    const { CopyPartResult } = await requests.repeat(
      `copy part ${PartNumber} to ${what}`,
      (client, options) => client.send(new UploadPartCopyCommand(input), options),
      signal,
      { slow: true, underWay: true },
    );
    if (CopyPartResult?.ETag === undefined)
      throw new StoreError("refused", `the store copied no part ${PartNumber} to ${what}`);
    parts.push({ PartNumber, ETag: CopyPartResult.ETag });
  }
  return parts;
}

const sourceOf = ({ Bucket, sourceKey }: CopyTarget): string =>
  `${Bucket}/${sourceKey.split("/").map(encodeURIComponent).join("/")}`;
