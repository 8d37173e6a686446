// Headers that settings add to requests: storage class, encryption, object lock.

import type { PutObjectCommandInput, StorageClass } from "@aws-sdk/client-s3";
import { contentMd5 } from "./s3-checksum.ts";
import type { S3Settings } from "./s3-settings.ts";

/** For requests that make an object. */
export type ObjectHeaders = Pick<
  PutObjectCommandInput,
  "StorageClass" | "ServerSideEncryption" | "SSEKMSKeyId" | "ObjectLockMode" | "ObjectLockRetainUntilDate"
>;

/** For every request that reads or writes content (SSE-C); empty without. */
export type CustomerKey = Pick<
  PutObjectCommandInput,
  "SSECustomerAlgorithm" | "SSECustomerKey" | "SSECustomerKeyMD5"
>;

/** As CustomerKey, for the source of a copy. */
export interface SourceCustomerKey {
  readonly CopySourceSSECustomerAlgorithm?: string;
  readonly CopySourceSSECustomerKey?: string;
  readonly CopySourceSSECustomerKeyMD5?: string;
}

export function objectHeaders(
  { storageClass, encryption, retention }: S3Settings,
  nowMs: number,
): ObjectHeaders {
  return {
    ...(storageClass === null ? {} : { StorageClass: storageClass as StorageClass }),
    ...(encryption === null || encryption.kind === "customer"
      ? {}
      : { ServerSideEncryption: encryption.kind }),
    ...(encryption?.kind === "aws:kms" && encryption.keyId !== "" ? { SSEKMSKeyId: encryption.keyId } : {}),
    ...(retention === null
      ? {}
      : {
          ObjectLockMode: retention.mode,
          ObjectLockRetainUntilDate: new Date(nowMs + retention.seconds * 1000),
        }),
  };
}

export function customerKey({ encryption }: S3Settings): CustomerKey {
  if (encryption?.kind !== "customer") return {};
  const key = Buffer.from(encryption.key.reveal(), "utf8");
  return {
    SSECustomerAlgorithm: "AES256",
    SSECustomerKey: key.toString("base64"),
    SSECustomerKeyMD5: contentMd5(key),
  };
}

export function sourceCustomerKey(settings: S3Settings): SourceCustomerKey {
  const { SSECustomerAlgorithm, SSECustomerKey, SSECustomerKeyMD5 } = customerKey(settings);
  if (SSECustomerAlgorithm === undefined || SSECustomerKey === undefined || SSECustomerKeyMD5 === undefined)
    return {};
  return {
    CopySourceSSECustomerAlgorithm: SSECustomerAlgorithm,
    CopySourceSSECustomerKey: SSECustomerKey,
    CopySourceSSECustomerKeyMD5: SSECustomerKeyMD5,
  };
}
