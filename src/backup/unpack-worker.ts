// The worker thread of a fetch.

import { cipherOf } from "../codec/encryption.ts";
import { serveJobs } from "./thread-pool.ts";
import { type UnpackJob, unpackPart } from "./unpack-part.ts";

serveJobs(async (message, channel) => {
  const job = message as UnpackJob;
  return unpackPart(job, channel.receive(), await cipherOf(job.cipherKey), (note) => channel.note(note));
});
