// Reads a part of an open file, and notices when it ends early.

import type { FileHandle } from "node:fs/promises";
import { StoreError } from "./object-store.ts";

export const READ_BYTES = 1 << 20;

/** Bytes from `start` up to `end`, not included. */
export interface Part {
  readonly start: number;
  readonly end: number;
}

/** Exactly the part's bytes in pieces of at most READ_BYTES, each in a buffer of its own. Throws StoreError `damaged` when the file ends early. */
export async function* filePieces(
  file: FileHandle,
  what: string,
  { start, end }: Part,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end;) {
    signal.throwIfAborted();
    const wanted = Math.min(READ_BYTES, end - at);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(wanted), 0, wanted, at);
    if (bytesRead === 0) throw new StoreError("damaged", `${what} ends at ${at}, not at ${end}`);
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
