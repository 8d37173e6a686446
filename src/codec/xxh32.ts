// XXH32 with seed 0, in one go or as a stream. https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, "XXH32 algorithm".

const P1 = 0x9e3779b1 | 0;
const P2 = 0x85ebca77 | 0;
const P3 = 0xc2b2ae3d | 0;
const P4 = 0x27d4eb2f | 0;
const P5 = 0x165667b1 | 0;
const STRIPE = 16;

/** A running XXH32; lz4's content checksum. */
export class Xxh32 {
  #a = (P1 + P2) | 0;
  #b = P2;
  #c = 0;
  #d = -P1 | 0;
  #total = 0;
  readonly #held = new Uint8Array(STRIPE);
  #heldBytes = 0;

  update(bytes: Uint8Array): void {
    this.#total += bytes.byteLength;
    let at = 0;
    if (this.#heldBytes > 0) {
      at = Math.min(STRIPE - this.#heldBytes, bytes.byteLength);
      this.#held.set(bytes.subarray(0, at), this.#heldBytes);
      this.#heldBytes += at;
      if (this.#heldBytes < STRIPE) return;
      this.#stripes(this.#held, 0, STRIPE);
      this.#heldBytes = 0;
    }
    const end = at + (bytes.byteLength - at - ((bytes.byteLength - at) % STRIPE));
    this.#stripes(bytes, at, end);
    this.#held.set(bytes.subarray(end));
    this.#heldBytes = bytes.byteLength - end;
  }

  /** 0 … 2^32 - 1; the state is not changed. */
  digest(): number {
    let hash = this.#total >= STRIPE ? this.#merged() : P5;
    hash = (hash + this.#total) | 0;
    const view = new DataView(this.#held.buffer);
    let at = 0;
    for (; at + 4 <= this.#heldBytes; at += 4) {
      hash = Math.imul(rotate(hash + Math.imul(view.getInt32(at, true), P3), 17), P4);
    }
    for (; at < this.#heldBytes; at += 1) {
      hash = Math.imul(rotate(hash + Math.imul(this.#held[at]!, P5), 11), P1);
    }
    hash = Math.imul(hash ^ (hash >>> 15), P2);
    hash = Math.imul(hash ^ (hash >>> 13), P3);
    return (hash ^ (hash >>> 16)) >>> 0;
  }

  #merged(): number {
    return (rotate(this.#a, 1) + rotate(this.#b, 7) + rotate(this.#c, 12) + rotate(this.#d, 18)) | 0;
  }

  #stripes(bytes: Uint8Array, start: number, end: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let [a, b, c, d] = [this.#a, this.#b, this.#c, this.#d];
    for (let at = start; at < end; at += STRIPE) {
      a = Math.imul(rotate(a + Math.imul(view.getInt32(at, true), P2), 13), P1);
      b = Math.imul(rotate(b + Math.imul(view.getInt32(at + 4, true), P2), 13), P1);
      c = Math.imul(rotate(c + Math.imul(view.getInt32(at + 8, true), P2), 13), P1);
      d = Math.imul(rotate(d + Math.imul(view.getInt32(at + 12, true), P2), 13), P1);
    }
    [this.#a, this.#b, this.#c, this.#d] = [a, b, c, d];
  }
}

/** XXH32 of `bytes`, seed 0. */
export function xxh32(bytes: Uint8Array): number {
  const hash = new Xxh32();
  hash.update(bytes);
  return hash.digest();
}

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));
