// The input of a decoder that is not ours: remembers the input's own error, which must pass unchanged, and counts what was fed.

/** Feed `pieces()` to the decoder; when that fails, `rethrow` first. */
export class GuardedInput {
  readonly #input: AsyncIterable<Uint8Array>;
  #failed: { readonly error: unknown } | null = null;
  #fedBytes = 0;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#input = input;
  }

  /** Bytes that the decoder was given. */
  get fedBytes(): number {
    return this.#fedBytes;
  }

  /** The input's pieces, empty ones left out. */
  async *pieces(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of this.#input) {
        this.#fedBytes += piece.byteLength;
        if (piece.byteLength > 0) yield piece;
      }
    } catch (error) {
      this.#failed = { error };
      throw error;
    }
  }

  /** Throws the input's own error, if it was that which ended the decoder. */
  rethrow(): void {
    if (this.#failed !== null) throw this.#failed.error;
  }
}
