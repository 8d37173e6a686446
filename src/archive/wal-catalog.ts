// What `wal_005` holds: names, codecs, and the fewest requests to find one of them.
// walg-storage-format.md section 21 has WAL-G's own order of trying, walg-observed.md section 21 what it costs.

import { messageOf } from "../base/errors.ts";
import { type Cipher } from "../codec/encryption.ts";
import { methodOfExtension, type ReadMethod } from "../codec/compression.ts";
import { open, walObjectName } from "../codec/seal.ts";
import { type ObjectInfo, type ObjectStore, readWhole, StoreError } from "../storage/object-store.ts";
import { parseWalName, type WalName } from "../wal/segment-name.ts";
import { isDamagedObject, WalFileDamagedError } from "./wal-file-check.ts";

export const WAL_FOLDER = "wal_005/";

/** One object of `wal_005` whose name is one that Postgres gives. */
export interface WalObject {
  readonly key: string;
  /** As Postgres calls the file: without the codec's extension. */
  readonly name: string;
  readonly meaning: WalName;
  readonly method: ReadMethod;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** A file of `wal_005`, opened, with the object it came from. */
export interface WalFile {
  readonly object: WalObject;
  readonly bytes: Uint8Array;
}

/** What an object of the folder is, or null for foreign ones. `X.` (trailing dot) and a bare `X` are both plain. */
export function parseWalObject(info: ObjectInfo, segmentBytes: number): WalObject | null {
  const base = info.key.slice(info.key.lastIndexOf("/") + 1);
  const bare = parseWalName(base, segmentBytes);
  if (bare !== null) return walObject(info, base, bare, "none");
  const dot = base.lastIndexOf(".");
  if (dot < 0) return null;
  const method = methodOfExtension(base.slice(dot + 1));
  const name = base.slice(0, dot);
  const meaning = parseWalName(name, segmentBytes);
  return method === null || meaning === null ? null : walObject(info, name, meaning, method);
}

/** Every object of the folder that has a name of Postgres, in key order; `after` is a file name to begin behind. */
export async function* listWal(
  store: Pick<ObjectStore, "list">,
  segmentBytes: number,
  signal: AbortSignal,
  options: { readonly prefix?: string; readonly after?: string } = {},
): AsyncGenerator<WalObject> {
  const after = options.after === undefined ? {} : { after: WAL_FOLDER + options.after };
  for await (const info of store.list(WAL_FOLDER + (options.prefix ?? ""), signal, after)) {
    const object = parseWalObject(info, segmentBytes);
    if (object !== null) yield object;
  }
}

/** Finds and reads files of `wal_005`, whatever codec they were written in. */
export class WalCatalog {
  readonly #store: Pick<ObjectStore, "get" | "list">;
  readonly #cipher: Cipher;
  readonly #segmentBytes: number;
  /** Tried first: what followed the name at the last hit (`.lz4`; `.` or nothing for plain ones). */
  #likely: string;

  constructor(options: {
    readonly store: Pick<ObjectStore, "get" | "list">;
    readonly cipher: Cipher;
    readonly segmentBytes: number;
    /** What this archive is mostly written in; a wrong guess costs two requests, once. */
    readonly likely?: ReadMethod;
  }) {
    this.#store = options.store;
    this.#cipher = options.cipher;
    this.#segmentBytes = options.segmentBytes;
    this.#likely = walObjectName("", options.likely ?? "lz4");
  }

  /** All objects that hold the file `name`, in WAL-G's order of trying; empty when the listing proves that none does. One request. */
  async find(name: string, signal: AbortSignal): Promise<WalObject[]> {
    const found: WalObject[] = [];
    for await (const object of listWal(this.#store, this.#segmentBytes, signal, { prefix: name })) {
      if (object.name === name) found.push(object);
    }
    return found.sort((a, b) => ORDER.indexOf(a.method) - ORDER.indexOf(b.method));
  }

  /**
   * The file `name`, opened; null when a listing made in this call proves that no object holds it. One request on a hit with
   * the usual codec, two for a miss, three for another codec. An object that does not open, or that `accept` refuses, gives
   * way to the same file in another codec; with none left its error is thrown (WalFileDamagedError, CipherError, StoreError, or what `accept` threw).
   */
  async read(
    name: string,
    signal: AbortSignal,
    accept: (bytes: Uint8Array) => void = () => undefined,
  ): Promise<WalFile | null> {
    const quick = await this.#readKey(WAL_FOLDER + name + this.#likely, name, signal, accept).catch(
      keepError,
    );
    if (isFile(quick)) return quick;
    let trouble = quick;
    for (let look = 1; look <= LOOKS_MOST; look += 1) {
      const all = await this.find(name, signal);
      if (all.length === 0 && trouble === null) return null;
      for (const object of all) {
        const file = await this.#readKey(object.key, name, signal, accept).catch(keepError);
        if (isFile(file)) return file;
        trouble = file ?? trouble;
      }
      signal.throwIfAborted();
      if (trouble !== null) throw trouble.error;
      // Listed, but gone when it was read: only another listing may call it absent.
    }
    throw new StoreError("unknown", `the listing of "${WAL_FOLDER}${name}" and the objects do not agree`);
  }

  async #readKey(
    key: string,
    name: string,
    signal: AbortSignal,
    accept: (bytes: Uint8Array) => void,
  ): Promise<WalFile | null> {
    const body = await this.#store.get(key, signal);
    const object = body === null ? null : parseWalObject(body, this.#segmentBytes);
    if (body === null || object === null) return null;
    const sealed = await readWhole(body, this.#segmentBytes * 2 + SEAL_ROOM_BYTES);
    const bytes = await open(sealed, object.method, this.#cipher).catch((error: unknown) => {
      // Of a codec's error nobody could tell which object it is about.
      throw isDamagedObject(error) ? new WalFileDamagedError(key, messageOf(error)) : error;
    });
    accept(bytes);
    this.#likely = key.slice(WAL_FOLDER.length + name.length);
    return { object, bytes };
  }
}

type Kept = { readonly error: unknown };

const keepError = (error: unknown): Kept => ({ error });
const isFile = (value: WalFile | Kept | null): value is WalFile => value !== null && "object" in value;

function walObject(info: ObjectInfo, name: string, meaning: WalName, method: ReadMethod): WalObject {
  return { key: info.key, name, meaning, method, bytes: info.bytes, modifiedMs: info.modifiedMs };
}

// WAL-G's order; `none` stands for the trailing dot and the bare name.
const ORDER: readonly ReadMethod[] = ["lz4", "lzma", "gzip", "none", "brotli", "lzo", "zstd"];
const LOOKS_MOST = 3;
/** Headers of codec and cipher, and what does not compress. */
const SEAL_ROOM_BYTES = 1 << 20;
