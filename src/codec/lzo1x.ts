// LZO1X blocks. https://www.kernel.org/doc/html/latest/staging/lzo.html, "Byte sequences".

import { CodecError } from "./codec-error.ts";

/** Decodes one block into exactly `outputBytes` bytes. Throws CodecError. */
export function decodeLzo1x(input: Uint8Array, outputBytes: number): Uint8Array {
  return new Lzo1xDecoder(input, outputBytes).run();
}

/** What the last instruction copied: 0 … 3 literals, or 4 for a longer run. It gives the short instructions their meaning. */
type State = number;
const LONG_RUN: State = 4;

class Lzo1xDecoder {
  readonly #input: Uint8Array;
  readonly #output: Uint8Array;
  #in = 0;
  #out = 0;

  constructor(input: Uint8Array, outputBytes: number) {
    this.#input = input;
    this.#output = new Uint8Array(outputBytes);
  }

  run(): Uint8Array {
    let state: State | null = this.#first();
    while (state !== null) state = this.#instruction(state);
    if (this.#in !== this.#input.length) throw damaged("bytes follow the end of a block");
    if (this.#out !== this.#output.length) throw damaged("a block is shorter than it says");
    return this.#output;
  }

  #first(): State {
    const byte = this.#input[0] ?? 0;
    if (byte <= 17) return 0;
    this.#in = 1;
    this.#literals(byte - 17);
    return byte >= 21 ? LONG_RUN : byte - 17;
  }

  /** Runs one instruction; the next state, or null at the end mark. */
  #instruction(state: State): State | null {
    const byte = this.#byte();
    if (byte >= 128)
      return this.#match(5 + ((byte >> 5) & 3), (this.#byte() << 3) + ((byte >> 2) & 7) + 1, byte);
    if (byte >= 64)
      return this.#match(3 + ((byte >> 5) & 1), (this.#byte() << 3) + ((byte >> 2) & 7) + 1, byte);
    if (byte >= 32) {
      const length = 2 + this.#length(byte & 31, 31);
      const word = this.#byte() | (this.#byte() << 8);
      return this.#match(length, (word >> 2) + 1, word);
    }
    if (byte >= 16) {
      const length = 2 + this.#length(byte & 7, 7);
      const word = this.#byte() | (this.#byte() << 8);
      const distance = 16_384 + ((byte & 8) << 11) + (word >> 2);
      return distance === 16_384 ? null : this.#match(length, distance, word);
    }
    if (state === 0) {
      this.#literals(3 + this.#length(byte, 15));
      return LONG_RUN;
    }
    const near = (this.#byte() << 2) + (byte >> 2) + 1;
    return state === LONG_RUN ? this.#match(3, near + 2048, byte) : this.#match(2, near, byte);
  }

  #match(length: number, distance: number, tail: number): State {
    const from = this.#out - distance;
    if (from < 0 || this.#out + length > this.#output.length) throw damaged("a match leaves the block");
    for (let at = 0; at < length; at += 1) this.#output[this.#out + at] = this.#output[from + at]!;
    this.#out += length;
    this.#literals(tail & 3);
    return tail & 3;
  }

  #literals(count: number): void {
    if (this.#in + count > this.#input.length || this.#out + count > this.#output.length) {
      throw damaged("literals leave the block");
    }
    this.#output.set(this.#input.subarray(this.#in, this.#in + count), this.#out);
    this.#in += count;
    this.#out += count;
  }

  #length(short: number, base: number): number {
    if (short !== 0) return short;
    let length = base;
    for (;;) {
      const byte = this.#byte();
      if (byte !== 0) return length + byte;
      length += 255;
      if (length > this.#output.length) throw damaged("a length leaves the block");
    }
  }

  #byte(): number {
    const byte = this.#input[this.#in];
    if (byte === undefined) throw damaged("a block ends within an instruction");
    this.#in += 1;
    return byte;
  }
}

const damaged = (what: string): CodecError => new CodecError(`lzo: ${what}`);
