// A store in memory, for tests of what stands above the contract. It runs the contract's suite like any other.

import { createHash } from "node:crypto";
import { collect, compareKeys, copies } from "../../src/base/bytes.ts";
import {
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  StoreError,
} from "../../src/storage/object-store.ts";

/** Every operation takes effect at one instant. `objects` is open to tests that damage or forge something. */
export class MemoryStore implements ObjectStore {
  readonly name: string;
  readonly objects = new Map<string, { readonly bytes: Uint8Array; readonly modifiedMs: number }>();
  readonly #now: () => number;

  constructor(name = "memory://test", now: () => number = Date.now) {
    this.name = name;
    this.#now = now;
  }

  async get(
    key: string,
    signal: AbortSignal,
    range?: { readonly start: number; readonly end?: number },
  ): Promise<ObjectBody | null> {
    const info = await this.head(key, signal);
    if (info === null) return null;
    const bytes = this.objects.get(key)!.bytes;
    const part = Uint8Array.from(bytes.subarray(range?.start ?? 0, range?.end ?? bytes.byteLength));
    return { ...info, body: piecesOf(part) };
  }

  async head(key: string, signal: AbortSignal): Promise<ObjectInfo | null> {
    signal.throwIfAborted();
    const found = this.objects.get(key);
    return found === undefined ? null : infoOf(key, found);
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const bytes = body instanceof Uint8Array ? body : await collect(copies(body));
    signal.throwIfAborted();
    this.#store(key, bytes);
  }

  async create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    signal.throwIfAborted();
    if (this.objects.has(key)) return "exists";
    this.#store(key, body);
    return "created";
  }

  async replace(
    key: string,
    body: Uint8Array,
    etag: string,
    signal: AbortSignal,
  ): Promise<"replaced" | "changed"> {
    signal.throwIfAborted();
    const found = this.objects.get(key);
    if (found === undefined || infoOf(key, found).etag !== etag) return "changed";
    this.#store(key, body);
    return "replaced";
  }

  async *list(
    prefix: string,
    signal: AbortSignal,
    { after = "" }: { readonly after?: string } = {},
  ): AsyncGenerator<ObjectInfo> {
    signal.throwIfAborted();
    const keys = [...this.objects.keys()].filter(
      (key) => key.startsWith(prefix) && compareKeys(key, after) > 0,
    );
    for (const key of keys.sort(compareKeys)) {
      signal.throwIfAborted();
      const found = this.objects.get(key);
      if (found !== undefined) yield infoOf(key, found);
    }
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    for (const key of keys) this.objects.delete(key);
  }

  async copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const found = this.objects.get(from);
    if (found === undefined) throw new StoreError("refused", `could not copy "${from}": it is not there`);
    this.#store(to, found.bytes);
  }

  #store(key: string, bytes: Uint8Array): void {
    this.objects.set(key, { bytes: Uint8Array.from(bytes), modifiedMs: this.#now() });
  }
}

async function* piecesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.byteLength > 0) yield bytes;
}

function infoOf(key: string, { bytes, modifiedMs }: { bytes: Uint8Array; modifiedMs: number }): ObjectInfo {
  return { key, bytes: bytes.byteLength, modifiedMs, etag: createHash("md5").update(bytes).digest("hex") };
}
