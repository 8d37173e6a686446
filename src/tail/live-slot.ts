// Objects of the log that were read or written, with their bodies at hand or to be fetched again.

import type { Cipher } from "../codec/encryption.ts";
import { type ObjectStore, readWhole } from "../storage/object-store.ts";
import { LogDamagedError, StaleViewError } from "./errors.ts";
import {
  type BaseHeader,
  HEADER_BYTES_MOST,
  type ObjectHeader,
  type ReadObject,
  SLOT_BYTES_MOST,
  type SlotHeader,
  decodeObject,
  openBody,
} from "./slot.ts";

/** An accepted object of the log. */
export interface LiveObject<H extends ObjectHeader = ObjectHeader> {
  readonly key: string;
  readonly header: H;
  readonly headerBytes: Uint8Array;
  readonly headerHash: string;
  /** The sealed body, or null when it was not kept to save memory. */
  readonly sealedBody: Uint8Array | null;
}

export type LiveSlot = LiveObject<SlotHeader>;
export type LiveBase = LiveObject<BaseHeader>;

export interface BodySource {
  readonly store: Pick<ObjectStore, "get">;
  readonly cipher: Cipher;
}

/** The plain body, fetched again where it was not kept. Throws StaleViewError when the object is gone by now; StoreError. */
export async function loadBody(
  object: LiveObject,
  { store, cipher }: BodySource,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (object.header.length === 0) return new Uint8Array(0);
  const { sealedBody } = object;
  if (sealedBody !== null) return openBody(object.key, { ...object, sealedBody }, cipher);
  const found = await getObject(store, object.key, object.header.length, signal);
  if (found === null) throw new StaleViewError(object.key);
  if (found.headerHash !== object.headerHash) {
    throw new LogDamagedError(`object "${object.key}" is another one than when the log was read`);
  }
  return openBody(object.key, found, cipher);
}

/** GET and take apart; null when absent. */
export async function getObject(
  store: Pick<ObjectStore, "get">,
  key: string,
  bodyBytesMost: number,
  signal: AbortSignal,
): Promise<ReadObject | null> {
  const bytes = await getBytes(store, key, bodyBytesMost, signal);
  return bytes === null ? null : decodeObject(key, bytes);
}

/** GET, refusing what is larger than any object of the log can be. */
export async function getBytes(
  store: Pick<ObjectStore, "get">,
  key: string,
  bodyBytesMost: number,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  const found = await store.get(key, signal);
  return found === null ? null : readWhole(found, objectBytesMost(bodyBytesMost));
}

/** Compression and encryption may lengthen a body that does not compress, by far less than an eighth. */
const objectBytesMost = (bodyBytes: number): number =>
  HEADER_BYTES_MOST + Math.max(bodyBytes, SLOT_BYTES_MOST) * 1.125 + 64 * 1024;
