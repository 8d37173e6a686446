// A bounded reader over Uint8Array, and small helpers for byte streams.

/** Thrown when a reader is asked for bytes behind its end, or a stream is longer than allowed. */
export class BoundsError extends Error {
  override readonly name = "BoundsError";
}

/** Reads fixed-width fields in order and refuses to run past the end. Multi-byte fields name their byte order. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Offset of the next byte to be read. */
  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#bytes.byteLength - this.#at;
  }

  /** The next `count` bytes, as a view that shares memory. Throws BoundsError. */
  bytes(count: number): Uint8Array {
    const start = this.#advance(count);
    return this.#bytes.subarray(start, start + count);
  }

  skip(count: number): void {
    this.#advance(count);
  }

  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  uint16be(): number {
    return this.#view.getUint16(this.#advance(2));
  }

  uint16le(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  uint32be(): number {
    return this.#view.getUint32(this.#advance(4));
  }

  uint32le(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  uint64be(): bigint {
    return this.#view.getBigUint64(this.#advance(8));
  }

  uint64le(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  int64be(): bigint {
    return this.#view.getBigInt64(this.#advance(8));
  }

  /** UTF-8; throws TypeError when the bytes are not. */
  text(count: number): string {
    return STRICT_UTF8.decode(this.bytes(count));
  }

  /** Throws BoundsError unless every byte was read. */
  finish(): void {
    if (this.remaining !== 0) throw new BoundsError(`${this.remaining} bytes are left over`);
  }

  #advance(count: number): number {
    if (!Number.isInteger(count) || count < 0 || count > this.remaining) {
      throw new BoundsError(`wanted ${count} bytes at offset ${this.#at}, ${this.remaining} are left`);
    }
    const start = this.#at;
    this.#at += count;
    return start;
  }
}

/** Compares two keys by their UTF-8 bytes, as stores order them. JavaScript's `<` compares UTF-16 units and differs beyond U+FFFF. */
export function compareKeys(a: string, b: string): number {
  return ASCII.test(a) && ASCII.test(b)
    ? a < b
      ? -1
      : a > b
        ? 1
        : 0
    : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** One chunk as a stream. */
export async function* streamOf(...pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

/** Gathers a stream; throws BoundsError past `limitBytes`. `letGo` gets every piece that was copied, and may free its memory. */
export async function collect(
  stream: AsyncIterable<Uint8Array>,
  limitBytes = Number.MAX_SAFE_INTEGER,
  letGo: (piece: Uint8Array) => void = () => undefined,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let total = 0;
  for await (const piece of stream) {
    total += piece.byteLength;
    if (total > limitBytes) throw new BoundsError(`the stream is longer than ${limitBytes} bytes`);
    pieces.push(piece);
  }
  if (pieces.length === 1) return pieces[0]!;
  const whole = Buffer.concat(pieces, total);
  for (const piece of pieces) letGo(piece);
  return whole;
}

/** The same pieces in memory of their own, for takers that keep what they get while the source uses its memory again. */
export async function* copies(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of stream) yield Uint8Array.from(piece);
}

/**
 * Frees the memory of a piece that nobody will look at again, when the piece is all there is in it; a collection would let some 64 MB gather
 * first. Whoever still holds the piece finds it empty.
 */
export function freePiece(piece: Uint8Array): void {
  const memory = piece.buffer;
  if (piece.byteLength === memory.byteLength && memory instanceof ArrayBuffer) memory.transfer(0);
}

// oxlint-disable-next-line no-control-regex -- the whole ASCII range is meant
const ASCII = /^[\u0000-\u007f]*$/;
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true });
