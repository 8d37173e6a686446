// Notes on the local disk that a WAL file is stored already, so that Postgres's own call for it needs no request.

import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { writeDurably } from "../../base/durable-file.ts";

/**
 * A mark belongs to one file (full name, inode, size, time of change) and one store: a mark of `X.partial`, of an older file
 * of the same name, or of another bucket says nothing.
 */
export class Markers {
  readonly #folder: string;
  readonly #store: string;

  /** `walFolder`: pg_wal. `store`: the store's name. */
  constructor(walFolder: string, store: string) {
    this.#folder = join(walFolder, "walg_data", "holdfast_archive_status");
    this.#store = store;
  }

  /** Notes that the file at `path` is durable in the store. */
  async put(path: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await writeDurably(this.#pathOf(path), await this.#content(path));
  }

  /** True, and the mark is gone, when the very file at `path` is marked. */
  async take(path: string): Promise<boolean> {
    const marker = this.#pathOf(path);
    const text = await readFile(marker, "utf8").catch(() => null);
    if (text === null) return false;
    const isSame = text === (await this.#content(path).catch(() => null));
    await rm(marker, { force: true });
    return isSame;
  }

  /** True when the file is marked; the mark stays. */
  async has(path: string): Promise<boolean> {
    const text = await readFile(this.#pathOf(path), "utf8").catch(() => null);
    return text !== null && text === (await this.#content(path).catch(() => null));
  }

  #pathOf(path: string): string {
    return join(this.#folder, `${basename(path)}.json`);
  }

  async #content(path: string): Promise<string> {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true });
    return JSON.stringify([this.#store, basename(path), String(ino), String(size), String(mtimeNs)]);
  }
}
