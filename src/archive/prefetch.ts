// Fetches the segments that recovery will ask for next, outside pg_wal, checked and synced, so that an answer is a rename.
// How far ahead: it doubles whenever recovery had to wait for a file, up to a limit of bytes on disk.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { removeDurably, writeDurably } from "../base/durable-file.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Segment, segmentName } from "../wal/segment-name.ts";

export interface PrefetchOptions {
  /** A folder of its own, on the file system of the data directory; emptied at the start. */
  readonly spool: string;
  readonly segmentBytes: number;
  /** The checked bytes of a complete segment, or null when there is none. */
  readonly fetch: (segment: Segment, signal: AbortSignal) => Promise<Uint8Array | null>;
  /** What recovery reads after this one; null when the path does not go on. */
  readonly next: (segment: Segment) => Segment | null;
  /** Ends everything that is under way. */
  readonly signal: AbortSignal;
  readonly log: Pick<Log, "debug">;
}

interface Ahead {
  readonly segment: Segment;
  readonly path: string;
  /** True: the file is in the spool. False: it is not there, or could not be fetched. */
  readonly ready: Promise<boolean>;
  done: boolean;
}

/** One recovery's look-ahead. Never decides what is absent: whatever it lacks is asked for in the ordinary way. */
export class Prefetch {
  readonly #options: PrefetchOptions;
  readonly #ahead = new Map<string, Ahead>();
  readonly #depthMost: number;
  readonly #parallel: number;
  #depth = DEPTH_FIRST;
  #emptied: Promise<void> | null = null;
  #generation = 0;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: PrefetchOptions) {
    this.#options = options;
    this.#depthMost = Math.max(1, Math.floor(SPOOL_BYTES_MOST / options.segmentBytes));
    this.#parallel = Math.max(
      1,
      Math.min(PARALLEL_MOST, Math.floor(FLIGHT_BYTES_MOST / options.segmentBytes)),
    );
  }

  /** How many segments it looks ahead at present. */
  get depth(): number {
    return this.#depth;
  }

  /**
   * The spooled file of this segment, waiting while it is under way; null when it was not fetched ahead. The caller renames it
   * away. A wait widens the look-ahead.
   */
  async take(segment: Segment): Promise<string | null> {
    const key = segmentName(segment, this.#options.segmentBytes);
    const entry = this.#ahead.get(key);
    if (entry === undefined) return null;
    if (!entry.done) this.#depth = Math.min(this.#depth * 2, this.#depthMost);
    const ready = await entry.ready;
    return this.#ahead.delete(key) && ready ? entry.path : null;
  }

  /** Recovery was given `segment`: fetch what follows, forget what lies behind. */
  after(segment: Segment): void {
    for (const [key, entry] of this.#ahead) {
      if (entry.segment.number > segment.number) continue;
      this.#ahead.delete(key);
      void this.#discard(entry);
    }
    let at = this.#options.next(segment);
    for (let step = 0; at !== null && step < this.#depth; step += 1) {
      this.#begin(at);
      at = this.#options.next(at);
    }
  }

  /** Forgets everything: the path changed, or recovery is over. */
  async clear(): Promise<void> {
    this.#generation += 1;
    const entries = [...this.#ahead.values()];
    this.#ahead.clear();
    await Promise.all(entries.map((entry) => this.#discard(entry)));
  }

  #begin(segment: Segment): void {
    const name = segmentName(segment, this.#options.segmentBytes);
    if (this.#ahead.has(name)) return;
    const entry: Ahead = {
      segment,
      path: join(this.#options.spool, name),
      ready: this.#fetch(segment, name, this.#generation).finally(() => {
        entry.done = true;
      }),
      done: false,
    };
    this.#ahead.set(name, entry);
    void this.#forgetUnlessReady(name, entry);
  }

  /** What is not there yet may be there when recovery asks: it must not be remembered as missing. */
  async #forgetUnlessReady(name: string, entry: Ahead): Promise<void> {
    if (!(await entry.ready) && this.#ahead.get(name) === entry) this.#ahead.delete(name);
  }

  async #fetch(segment: Segment, name: string, generation: number): Promise<boolean> {
    const { spool, signal, log } = this.#options;
    await this.#turn();
    try {
      if (signal.aborted || generation !== this.#generation) return false;
      this.#emptied ??= emptyFolder(spool);
      await this.#emptied;
      const bytes = await this.#options.fetch(segment, signal);
      if (bytes === null || generation !== this.#generation) return false;
      await writeDurably(join(spool, name), bytes);
      return true;
    } catch (error) {
      log.debug("a segment could not be fetched ahead", { segment: name, because: messageOf(error) });
      return false;
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    while (this.#running >= this.#parallel) {
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    }
    this.#running += 1;
  }

  async #discard(entry: Ahead): Promise<void> {
    if (await entry.ready) await removeDurably(entry.path).catch(() => undefined);
  }
}

async function emptyFolder(path: string): Promise<void> {
  await removeDurably(path).catch(() => undefined);
  await mkdir(path, { recursive: true, mode: 0o700 });
}

const DEPTH_FIRST = 2;
/** On disk, ahead of recovery. */
const SPOOL_BYTES_MOST = 256 * 1024 * 1024;
/** Being fetched at once, plain. */
const FLIGHT_BYTES_MOST = 64 * 1024 * 1024;
const PARALLEL_MOST = 4;
