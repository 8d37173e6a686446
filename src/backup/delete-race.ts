// A deletion and a delta of what it deletes may run at the same time. The push looks for its base after it has written its
// sentinel; the deletion looks for such deltas after it has removed sentinels. So at least one of them sees the other.

import { AppError } from "../base/errors.ts";
import { type ObjectStore, readWhole } from "../storage/object-store.ts";
import { BACKUP_FOLDER, SENTINEL_SUFFIX, sentinelKey, walPartOf } from "./backup-name.ts";
import { listBackups, readSentinel } from "./catalog.ts";
import { BackupMissingError } from "./format-error.ts";
import { parseSentinel } from "./sentinel.ts";

export type RacingStore = Pick<ObjectStore, "name" | "get" | "list" | "put" | "delete">;

/** Removes sentinels, and keeps their texts until it is sure that no delta was taken from them meanwhile. */
export class RemovedSentinels {
  readonly #store: RacingStore;
  readonly #signal: AbortSignal;
  /** Name to bytes; null when it was too large to keep. */
  readonly #removed = new Map<string, Uint8Array | null>();

  constructor(store: RacingStore, signal: AbortSignal) {
    this.#store = store;
    this.#signal = signal;
  }

  async remove(key: string): Promise<void> {
    const name = nameOf(key);
    if (name !== null) {
      const range = { start: 0, end: KEPT_BYTES_MOST + 1 };
      const object = await this.#store.get(key, this.#signal, range);
      const bytes = object === null ? null : await readWhole(object);
      this.#removed.set(name, bytes === null || bytes.byteLength > KEPT_BYTES_MOST ? null : bytes);
    }
    await this.#store.delete([key], this.#signal);
  }

  /**
   * Throws AppError when a delta of a removed backup has appeared, after its bases' sentinels were put back. To be called
   * while nothing else of the removed backups is gone yet.
   */
  async check(): Promise<void> {
    const places = new Set([...this.#removed.keys()].map((name) => walPartOf(name)));
    if (places.size === 0) return;
    for (const { name } of await listBackups(this.#store, this.#signal)) {
      const place = /_D_([0-9A-F]{24})$/.exec(name)?.[1];
      if (place === undefined || !places.has(place)) continue;
      const base = await this.#baseOf(name);
      if (base === null || !this.#removed.has(base)) continue;
      const isWhole = await this.#putBack(base);
      throw new AppError(`backup "${name}" was taken as a delta of "${base}" while that was being deleted`, {
        code: "DELETE_RACE",
        hint: isWhole
          ? `"${base}" was put back and nothing more was removed; delete again`
          : `take a full backup now: "${name}" cannot be restored`,
      });
    }
  }

  /** null when the backup is gone again. */
  async #baseOf(name: string): Promise<string | null> {
    try {
      return (await readSentinel(this.#store, name, this.#signal)).delta?.from ?? null;
    } catch (error) {
      if (error instanceof BackupMissingError) return null;
      throw error;
    }
  }

  /** Bases first, so that no sentinel ever stands without its own. */
  async #putBack(name: string): Promise<boolean> {
    const bytes = this.#removed.get(name);
    if (bytes === undefined) return true; // it was not removed
    if (bytes === null) return false;
    this.#removed.delete(name);
    const base = parseSentinel(Buffer.from(bytes).toString("utf8"), name).delta?.from ?? null;
    if (base !== null && !(await this.#putBack(base))) return false;
    await this.#store.put(sentinelKey(name), bytes, this.#signal);
    return true;
  }
}

/** null for what is no sentinel of an ordinary backup. */
function nameOf(key: string): string | null {
  const name = key.slice(BACKUP_FOLDER.length + 1, -SENTINEL_SUFFIX.length);
  const isOne = key.startsWith(`${BACKUP_FOLDER}/`) && key.endsWith(SENTINEL_SUFFIX) && !name.includes("/");
  return isOne ? name : null;
}

/** Only version 1 sentinels, which nobody writes any more, may be larger. */
const KEPT_BYTES_MOST = 1 << 20;
