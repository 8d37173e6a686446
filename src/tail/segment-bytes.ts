// The bytes of one segment while it fills, in one buffer. The kernel gives its pages as they are first written, so that an empty
// segment costs nothing, and nothing is copied into larger buffers on the way.

import { freePiece } from "../base/bytes.ts";
import { invariant } from "../base/errors.ts";
import { type Lsn, bytesBetween, lsnOf } from "../wal/lsn.ts";

export class SegmentBytes {
  readonly start: Lsn;
  readonly #segmentBytes: number;
  #buffer: Uint8Array;
  #filled: number;
  #isGone = false;

  /** `filled` are the bytes from `start` (a segment's start) on. */
  constructor(start: Lsn, segmentBytes: number, filled: Uint8Array = new Uint8Array(0)) {
    invariant(start % BigInt(segmentBytes) === 0n, `segment at ${start}`);
    invariant(
      filled.byteLength <= segmentBytes,
      `${filled.byteLength} bytes in a segment of ${segmentBytes}`,
    );
    this.start = start;
    this.#segmentBytes = segmentBytes;
    this.#buffer = filled;
    this.#filled = filled.byteLength;
  }

  /** Position behind the last byte. */
  get end(): Lsn {
    return lsnOf(this.start + BigInt(this.#filled));
  }

  get isFull(): boolean {
    return this.#filled === this.#segmentBytes;
  }

  /** Bytes that still fit. */
  get room(): number {
    return this.#segmentBytes - this.#filled;
  }

  /** Takes the bytes that follow. What `slice` gave before stays as it is. */
  append(bytes: Uint8Array): void {
    invariant(bytes.byteLength <= this.room, `${bytes.byteLength} bytes, room for ${this.room}`);
    const filled = this.#filled + bytes.byteLength;
    if (filled > this.#buffer.byteLength) {
      const buffer = new Uint8Array(this.#segmentBytes);
      buffer.set(this.#buffer.subarray(0, this.#filled));
      this.#buffer = buffer;
    }
    this.#buffer.set(bytes, this.#filled);
    this.#filled = filled;
  }

  /** The bytes `[from, to)`, a view; null when they are not all here. */
  slice(from: Lsn, to: Lsn): Uint8Array | null {
    if (this.#isGone || from < this.start || to > this.end || from > to) return null;
    return this.#buffer.subarray(bytesBetween(this.start, from), bytesBetween(this.start, to));
  }

  /** All that was taken, a view. */
  get all(): Uint8Array {
    return this.#buffer.subarray(0, this.#filled);
  }

  /** No byte of a full segment is here any more, and its memory is free at once, unless it `isLent`. Whoever holds a view finds it empty. */
  letGo(isLent: boolean): void {
    invariant(this.isFull, "a segment that still fills is let go");
    this.#isGone = true;
    if (!isLent) freePiece(this.#buffer);
    this.#buffer = new Uint8Array(0);
  }
}
