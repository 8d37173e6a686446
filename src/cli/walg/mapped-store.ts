// A store in which one folder appears under another name: catchup backups are ordinary ones that lie in `catchup_005`.

import type { ObjectBody, ObjectInfo, ObjectStore } from "../../storage/object-store.ts";

/** Shows the folder `inner` of `store` as `outer` (both with a slash at the end); everything else stays as it is. */
export class MappedStore implements ObjectStore {
  readonly name: string;
  readonly #store: ObjectStore;
  readonly #outer: string;
  readonly #inner: string;

  constructor(store: ObjectStore, outer: string, inner: string) {
    this.name = store.name;
    this.#store = store;
    this.#outer = outer;
    this.#inner = inner;
  }

  async get(
    key: string,
    signal: AbortSignal,
    range?: { readonly start: number; readonly end?: number },
  ): Promise<ObjectBody | null> {
    const found = await this.#store.get(this.#in(key), signal, range);
    return found === null ? null : { ...found, key };
  }

  async head(key: string, signal: AbortSignal): Promise<ObjectInfo | null> {
    const found = await this.#store.head(this.#in(key), signal);
    return found === null ? null : { ...found, key };
  }

  put(
    key: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    options?: { readonly bytes?: number },
  ): Promise<void> {
    return this.#store.put(this.#in(key), body, signal, options);
  }

  create(key: string, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    return this.#store.create(this.#in(key), body, signal);
  }

  replace(key: string, body: Uint8Array, etag: string, signal: AbortSignal): Promise<"replaced" | "changed"> {
    return this.#store.replace(this.#in(key), body, etag, signal);
  }

  async *list(
    prefix: string,
    signal: AbortSignal,
    options: { readonly after?: string } = {},
  ): AsyncGenerator<ObjectInfo> {
    const after = options.after === undefined ? {} : { after: this.#in(options.after) };
    for await (const info of this.#store.list(this.#in(prefix), signal, after)) {
      yield { ...info, key: this.#out(info.key) };
    }
  }

  delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    return this.#store.delete(
      keys.map((key) => this.#in(key)),
      signal,
    );
  }

  copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    return this.#store.copy(this.#in(from), this.#in(to), signal);
  }

  #in(key: string): string {
    return key.startsWith(this.#outer) ? this.#inner + key.slice(this.#outer.length) : key;
  }

  #out(key: string): string {
    return key.startsWith(this.#inner) ? this.#outer + key.slice(this.#inner.length) : key;
  }
}
