// Objects of wal_005 in WAL-G's format: create-only, compared by their plain bytes when they exist (P1, P3), and read back.

import { type ReadMethod, methodOfExtension } from "../codec/compression.ts";
import type { Cipher } from "../codec/encryption.ts";
import { type Codec, open, seal, walObjectName } from "../codec/seal.ts";
import { type ObjectStore, readWhole } from "../storage/object-store.ts";
import { historyName, segmentName } from "../wal/segment-name.ts";
import type { PublishedSource } from "./assemble.ts";
import { PublishConflictError } from "./errors.ts";
import { type InsistTools, insist } from "./insist.ts";
import { WAL_PREFIX } from "./keys.ts";
import { sha256 } from "./slot.ts";
import type { Fencing } from "./take-over.ts";

export interface PublishTools extends InsistTools {
  readonly store: Pick<ObjectStore, "get" | "list" | "create" | "put" | "head">;
  readonly codec: Codec;
  readonly fencing: Fencing;
}

/** An object of wal_005 under one of the codecs WAL-G knows. */
export interface PublishedObject {
  readonly key: string;
  readonly method: ReadMethod;
}

/**
 * Puts `plain` under `name` unless it is there. `listFirst` looks for other codecs before (P1: the first publication of an epoch).
 * Repeats without end while the store does not answer. Throws PublishConflictError when other bytes stand there: nothing is overwritten.
 */
export async function publishObject(
  name: string,
  plain: Uint8Array,
  listFirst: boolean,
  tools: PublishTools,
): Promise<"created" | "same"> {
  const { store, codec, signal } = tools;
  if (listFirst) {
    const there = await insist(`list ${name}`, () => findPublished(store, name, signal), tools);
    if (there !== null) return compare(there, plain, tools);
  }
  const key = WAL_PREFIX + walObjectName(name, codec.compression.method);
  const sealed = await seal(plain, codec);
  const outcome = await insist(`publish ${key}`, () => createOnly(key, sealed, tools), tools);
  return outcome === "created" ? "created" : compare({ key, method: codec.compression.method }, plain, tools);
}

/** The plain bytes of `name` under any codec we know, or null when a listing shows that it is not there. Throws StoreError, CodecError. */
export async function fetchPublished(
  store: Pick<ObjectStore, "get" | "list">,
  name: string,
  { cipher, preferred = "lz4" }: { readonly cipher: Cipher; readonly preferred?: ReadMethod },
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  const likely = { key: WAL_PREFIX + walObjectName(name, preferred), method: preferred };
  const first = await fetchPlain(store, likely, cipher, signal);
  if (first !== null) return first;
  const there = await findPublished(store, name, signal);
  return there === null ? null : fetchPlain(store, there, cipher, signal);
}

/** The source that `assemble.ts` asks for published segments. */
export const publishedSource =
  (
    store: Pick<ObjectStore, "get" | "list">,
    segmentBytes: number,
    codec: { readonly cipher: Cipher; readonly preferred?: ReadMethod },
    signal: AbortSignal,
  ): PublishedSource =>
  (segment, isPartial) =>
    fetchPublished(store, segmentName(segment, segmentBytes) + (isPartial ? PARTIAL : ""), codec, signal);

/** As `fetchPublished` for a `.history` file. */
export const fetchPublishedHistory = (
  store: Pick<ObjectStore, "get" | "list">,
  timeline: number,
  codec: { readonly cipher: Cipher; readonly preferred?: ReadMethod },
  signal: AbortSignal,
): Promise<Uint8Array | null> => fetchPublished(store, historyName(timeline), codec, signal);

/** The object of exactly this name under any codec, or null. */
export async function findPublished(
  store: Pick<ObjectStore, "list">,
  name: string,
  signal: AbortSignal,
): Promise<PublishedObject | null> {
  for await (const { key } of store.list(WAL_PREFIX + name, signal)) {
    const rest = key.slice(WAL_PREFIX.length + name.length);
    const method = rest === "" ? "none" : rest.startsWith(".") ? methodOfExtension(rest.slice(1)) : null;
    if (method !== null && (rest === "" || rest !== ".")) return { key, method };
  }
  return null;
}

export const PARTIAL = ".partial";

async function createOnly(
  key: string,
  sealed: Uint8Array,
  tools: PublishTools,
): Promise<"created" | "exists"> {
  const { store, signal, fencing } = tools;
  if (fencing === "conditional") return store.create(key, sealed, signal);
  if ((await store.head(key, signal)) !== null) return "exists"; // U1
  await store.put(key, sealed, signal, { bytes: sealed.byteLength });
  return "created";
}

/** Codec, level and key may differ: only plain bytes are compared (P1). */
async function compare(there: PublishedObject, plain: Uint8Array, tools: PublishTools): Promise<"same"> {
  const { store, codec, signal } = tools;
  const found = await insist(
    `read ${there.key}`,
    () => fetchPlain(store, there, codec.cipher, signal),
    tools,
  );
  if (found === null || sha256(found) !== sha256(plain)) throw new PublishConflictError(there.key);
  return "same";
}

async function fetchPlain(
  store: Pick<ObjectStore, "get">,
  { key, method }: PublishedObject,
  cipher: Cipher,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  const object = await store.get(key, signal);
  if (object === null) return null;
  const sealed = await readWhole(object);
  return method === "none" && cipher.name === "none" ? sealed : open(sealed, method, cipher);
}
