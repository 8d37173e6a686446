// The worker thread of a push.

import { cipherOf } from "../codec/encryption.ts";
import { type PackJob, packPart } from "./pack-part.ts";
import { serveJobs } from "./thread-pool.ts";

serveJobs(async (message, channel) => {
  const job = message as PackJob;
  return packPart(
    job,
    await cipherOf(job.cipherKey),
    (bytes) => channel.write(bytes),
    (note) => channel.note(note),
  );
});
