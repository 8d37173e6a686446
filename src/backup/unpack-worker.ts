// The worker thread of a fetch.

import { cipherOf } from "../codec/encryption.ts";
import { serveJobs } from "./thread-pool.ts";
import { type UnpackJob, unpackPart } from "./unpack-part.ts";

serveJobs(async (message, channel) => {
  const job = message as UnpackJob;
  // Decryption and the other methods keep pieces for a while; these take what they need and let go.
  const givesBack = job.cipherKey.kind === "none" && ["lz4", "zstd", "none"].includes(job.method);
  const input = channel.receive({ givesBack });
  return unpackPart(job, input, await cipherOf(job.cipherKey), (note) => channel.note(note));
});
