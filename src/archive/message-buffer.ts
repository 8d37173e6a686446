// The bytes of one message in one piece, in memory that the next message uses again.

export class MessageBuffer {
  #memory = new Uint8Array(0);

  /** The pieces as one. What it returns holds until the next call: whoever keeps it copies it. */
  whole(pieces: readonly Uint8Array[]): Uint8Array {
    if (pieces.length === 1) return pieces[0]!;
    const total = pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (total > this.#memory.byteLength) this.#memory = new Uint8Array(total * 2);
    let at = 0;
    for (const piece of pieces) {
      this.#memory.set(piece, at);
      at += piece.byteLength;
    }
    return this.#memory.subarray(0, total);
  }
}
