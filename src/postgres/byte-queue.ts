// A queue between one producer that can be paused and one consumer that waits.

/** Items with a weight in bytes; tells the producer to pause above `highBytes` and to go on below half of it. */
export class ByteQueue<T> {
  readonly #items: { readonly item: T; readonly bytes: number }[] = [];
  readonly #highBytes: number;
  readonly #flow: { pause(): void; resume(): void };
  #head = 0;
  #bytes = 0;
  #paused = false;
  #end: { readonly error: unknown } | null = null;
  #wake: (() => void) | null = null;

  constructor(highBytes: number, flow: { pause(): void; resume(): void }) {
    this.#highBytes = highBytes;
    this.#flow = flow;
  }

  get paused(): boolean {
    return this.#paused;
  }

  put(item: T, bytes: number): void {
    this.#items.push({ item, bytes });
    this.#bytes += bytes;
    if (!this.#paused && this.#bytes >= this.#highBytes) {
      this.#paused = true;
      this.#flow.pause();
    }
    this.#notify();
  }

  /** What is queued can still be taken; after it `take` throws `error`. */
  fail(error: unknown): void {
    this.#end ??= { error };
    this.#notify();
  }

  /** The next item; waits for it. Throws the error of `fail` once nothing is left, or the signal's reason. */
  async take(signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const entry = this.#items[this.#head];
      if (entry !== undefined) return this.#removed(entry);
      if (this.#end !== null) throw this.#end.error;
      await this.#change(signal);
    }
  }

  #removed({ item, bytes }: { readonly item: T; readonly bytes: number }): T {
    this.#head += 1;
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (this.#head === COMPACT_AT) {
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
    this.#bytes -= bytes;
    if (this.#paused && this.#bytes < this.#highBytes / 2) {
      this.#paused = false;
      this.#flow.resume();
    }
    return item;
  }

  async #change(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#wake = wake;
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    signal.removeEventListener("abort", wake);
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = null;
  }
}

const COMPACT_AT = 1024;
