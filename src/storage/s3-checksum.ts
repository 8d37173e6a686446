// The checksum that every PUT carries, so that the store refuses bytes that changed on the way.
// Content-MD5 is the one that all S3 servers we know verify; x-amz-checksum-* is ignored by older ones.
// (Bodies are also part of the signature, as SHA-256.)

import { createHash } from "node:crypto";
import type { S3Client } from "@aws-sdk/client-s3";

/** Base64, as the header wants it. */
export function contentMd5(bytes: Uint8Array | string): string {
  return createHash("md5").update(bytes).digest("base64");
}

/** Adds Content-MD5 to DeleteObjects, which several servers insist on and the SDK no longer sends. */
export function addMd5ToDeletes(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => (args) => {
      const request = args.request as { readonly body?: unknown; readonly headers?: Record<string, string> };
      const wanted = context.commandName === "DeleteObjectsCommand";
      if (wanted && typeof request.body === "string" && request.headers !== undefined) {
        request.headers["content-md5"] = contentMd5(request.body);
      }
      return next(args);
    },
    { step: "build", name: "addMd5ToDeletes", priority: "low" },
  );
}
