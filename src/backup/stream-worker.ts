// The worker thread of a remote push: one part out of the tar that it is sent.

import { setImmediate as nextTurn } from "node:timers/promises";
import type { Compression } from "../codec/compression.ts";
import { type CipherKey, cipherOf } from "../codec/encryption.ts";
import { packBlocks } from "./pack-blocks.ts";
import { serveJobs } from "./thread-pool.ts";

/** Crosses threads, so plain data only. Holds the key: never log it. */
export interface StreamJob {
  readonly compression: Compression;
  readonly cipherKey: CipherKey;
}

serveJobs(async (message, channel) => {
  const { compression, cipherKey } = message as StreamJob;
  async function* blocks(memory: Uint8Array): AsyncGenerator<Uint8Array> {
    let used = 0;
    for await (const piece of channel.receive({ givesBack: true })) {
      for (let at = 0; at < piece.byteLength;) {
        const part = piece.subarray(at, at + memory.byteLength - used);
        memory.set(part, used);
        used += part.byteLength;
        at += part.byteLength;
        if (used < memory.byteLength) continue;
        yield memory;
        await nextTurn(); // lz4-napi's memory is freed between two turns of the event loop
        used = 0;
      }
    }
    if (used > 0) yield memory.subarray(0, used);
  }
  return packBlocks(compression, await cipherOf(cipherKey), blocks, (bytes) => channel.write(bytes));
});
