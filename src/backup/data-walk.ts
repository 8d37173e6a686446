// What a data directory holds that belongs into a backup: names and sizes, before a byte is read. Storage format, section 7.

import type { BigIntStats } from "node:fs";
import { lstat, readdir, readlink, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "../base/errors.ts";
import { CONTROL_FILE, EXCLUDED, baseName, isLeftOut, unloggedRelations } from "./backup-exclusions.ts";
import type { Nanoseconds } from "./go-json.ts";
import type { Tablespace } from "./tablespace-spec.ts";

export interface WalkedFile {
  /** Tar name: relative to the data directory, with a leading slash. Joined to the directory it is a path, through links too. */
  readonly name: string;
  readonly bytes: number;
  readonly mtime: Nanoseconds;
}

/** Files as columns: a cluster may have millions. */
export class FileList {
  readonly #names: string[] = [];
  #bytes = new Float64Array(64);
  #mtimes = new BigInt64Array(64);
  #totalBytes = 0;

  get length(): number {
    return this.#names.length;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  push(name: string, bytes: number, mtime: Nanoseconds): void {
    const row = this.#names.length;
    if (row === this.#bytes.length) {
      const [sizes, times] = [new Float64Array(row * 2), new BigInt64Array(row * 2)];
      sizes.set(this.#bytes);
      times.set(this.#mtimes);
      [this.#bytes, this.#mtimes] = [sizes, times];
    }
    this.#names.push(name);
    this.#bytes[row] = bytes;
    this.#mtimes[row] = mtime;
    this.#totalBytes += bytes;
  }

  at(row: number): WalkedFile {
    return { name: this.#names[row]!, bytes: this.#bytes[row]!, mtime: this.#mtimes[row]! };
  }

  *[Symbol.iterator](): Generator<WalkedFile> {
    for (let row = 0; row < this.length; row += 1) yield this.at(row);
  }
}

export interface DataWalk {
  /** Tar names of directories, `/` first, parents before children. */
  readonly directories: readonly string[];
  /** Regular files, and links to such, whose content goes in. Without pg_control. */
  readonly files: FileList;
  readonly tablespaces: readonly Tablespace[];
  /** Sizes of everything that was looked at, pg_control too. */
  readonly catalogBytes: number;
  /** What was left out though somebody may miss it. */
  readonly warnings: readonly string[];
}

/**
 * Walks `dataDirectory` of a server of version `major`. Files that vanish meanwhile are left out; what cannot be read
 * throws. Tablespaces are entered through their links, other links are followed.
 */
export async function walkDataDirectory(
  dataDirectory: string,
  major: number,
  signal: AbortSignal,
): Promise<DataWalk> {
  const walker = new Walker(dataDirectory, major, signal);
  await walker.enter("/");
  return walker.result;
}

class Walker {
  readonly #root: string;
  readonly #major: number;
  readonly #signal: AbortSignal;
  readonly #directories: string[] = [];
  readonly #files = new FileList();
  readonly #tablespaces: Tablespace[] = [];
  readonly #warnings: string[] = [];
  /** Targets of followed directory links, so that a circle ends. */
  readonly #followed = new Set<string>();
  #catalogBytes = 0;

  constructor(root: string, major: number, signal: AbortSignal) {
    this.#root = root;
    this.#major = major;
    this.#signal = signal;
  }

  get result(): DataWalk {
    return {
      directories: this.#directories,
      files: this.#files,
      tablespaces: this.#tablespaces,
      catalogBytes: this.#catalogBytes,
      warnings: this.#warnings,
    };
  }

  async enter(name: string): Promise<void> {
    this.#signal.throwIfAborted();
    const entries = await goneIsNull(readdir(this.#path(name)));
    if (entries === null) return;
    this.#directories.push(name);
    const unlogged = unloggedRelations(name, entries);
    const kept = entries.filter((entry) => !isLeftOut(entry, name, unlogged)).toSorted(byBytes);
    for (let from = 0; from < kept.length; from += LOOKS_AT_ONCE) {
      const batch = kept.slice(from, from + LOOKS_AT_ONCE).map((entry) => join(name, entry));
      const seen = await Promise.all(batch.map((child) => this.#look(child)));
      for (const [index, child] of batch.entries()) await this.#add(child, seen[index] ?? null);
    }
  }

  #look(name: string): Promise<BigIntStats | null> {
    return goneIsNull(lstat(this.#path(name), { bigint: true }));
  }

  async #add(name: string, seen: BigIntStats | null): Promise<void> {
    if (seen === null) return;
    if (seen.isSymbolicLink()) return this.#addLink(name);
    this.#catalogBytes += Number(seen.size);
    if (seen.isDirectory()) {
      if (EXCLUDED.has(baseName(name))) this.#directories.push(name);
      else await this.enter(name);
      return;
    }
    if (EXCLUDED.has(baseName(name)) || name === CONTROL_FILE) return;
    if (seen.isFile()) this.#files.push(name, Number(seen.size), seen.mtimeNs);
  }

  async #addLink(name: string): Promise<void> {
    const path = this.#path(name);
    if (/^\/pg_tblspc\/\d+$/.test(name)) return this.#addTablespace(name, path);
    const target = await goneIsNull(stat(path, { bigint: true }));
    if (target === null) {
      this.#warnings.push(`"${name}" is a link to nothing and is left out`);
      return;
    }
    if (target.isFile() && !EXCLUDED.has(baseName(name)))
      this.#files.push(name, Number(target.size), target.mtimeNs);
    if (!target.isDirectory()) return;
    // A directory in place of the link, so that a restore has one: WAL-G would lose pg_wal here.
    if (EXCLUDED.has(baseName(name))) return void this.#directories.push(name);
    const real = await realpath(path);
    if (this.#followed.has(real)) throw linkCircle(name, real);
    this.#followed.add(real);
    await this.enter(name);
  }

  /** Only the folder of this server's version: a tablespace may be shared with other versions. */
  async #addTablespace(name: string, path: string): Promise<void> {
    const location = await readlink(path);
    this.#tablespaces.push({ name: baseName(name), location, link: name.slice(1) });
    const folders = (await goneIsNull(readdir(path))) ?? [];
    for (const folder of folders.toSorted(byBytes))
      if (folder.startsWith(`PG_${this.#major}_`)) await this.enter(join(name, folder));
  }

  #path(name: string): string {
    return join(this.#root, name);
  }
}

/** What vanished between two looks is no error. */
async function goneIsNull<T>(looking: Promise<T>): Promise<T | null> {
  try {
    return await looking;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw error;
  }
}

const linkCircle = (name: string, real: string): AppError =>
  new AppError(`"${name}" is a link to "${real}", which was walked already`, {
    code: "BACKUP_LINK_CIRCLE",
    hint: "remove the link from the data directory",
  });

const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** lstat calls under way at once. */
const LOOKS_AT_ONCE = 64;
