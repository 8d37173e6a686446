// The steps of writing a file into a folder store.

import { type FileHandle, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { syncFolder } from "../base/durable-file.ts";

/** Tells whether the caller's own stream failed, and whether it was begun (then it cannot be written a second time). */
export class BodyToWrite {
  untouched = true;
  failed = false;
  readonly #body: Uint8Array | AsyncIterable<Uint8Array>;

  constructor(body: Uint8Array | AsyncIterable<Uint8Array>) {
    this.#body = body;
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    if (this.#body instanceof Uint8Array) {
      yield this.#body;
      return;
    }
    this.untouched = false;
    try {
      yield* this.#body;
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }
}

/** Makes a folder and its missing parents so that they survive a crash. */
export async function mkdirDurably(path: string, mode: number): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode });
  if (first === undefined) return;
  for (let at = path; at.length >= first.length; at = dirname(at)) await syncFolder(dirname(at));
}

export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.byteLength - at);
    at += bytesWritten;
  }
}
