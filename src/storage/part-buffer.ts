// Buffers for the parts of an upload. They are used again: garbage collection is too slow for gigabytes of them.

const FIRST_BYTES = 64 << 10;

/** Buffers whose part was sent. */
export class SpareBuffers {
  readonly #buffers: ArrayBufferLike[] = [];

  /** Only for a buffer that nobody reads any more. */
  keep(part: Uint8Array): void {
    this.#buffers.push(part.buffer);
  }

  /** A buffer of exactly `bytes`; others are let go, for sizes only grow. */
  take(bytes: number): Uint8Array | null {
    for (let buffer = this.#buffers.pop(); buffer !== undefined; buffer = this.#buffers.pop()) {
      if (buffer.byteLength === bytes) return new Uint8Array(buffer);
    }
    return null;
  }
}

/** Collects one part. Starts small and grows with its content, so that a small object costs little. */
export class PartBuffer {
  size = 0;
  readonly #limit: number;
  readonly #spare: SpareBuffers;
  #buffer: Uint8Array;

  constructor(limit: number, spare: SpareBuffers) {
    this.#limit = limit;
    this.#spare = spare;
    this.#buffer = spare.take(limit) ?? new Uint8Array(0);
  }

  get room(): number {
    return this.#limit - this.size;
  }

  /** Takes what fits; returns the rest. */
  fill(piece: Uint8Array): Uint8Array {
    const taken = piece.subarray(0, this.room);
    this.#grow(this.size + taken.byteLength);
    this.#buffer.set(taken, this.size);
    this.size += taken.byteLength;
    return piece.subarray(taken.byteLength);
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.size);
  }

  #grow(wanted: number): void {
    if (wanted <= this.#buffer.byteLength) return;
    const full = wanted > this.#limit / 8 ? this.#spare.take(this.#limit) : null;
    const bytes =
      wanted > this.#limit / 8 ? this.#limit : Math.max(wanted, 2 * this.#buffer.byteLength, FIRST_BYTES);
    const grown = full ?? Buffer.allocUnsafeSlow(Math.min(bytes, this.#limit));
    grown.set(this.#buffer.subarray(0, this.size));
    this.#buffer = grown;
  }
}
