// Pulls exact numbers of bytes out of a stream of chunks.

/** A cursor over a stream; nothing is copied unless a read spans chunks. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array(0);
  #ended = false;
  #consumed = 0;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** Bytes taken so far. */
  get consumed(): number {
    return this.#consumed;
  }

  /** Exactly `count` bytes, or null when the stream ends before (nothing is lost: `rest` gives what was there). */
  async take(count: number): Promise<Uint8Array | null> {
    const seen = await this.peek(count);
    if (seen.byteLength < count) return null;
    this.#drop(count);
    return seen;
  }

  /** Up to `count` bytes without taking them; fewer only at the end of the stream. */
  async peek(count: number): Promise<Uint8Array> {
    if (this.#held.byteLength < count && !this.#ended) {
      const pieces = [this.#held];
      let total = this.#held.byteLength;
      while (total < count) {
        const next = await this.#chunks.next();
        if (next.done === true) {
          this.#ended = true;
          break;
        }
        pieces.push(next.value);
        total += next.value.byteLength;
      }
      this.#held =
        pieces.length === 2 && pieces[0]!.byteLength === 0 ? pieces[1]! : Buffer.concat(pieces, total);
    }
    return this.#held.subarray(0, count);
  }

  /** The next non-empty piece of at most `most` bytes; null at the end. */
  async some(most: number): Promise<Uint8Array | null> {
    const seen = await this.peek(1);
    if (seen.byteLength === 0) return null;
    const piece = this.#held.subarray(0, most);
    this.#drop(piece.byteLength);
    return piece;
  }

  /** Passes over `count` bytes without holding them; returns how many were missing at the end of the stream. */
  async skip(count: number): Promise<number> {
    let left = count;
    while (left > 0) {
      const piece = await this.some(left);
      if (piece === null) break;
      left -= piece.byteLength;
    }
    return left;
  }

  async atEnd(): Promise<boolean> {
    return (await this.peek(1)).byteLength === 0;
  }

  /** Everything that is left, piece by piece. */
  async *rest(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = await this.some(Number.MAX_SAFE_INTEGER);
      if (piece === null) return;
      yield piece;
    }
  }

  /** Tells the stream that no more is wanted. */
  async close(): Promise<void> {
    this.#ended = true;
    await this.#chunks.return?.();
  }

  #drop(count: number): void {
    this.#held = this.#held.subarray(count);
    this.#consumed += count;
  }
}
