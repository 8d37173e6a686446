// Cuts a stream into pieces of one size.

/** Pieces of exactly `size` bytes, the last one shorter and never empty. A piece may share memory with the input. */
export async function* rechunk(input: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (let piece of input) {
    while (heldBytes + piece.byteLength >= size) {
      const part = piece.subarray(0, size - heldBytes);
      yield held.length === 0 ? part : Buffer.concat([...held, part], size);
      piece = piece.subarray(part.byteLength);
      held = [];
      heldBytes = 0;
    }
    if (piece.byteLength > 0) {
      held.push(piece);
      heldBytes += piece.byteLength;
    }
  }
  if (heldBytes > 0) yield held.length === 1 ? held[0]! : Buffer.concat(held, heldBytes);
}
