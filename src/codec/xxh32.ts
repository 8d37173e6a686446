// XXH32 with seed 0, in one go or as a stream. https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, "XXH32 algorithm".

const P1 = 0x9e3779b1 | 0;
const P2 = 0x85ebca77 | 0;
const P3 = 0xc2b2ae3d | 0;
const P4 = 0x27d4eb2f | 0;
const P5 = 0x165667b1 | 0;
const STRIPE = 16;

/** The four sums before the first stripe. */
export const XXH32_START: readonly number[] = [(P1 + P2) | 0, P2, 0, -P1 | 0];

/** The hash of `total` bytes: the sums over their whole stripes, and what is left behind the last one. */
export function xxh32Digest(
  sums: readonly [number, number, number, number],
  total: number,
  tail: Uint8Array,
): number {
  const [a, b, c, d] = sums;
  let hash = total >= STRIPE ? (rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)) | 0 : P5;
  hash = (hash + total) | 0;
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  let at = 0;
  for (; at + 4 <= tail.byteLength; at += 4) {
    hash = Math.imul(rotate(hash + Math.imul(view.getInt32(at, true), P3), 17), P4);
  }
  for (; at < tail.byteLength; at += 1) {
    hash = Math.imul(rotate(hash + Math.imul(tail[at]!, P5), 11), P1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), P2);
  hash = Math.imul(hash ^ (hash >>> 13), P3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

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
    const sums = [this.#a, this.#b, this.#c, this.#d] as const;
    return xxh32Digest(sums, this.#total, this.#held.subarray(0, this.#heldBytes));
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
