// Where members' data goes: a new file, or pages of one that is there. Nothing is kept of what was written.

import { closeSync, constants, fchmodSync, fchownSync, ftruncateSync, openSync, writeSync } from "node:fs";
import {
  INCREMENT_HEADER_BYTES,
  IncrementError,
  type IncrementHeader,
  PAGE_BYTES,
  parseIncrementBlocks,
  parseIncrementHeader,
} from "./increment.ts";
import type { MemberSink } from "./tar-sink.ts";

export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/** Creates or replaces a file. A link in its place is an error: nothing is written through it. */
export class FileSink implements MemberSink {
  readonly #fd: number;
  #at = 0;

  constructor(path: string, mode: number, owner: FileOwner | null) {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    this.#fd = openSync(path, flags, 0o600);
    try {
      fchmodSync(this.#fd, (mode & 0o777) | 0o600);
      if (owner !== null) fchownSync(this.#fd, owner.uid, owner.gid);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  write(piece: Uint8Array): void {
    writeFully(this.#fd, piece, this.#at);
    this.#at += piece.byteLength;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Writes the pages of an increment into the file that the base restored. Throws IncrementError, and ENOENT when there is no file. */
export class IncrementSink implements MemberSink {
  readonly #fd: number;
  readonly #memberBytes: number;
  readonly #held = new Uint8Array(PAGE_BYTES);
  #heldBytes = 0;
  #header: IncrementHeader | null = null;
  #blockBytes: Uint8Array[] = [];
  #missingBlockBytes = 0;
  #blocks: Uint32Array | null = null;
  #next = 0;

  constructor(path: string, memberBytes: number) {
    this.#memberBytes = memberBytes;
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
  }

  write(piece: Uint8Array): void {
    let rest = piece;
    if (this.#header === null) rest = this.#takeHeader(rest);
    if (this.#header !== null && this.#blocks === null) rest = this.#takeBlocks(rest);
    while (rest.byteLength > 0 && this.#blocks !== null) rest = this.#takePages(rest, this.#blocks);
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Throws IncrementError unless every page came: the member was shorter than its header says. */
  finish(): void {
    if (this.#blocks === null || this.#next < this.#blocks.length)
      throw new IncrementError("ends before its last page");
  }

  #takeHeader(piece: Uint8Array): Uint8Array {
    const taken = piece.subarray(0, INCREMENT_HEADER_BYTES - this.#heldBytes);
    this.#held.set(taken, this.#heldBytes);
    this.#heldBytes += taken.byteLength;
    if (this.#heldBytes === INCREMENT_HEADER_BYTES) {
      this.#header = parseIncrementHeader(this.#held.subarray(0, INCREMENT_HEADER_BYTES), this.#memberBytes);
      this.#missingBlockBytes = this.#header.blockCount * 4;
      this.#heldBytes = 0;
      ftruncateSync(this.#fd, this.#header.fileBytes);
      if (this.#missingBlockBytes === 0) this.#blocks = new Uint32Array(0);
    }
    return piece.subarray(taken.byteLength);
  }

  #takeBlocks(piece: Uint8Array): Uint8Array {
    const taken = piece.subarray(0, this.#missingBlockBytes);
    this.#blockBytes.push(Uint8Array.from(taken));
    this.#missingBlockBytes -= taken.byteLength;
    if (this.#missingBlockBytes === 0 && this.#header !== null) {
      this.#blocks = parseIncrementBlocks(Buffer.concat(this.#blockBytes), this.#header);
      this.#blockBytes = [];
    }
    return piece.subarray(taken.byteLength);
  }

  /** Whole pages go from the piece to the file, neighbours in one write; a page that spans pieces is put together first. */
  #takePages(piece: Uint8Array, blocks: Uint32Array): Uint8Array {
    if (this.#next >= blocks.length) throw new IncrementError("goes on behind its last page");
    const block = blocks[this.#next]!;
    if (this.#heldBytes > 0 || piece.byteLength < PAGE_BYTES) {
      const taken = piece.subarray(0, PAGE_BYTES - this.#heldBytes);
      this.#held.set(taken, this.#heldBytes);
      this.#heldBytes += taken.byteLength;
      if (this.#heldBytes === PAGE_BYTES) {
        writeFully(this.#fd, this.#held, block * PAGE_BYTES);
        this.#heldBytes = 0;
        this.#next += 1;
      }
      return piece.subarray(taken.byteLength);
    }
    const most = Math.min(Math.floor(piece.byteLength / PAGE_BYTES), blocks.length - this.#next);
    let count = 1;
    while (count < most && blocks[this.#next + count] === block + count) count += 1;
    writeFully(this.#fd, piece.subarray(0, count * PAGE_BYTES), block * PAGE_BYTES);
    this.#next += count;
    return piece.subarray(count * PAGE_BYTES);
  }
}

function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.byteLength;)
    done += writeSync(fd, bytes, done, bytes.byteLength - done, position + done);
}
