// Copies out of a stream whose pieces are only good until the next one is asked for: it keeps none of them.

/** Reads forwards into memory that the caller owns. */
export class ByteCursor {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array(0);
  #isOver = false;
  #consumed = 0;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#pieces = stream[Symbol.asyncIterator]();
  }

  /** Bytes taken so far. */
  get consumed(): number {
    return this.#consumed;
  }

  /** Fills `target`; returns how many bytes there were, fewer than it takes only at the end of the stream. */
  async fill(target: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < target.byteLength && (await this.#hasMore())) {
      const taken = this.#take(target.byteLength - filled);
      target.set(taken, filled);
      filled += taken.byteLength;
    }
    return filled;
  }

  /** Passes over up to `bytes`; returns how many there were. */
  async skip(bytes: number): Promise<number> {
    let skipped = 0;
    while (skipped < bytes && (await this.#hasMore())) skipped += this.#take(bytes - skipped).byteLength;
    return skipped;
  }

  /** Tells the stream that no more is wanted. */
  async close(): Promise<void> {
    this.#isOver = true;
    await this.#pieces.return?.();
  }

  #take(most: number): Uint8Array {
    const taken = this.#piece.subarray(0, most);
    this.#piece = this.#piece.subarray(taken.byteLength);
    this.#consumed += taken.byteLength;
    return taken;
  }

  async #hasMore(): Promise<boolean> {
    while (this.#piece.byteLength === 0 && !this.#isOver) {
      const next = await this.#pieces.next();
      if (next.done === true) this.#isOver = true;
      else this.#piece = next.value;
    }
    return this.#piece.byteLength > 0;
  }
}
