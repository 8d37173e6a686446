// Parts of a backup out of a stream of members: one is filled, those before it may still be on their way to the store.

import { asError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Compression, extensionOf } from "../codec/compression.ts";
import type { CipherKey } from "../codec/encryption.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { partsPrefix } from "./backup-name.ts";
import type { ManifestPart } from "./manifest.ts";
import type { PackResult } from "./pack-blocks.ts";
import type { PackedMember } from "./pack-part.ts";
import { partName } from "./part-plan.ts";
import { type PushedPart, withExtension } from "./push-parts.ts";
import type { StreamJob } from "./stream-worker.ts";
import { type TarMember, encodeTarHeader, paddingOf, tarTrailer } from "./tar-header.ts";
import type { ThreadChannel } from "./thread-channel.ts";
import { ThreadPool } from "./thread-pool.ts";

export interface RemotePartsTools {
  readonly store: Pick<ObjectStore, "put">;
  readonly compression: Compression;
  /** Holds the key: never log it. */
  readonly cipherKey: CipherKey;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface RemotePartsLimits {
  /** A part is closed before a member that would make it larger. */
  readonly partBytes: number;
  /** WALG_UPLOAD_QUEUE: closed parts that may still be uploading. */
  readonly uploadQueue: number;
}

/** Takes members one after another: `begin`, their data by `write`, at last `finish`. Dispose of it whatever happens. */
export class RemoteParts implements AsyncDisposable {
  readonly #backup: string;
  readonly #limits: RemotePartsLimits;
  readonly #tools: RemotePartsTools;
  readonly #onPushed: (pushed: PushedPart) => void;
  readonly #pool: ThreadPool<StreamJob>;
  readonly #failed = new AbortController();
  readonly #givenUp = new AbortController();
  readonly #uploading = new Set<Promise<void>>();
  #open: OpenPart | null = null;
  #count = 0;
  #padding = 0;

  constructor(
    backup: string,
    limits: RemotePartsLimits,
    tools: RemotePartsTools,
    onPushed: (pushed: PushedPart) => void,
  ) {
    this.#backup = backup;
    this.#limits = limits;
    this.#tools = tools;
    this.#onPushed = onPushed;
    this.#pool = new ThreadPool(new URL("./stream-worker.ts", import.meta.url), limits.uploadQueue + 1);
  }

  /** Aborted when an upload failed; its reason is the error. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** The next member; `member.bytes` of data must follow. Waits while too many parts are uploading. */
  async begin(member: TarMember): Promise<void> {
    await this.#pad();
    if (this.#open?.isFull(member.bytes, this.#limits.partBytes) === true) await this.#close();
    this.#open ??= await this.#start();
    this.#padding = paddingOf(member.bytes);
    await this.#open.add(member);
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#open?.write(bytes);
  }

  /** Resolves once every part is stored. */
  async finish(): Promise<void> {
    await this.#pad();
    await this.#close();
    await Promise.all(this.#uploading);
    this.failed.throwIfAborted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#givenUp.abort(new Error("the parts were given up"));
    await Promise.all(this.#uploading);
    await this.#pool[Symbol.asyncDispose]();
  }

  async #start(): Promise<OpenPart> {
    while (this.#uploading.size > this.#limits.uploadQueue) await Promise.race(this.#uploading);
    this.failed.throwIfAborted();
    this.#count += 1;
    const { compression, signal } = this.#tools;
    const name = withExtension(partName(this.#count), extensionOf(compression.method));
    const part = new OpenPart(name, `${partsPrefix(this.#backup)}${name}`, this.#pool, {
      ...this.#tools,
      signal: AbortSignal.any([signal, this.failed, this.#givenUp.signal]),
    });
    const uploading = part.stored
      .then(
        (stored) => this.#onPushed({ part: stored, members: part.members }),
        (error: unknown) => {
          if (!this.#givenUp.signal.aborted) this.#failed.abort(error);
        },
      )
      .finally(() => this.#uploading.delete(uploading));
    this.#uploading.add(uploading);
    return part;
  }

  async #close(): Promise<void> {
    const part = this.#open;
    this.#open = null;
    await part?.end();
  }

  async #pad(): Promise<void> {
    if (this.#padding > 0) await this.write(new Uint8Array(this.#padding));
    this.#padding = 0;
  }
}

/** The part that is being filled. */
class OpenPart {
  readonly members: PackedMember[] = [];
  /** Resolves once the store has it; throws what the store or the worker threw. */
  readonly stored: Promise<ManifestPart>;
  readonly #channel = Promise.withResolvers<ThreadChannel>();
  #bytes = 0;

  constructor(name: string, key: string, pool: ThreadPool<StreamJob>, tools: RemotePartsTools) {
    this.#channel.promise.catch(() => undefined); // told by `stored`
    this.stored = this.#store(name, key, pool, tools);
    this.stored.catch((error: unknown) => this.#channel.reject(error));
  }

  isFull(moreBytes: number, mostBytes: number): boolean {
    return (this.#bytes > 0 && this.#bytes + moreBytes > mostBytes) || this.members.length >= MOST_MEMBERS;
  }

  async add(member: TarMember): Promise<void> {
    this.#bytes += member.bytes;
    this.members.push({
      name: member.name,
      mtime: BigInt(member.mtimeSeconds) * 1_000_000_000n,
      isIncremented: false,
      bytes: member.bytes,
      corrupt: null,
      tornLsn: null,
    });
    await this.write(encodeTarHeader(member));
  }

  async write(bytes: Uint8Array): Promise<void> {
    const channel = await this.#channel.promise;
    await channel.write(bytes);
  }

  async end(): Promise<void> {
    const channel = await this.#channel.promise;
    await channel.write(tarTrailer());
    channel.finish();
  }

  async #store(
    name: string,
    key: string,
    pool: ThreadPool<StreamJob>,
    { store, compression, cipherKey, log, signal }: RemotePartsTools,
  ): Promise<ManifestPart> {
    return pool.run({ compression, cipherKey }, async (channel) => {
      const onAbort = (): void => channel.abort(asError(signal.reason));
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) onAbort();
      this.#channel.resolve(channel);
      try {
        await store.put(key, channel.receive({ givesBack: true }), signal);
        const { storedBytes, sha256 } = (await channel.result()) as PackResult;
        log.debug("stored a part", { name, bytes: storedBytes });
        return { name, bytes: storedBytes, sha256 };
      } catch (error) {
        channel.abort(asError(error)); // whoever fills the part must not wait for room
        throw error;
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
    });
  }
}

/** Bounds the message that describes a part. */
const MOST_MEMBERS = 20_000;
