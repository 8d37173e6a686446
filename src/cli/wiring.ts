// Makes the real store, codec and world out of the settings; nothing else does.

import { readFileSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { Secret } from "../base/secret.ts";
import { type CipherKey, cipherOf, readCipherKey } from "../codec/encryption.ts";
import type { Codec } from "../codec/seal.ts";
import { openFolderStore } from "../storage/folder-store.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { limitTo, unlimited } from "../storage/rate-limit.ts";
import { S3_DEFAULTS, type S3Settings } from "../storage/s3-settings.ts";
import type { SettingsWorld } from "./read-table.ts";
import type { CodecSettings, S3StoreSettings, StoreSettings } from "./settings-store.ts";

/** The machine, as far as reading settings needs it. */
export const settingsWorld: SettingsWorld = {
  readFile: (path) => readFileSync(path, "utf8"),
  isFolder: (path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false,
  hostname: hostname(),
};

export interface StoreTools {
  readonly clock: Clock;
  readonly log: Log;
  /** null: no limit. */
  readonly bytesPerSecond?: number | null;
  /** Tries after the first in place of the settings' number: who repeats by himself wants an answer soon. */
  readonly maxRetries?: number;
}

/** Opens the store; an S3 store is not asked anything yet, so that a dead one is found by those who can wait. */
export async function openStore(settings: StoreSettings, tools: StoreTools): Promise<ObjectStore> {
  if (settings.kind === "folder") {
    // Only the embedded folder is made: a mount that is missing must not look like an empty archive.
    return await openFolderStore(settings.path, { create: settings.origin !== "mounted" });
  }
  const { clock, log, bytesPerSecond = null, maxRetries = settings.maxRetries } = tools;
  const { openS3Store } = await import("../storage/s3-store.ts");
  const pace = bytesPerSecond === null ? unlimited : limitTo(bytesPerSecond, clock);
  return await openS3Store({ ...s3Settings(settings), maxRetries }, { clock, log, pace });
}

function s3Settings(settings: S3StoreSettings): S3Settings {
  const { credentials, encryption, lock } = settings;
  return {
    ...S3_DEFAULTS,
    bucket: settings.bucket,
    prefix: settings.prefix,
    endpoint: settings.endpoint,
    region: settings.region,
    forcePathStyle: settings.forcePathStyle,
    caFile: settings.caCertFile,
    storageClass: settings.storageClass,
    credentials:
      credentials.kind === "chain"
        ? null
        : {
            accessKeyId: new Secret(credentials.accessKeyId),
            secretAccessKey: credentials.secretAccessKey,
            sessionToken: credentials.sessionToken,
          },
    encryption:
      encryption === null
        ? null
        : encryption.kind === "aws:kms"
          ? { kind: "aws:kms", keyId: encryption.keyId ?? "" }
          : encryption,
    retention: lock,
    maxRetries: settings.maxRetries,
    partBytes: settings.partBytes,
  };
}

/** The version in package.json. */
export async function programVersion(): Promise<string> {
  const text = await readFile(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** The codec for what is written, and the key for what is read. Throws CipherError when the key cannot be used. */
export async function openCodec(settings: CodecSettings): Promise<Codec> {
  return (await openKeyedCodec(settings)).codec;
}

/** The same with the key itself, which worker threads need: never log it. */
export async function openKeyedCodec({
  compression,
  encryption,
}: CodecSettings): Promise<{ readonly codec: Codec; readonly cipherKey: CipherKey }> {
  const cipherKey = await readCipherKey(encryption);
  return { codec: { compression, cipher: await cipherOf(cipherKey) }, cipherKey };
}
