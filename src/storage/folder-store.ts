// Objects as files in a folder, laid out as WAL-G's file storage: safe between processes and containers that share the mount.

import { randomBytes } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { link, open, rename, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { collect, streamOf } from "../base/bytes.ts";
import { syncFolder } from "../base/durable-file.ts";
import { withFileLock } from "../base/file-lock.ts";
import { READ_BYTES, type Part, filePieces } from "./folder-read.ts";
import { BodyToWrite, mkdirDurably, writeAll } from "./folder-write.ts";
import { isTemporaryName, temporaryName, walkFolder } from "./folder-walk.ts";
import { folderError, hasCode } from "./folder-error.ts";
import { assertKey } from "./object-key.ts";
import { type ObjectBody, type ObjectInfo, type ObjectStore, StoreError } from "./object-store.ts";

/** A folder made for an object can be removed by another process's delete before the file is in it; so often we make it again. */
const PLACE_TRIES = 20;

export interface FolderStoreOptions {
  /** Makes the root if it is missing. Leave it off for a mount: an unmounted archive must not look like an empty one. */
  readonly create?: boolean;
  /** Modes of new files and folders; 0600 and 0700 when left out. */
  readonly fileMode?: number;
  readonly folderMode?: number;
}

/** Opens the store below `path`. Throws StoreError `refused` when the root is not a folder. */
export async function openFolderStore(path: string, options: FolderStoreOptions = {}): Promise<FolderStore> {
  const root = resolve(path);
  try {
    if (options.create === true) await mkdirDurably(root, options.folderMode ?? 0o700);
    if (!(await stat(root)).isDirectory()) throw new StoreError("refused", `"${root}" is not a folder`);
  } catch (error) {
    throw rootError(error, root);
  }
  return new FolderStore(root, options);
}

/** Made by `openFolderStore`. A key's folders are real folders; an object is whole or not there at every instant. */
export class FolderStore implements ObjectStore {
  readonly name: string;
  readonly #root: string;
  readonly #fileMode: number;
  readonly #folderMode: number;

  constructor(root: string, { fileMode = 0o600, folderMode = 0o700 }: FolderStoreOptions = {}) {
    this.name = `file://${root}`;
    this.#root = root;
    this.#fileMode = fileMode;
    this.#folderMode = folderMode;
  }

  async get(
    key: string,
    signal: AbortSignal,
    range?: { readonly start: number; readonly end?: number },
  ): Promise<ObjectBody | null> {
    signal.throwIfAborted();
    const path = this.#path(key);
    try {
      await using file = await open(path, "r");
      const found = await file.stat({ bigint: true });
      if (!found.isFile()) return null;
      const info = infoOf(key, found);
      const part = { start: range?.start ?? 0, end: Math.min(range?.end ?? info.bytes, info.bytes) };
      // What is small is read at once: it cannot be replaced meanwhile, and no file stays open for a body that nobody reads.
      if (part.end - part.start > READ_BYTES) return { ...info, body: this.#read(info, part, signal) };
      const whole = await collect(filePieces(file, this.#what(key), part, signal));
      return { ...info, body: streamOf(...(whole.byteLength === 0 ? [] : [whole])) };
    } catch (error) {
      if (hasCode(error, "ENOENT", "ENOTDIR")) return await this.#absent();
      if (signal.aborted) throw error;
      throw folderError(error, "read", this.name, key);
    }
  }

  async head(key: string, signal: AbortSignal): Promise<ObjectInfo | null> {
    signal.throwIfAborted();
    const path = this.#path(key);
    try {
      const found = await stat(path, { bigint: true });
      return found.isFile() ? infoOf(key, found) : null;
    } catch (error) {
      if (hasCode(error, "ENOENT", "ENOTDIR")) return await this.#absent();
      throw folderError(error, "look at", this.name, key);
    }
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const path = this.#path(key);
    await this.#place(key, body, signal, async (temporary) => {
      await this.#makeNewer(temporary, path);
      await rename(temporary, path);
      return "put";
    });
  }

  async create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    const path = this.#path(key);
    return this.#place(key, body, signal, async (temporary) => {
      try {
        await link(temporary, path);
        return "created";
      } catch (error) {
        if (hasCode(error, "EEXIST")) return await this.#existing(key, path);
        if (!hasCode(error, "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK")) throw error;
        return await this.#createLocked(temporary, path, signal);
      }
    });
  }

  async replace(
    key: string,
    body: Uint8Array,
    etag: string,
    signal: AbortSignal,
  ): Promise<"replaced" | "changed"> {
    const path = this.#path(key);
    if ((await this.head(key, signal))?.etag !== etag) return "changed";
    return this.#place(key, body, signal, (temporary) =>
      withFileLock(this.#root, signal, async (assertHeld) => {
        if ((await this.head(key, signal))?.etag !== etag) return "changed";
        await this.#makeNewer(temporary, path);
        assertHeld();
        await rename(temporary, path);
        return "replaced";
      }),
    );
  }

  async *list(
    prefix: string,
    signal: AbortSignal,
    { after = "" }: { readonly after?: string } = {},
  ): AsyncGenerator<ObjectInfo> {
    try {
      for await (const found of walkFolder(this.#root, { prefix, after }, signal)) {
        yield infoOf(found.key, found.stat);
      }
    } catch (error) {
      if (signal.aborted) throw error;
      throw hasCode(error, "ENOENT")
        ? rootError(error, this.#root)
        : folderError(error, "list", this.name, prefix);
    }
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    const parents = new Set<string>();
    for (const key of keys) {
      signal.throwIfAborted();
      const path = this.#path(key);
      try {
        await unlink(path);
        parents.add(dirname(path));
      } catch (error) {
        if (!hasCode(error, "ENOENT", "ENOTDIR")) throw folderError(error, "delete", this.name, key);
        await this.#absent();
      }
    }
    for (const parent of parents) await this.#prune(parent);
  }

  async copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    const source = await this.get(from, signal);
    if (source === null)
      throw new StoreError("refused", `could not copy "${from}" in ${this.name}: it is not there`);
    await this.put(to, source.body, signal);
  }

  /** Removes temporary files that crashed writers left behind, older than `olderThanMs` by the file system's clock; returns how many. */
  async removeLeftovers(olderThanMs: number, nowMs: number, signal: AbortSignal): Promise<number> {
    let removed = 0;
    for await (const found of walkFolder(
      this.#root,
      { prefix: "", after: "", wanted: isTemporaryName },
      signal,
    )) {
      if (nowMs - Number(found.stat.mtimeMs) < olderThanMs) continue;
      await unlink(join(this.#root, found.key));
      removed += 1;
    }
    return removed;
  }

  /** Writes a synced temporary file beside `key`, lets `settle` move it into place, and makes that durable. */
  async #place<T>(
    key: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    settle: (temporary: string) => Promise<T>,
  ): Promise<T> {
    const path = this.#path(key);
    const source = new BodyToWrite(body);
    try {
      for (let attempt = 1; ; attempt += 1) {
        const temporary = temporaryName(path, Date.now(), randomBytes(8).toString("hex"));
        try {
          await this.#makeParents(path);
          await this.#write(temporary, source, signal);
          const outcome = await settle(temporary);
          await syncFolder(dirname(path)); // also when it exists: whoever made it may not have come so far
          return outcome;
        } catch (error) {
          const vanished = hasCode(error, "ENOENT") && source.untouched && attempt < PLACE_TRIES;
          if (!vanished) throw error;
        } finally {
          await unlink(temporary).catch(() => undefined); // gone already after a rename
        }
      }
    } catch (error) {
      if (signal.aborted || error instanceof StoreError || source.failed) throw error;
      throw folderError(error, "write", this.name, key);
    }
  }

  async #write(temporary: string, body: BodyToWrite, signal: AbortSignal): Promise<void> {
    await using file = await open(temporary, "wx", this.#fileMode);
    for await (const piece of body.pieces()) {
      signal.throwIfAborted();
      await writeAll(file, piece);
    }
    signal.throwIfAborted();
    await file.sync();
  }

  async #makeParents(path: string): Promise<void> {
    await stat(this.#root); // never make the root by accident
    await mkdirDurably(dirname(path), this.#folderMode);
  }

  /** Tags are made of the time of change: two versions of one object must never have the same. */
  async #makeNewer(temporary: string, path: string): Promise<void> {
    const old = await stat(path, { bigint: true }).catch((error: unknown) => {
      if (hasCode(error, "ENOENT")) return null;
      throw error;
    });
    if (old === null) return;
    await using file = await open(temporary, "r+");
    if ((await file.stat({ bigint: true })).mtimeNs > old.mtimeNs) return;
    const seconds = Number(old.mtimeNs / 1000n + 2n) / 1e6;
    await file.utimes(seconds, seconds);
    await file.sync();
  }

  /** For file systems without hard links. */
  #createLocked(temporary: string, path: string, signal: AbortSignal): Promise<"created" | "exists"> {
    return withFileLock(this.#root, signal, async (assertHeld) => {
      const there = await stat(path).then(
        () => true,
        () => false,
      );
      if (there) return "exists";
      assertHeld();
      await rename(temporary, path);
      return "created";
    });
  }

  async #existing(key: string, path: string): Promise<"exists"> {
    const found = await stat(path).catch(() => null); // deleted since: it did exist
    if (found?.isDirectory() === true)
      throw new StoreError("refused", `"${key}" in ${this.name} is a folder`);
    return "exists";
  }

  async #prune(folder: string): Promise<void> {
    for (let at = folder; at !== this.#root && at.startsWith(this.#root); at = dirname(at)) {
      try {
        await rmdir(at);
      } catch {
        await syncFolder(at).catch(() => undefined); // not empty, or gone: somebody else's
        return;
      }
    }
    await syncFolder(this.#root).catch(() => undefined);
  }

  async *#read(info: ObjectInfo, part: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      await using file = await open(this.#path(info.key), "r");
      if (infoOf(info.key, await file.stat({ bigint: true })).etag !== info.etag) {
        throw new StoreError("unknown", `"${info.key}" in ${this.name} was replaced while it was opened`);
      }
      yield* filePieces(file, this.#what(info.key), part, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      throw folderError(error, "read", this.name, info.key);
    }
  }

  /** Null, after making sure that the folder itself is still there. */
  async #absent(): Promise<null> {
    try {
      await stat(this.#root);
      return null;
    } catch (error) {
      throw rootError(error, this.#root);
    }
  }

  #what(key: string): string {
    return `"${key}" in ${this.name}`;
  }

  #path(key: string): string {
    assertKey(key, this.name);
    if (isTemporaryName(key)) {
      throw new StoreError("refused", `"${key}" cannot be a key in ${this.name}`, {
        hint: "use names that do not end like a temporary file",
      });
    }
    return join(this.#root, key);
  }
}

function infoOf(key: string, found: BigIntStats): ObjectInfo {
  return {
    key,
    bytes: Number(found.size),
    modifiedMs: Number(found.mtimeMs),
    modifiedNs: found.mtimeNs,
    etag: `${found.ino}-${found.size}-${found.mtimeNs}`,
  };
}

function rootError(error: unknown, root: string): unknown {
  if (error instanceof StoreError) return error;
  return new StoreError("refused", `the folder "${root}" cannot be used as a store`, {
    hint: "check that it exists, is mounted and may be read and written",
    cause: error,
  });
}
