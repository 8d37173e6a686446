// The input of a decoder that is not ours: remembers the input's own error, which must pass unchanged, and counts what was fed.

/** Feed `pieces()` to the decoder; when that fails, `rethrow` first. */
export class GuardedInput {
  readonly #input: AsyncIterable<Uint8Array>;
  #failed: { readonly error: unknown } | null = null;
  #fedBytes = 0;
  #isAsked = false;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#input = input;
  }

  /** Bytes that the decoder was given. */
  get fedBytes(): number {
    return this.#fedBytes;
  }

  /** The decoder waits for a piece: what it does not do then is not its fault. */
  get isAsked(): boolean {
    return this.#isAsked;
  }

  /** The input's pieces, empty ones left out. */
  async *pieces(): AsyncGenerator<Uint8Array> {
    try {
      this.#isAsked = true;
      for await (const piece of this.#input) {
        this.#fedBytes += piece.byteLength;
        this.#isAsked = false;
        if (piece.byteLength > 0) yield piece;
        this.#isAsked = true;
      }
    } catch (error) {
      this.#failed = { error };
      throw error;
    } finally {
      this.#isAsked = false;
    }
  }

  /** Throws the input's own error, if it was that which ended the decoder. */
  rethrow(): void {
    if (this.#failed !== null) throw this.#failed.error;
  }
}
