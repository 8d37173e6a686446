// SHA-256 of WAL files, remembered for as long as the file is the same: archive_command is answered in a millisecond when it was hashed before.

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";

export interface HashedFile {
  readonly sha256: string;
  readonly bytes: number;
}

/** Hashes files and keeps the results of the last few, each under what stat says of the file. */
export class FileHashes {
  readonly #known = new Map<string, { readonly identity: string; readonly hashed: Promise<HashedFile> }>();

  /** Throws what opening or reading the file throws. */
  async of(path: string): Promise<HashedFile> {
    await using file = await open(path, "r");
    const { dev, ino, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
    const identity = `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
    const known = this.#known.get(path);
    if (known?.identity === identity) return await known.hashed;
    const hashed = hashAll(file);
    this.#known.set(path, { identity, hashed });
    if (this.#known.size > FILES_MOST) this.#known.delete(this.#known.keys().next().value!);
    hashed.catch(() => this.#known.delete(path));
    return await hashed;
  }
}

async function hashAll(file: Awaited<ReturnType<typeof open>>): Promise<HashedFile> {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(PIECE_BYTES);
  let bytes = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, bytes);
    if (bytesRead === 0) return { sha256: hash.digest("hex"), bytes };
    hash.update(buffer.subarray(0, bytesRead));
    bytes += bytesRead;
  }
}

const FILES_MOST = 64;
/** Small enough that the event loop is held for less than a millisecond at a time. */
const PIECE_BYTES = 1 << 20;
