// Listings, page by page, and deletes, a thousand keys at a time.

import { DeleteObjectCommand, DeleteObjectsCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { compareKeys } from "../base/bytes.ts";
import { type ObjectInfo, StoreError } from "./object-store.ts";
import { isAbsent, s3Error } from "./s3-error.ts";
import type { S3Requests } from "./s3-request.ts";

const DELETES_AT_ONCE = 1_000;

/** A prefix of a bucket; `prefix` is empty or ends with a slash. */
export interface Where {
  /** For messages: `s3://bucket/prefix`. */
  readonly name: string;
  readonly bucket: string;
  readonly prefix: string;
}

/** All objects below `where` in key order, from `after` (exclusive) on. Throws StoreError `refused` when the store breaks the order. */
export async function* listObjects(
  where: Where,
  { prefix, after }: { readonly prefix: string; readonly after: string },
  requests: S3Requests,
  signal: AbortSignal,
): AsyncGenerator<ObjectInfo> {
  const what = `list ${where.name}/${prefix}`;
  const input = {
    Bucket: where.bucket,
    Prefix: where.prefix + prefix,
    ...(after === "" ? {} : { StartAfter: where.prefix + after }),
  };
  let token: string | undefined;
  let last = "";
  do {
    const more = token === undefined ? {} : { ContinuationToken: token };
    const page = await requests.repeat(
      what,
      (client, options) => client.send(new ListObjectsV2Command({ ...input, ...more }), options),
      signal,
    );
    for (const { Key, Size, LastModified, ETag } of page.Contents ?? []) {
      const key = Key?.startsWith(where.prefix) === true ? Key.slice(where.prefix.length) : "";
      if (key === "" || key.endsWith("/")) continue; // folder markers of other tools
      if (last !== "" && compareKeys(key, last) <= 0) throw outOfOrder(what, key, last);
      last = key;
      yield { key, bytes: Size ?? 0, modifiedMs: LastModified?.getTime() ?? 0, etag: ETag ?? "" };
    }
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    if (page.IsTruncated === true && token === undefined) {
      throw new StoreError("refused", `could not ${what}: a page does not say where the next one begins`);
    }
  } while (token !== undefined);
}

/** Deletes; a key that is not there is no error. Throws StoreError that names the first key that could not be deleted. */
export async function deleteObjects(
  where: Where,
  keys: readonly string[],
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < keys.length; at += DELETES_AT_ONCE) {
    await deleteBatch(where, keys.slice(at, at + DELETES_AT_ONCE), requests, signal);
  }
}

/** The answer is 200 even when single keys failed: those are repeated, or named. */
async function deleteBatch(
  where: Where,
  batch: readonly string[],
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  let left = batch;
  await requests.retry(
    `delete ${batch.length} objects from ${where.name}`,
    async () => {
      const Objects = left.map((key) => ({ Key: where.prefix + key }));
      const command = new DeleteObjectsCommand({ Bucket: where.bucket, Delete: { Objects, Quiet: true } });
      const sent = await requests.once((client, options) => client.send(command, options), signal);
      if (!sent.ok && sent.failure.status === 501) return deleteSingly(where, left, requests, signal);
      if (!sent.ok)
        throw s3Error(sent.failure, `delete ${where.name}/${left[0]!} and ${left.length - 1} more`);
      const failed = (sent.output.Errors ?? []).filter(({ Code }) => Code !== "NoSuchKey");
      const [first] = failed;
      if (first === undefined) return;
      left = failed.flatMap(({ Key }) => (Key === undefined ? [] : [Key.slice(where.prefix.length)]));
      const failure = {
        code: first.Code ?? "Error",
        status: null,
        message: first.Message ?? "no reason given",
      };
      throw s3Error(failure, `delete s3://${where.bucket}/${first.Key ?? "?"} and ${failed.length - 1} more`);
    },
    signal,
  );
}

/** For stores without DeleteObjects. */
async function deleteSingly(
  where: Where,
  keys: readonly string[],
  requests: S3Requests,
  signal: AbortSignal,
): Promise<void> {
  for (const key of keys) {
    const command = new DeleteObjectCommand({ Bucket: where.bucket, Key: where.prefix + key });
    await requests.repeat<unknown>(
      `delete ${where.name}/${key}`,
      (client, options) => client.send(command, options),
      signal,
      { accept: (failure) => (isAbsent(failure) ? "absent" : undefined) },
    );
  }
}

function outOfOrder(what: string, key: string, last: string): StoreError {
  return new StoreError("refused", `could not ${what}: "${key}" came after "${last}"`, {
    hint: "use a store that lists keys in the order of their bytes",
  });
}
