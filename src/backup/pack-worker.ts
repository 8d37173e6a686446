// The worker thread of a push.

import { noCipher } from "../codec/encryption.ts";
import { type PackJob, packPart } from "./pack-part.ts";
import { serveJobs } from "./thread-pool.ts";

serveJobs((job, channel) =>
  packPart(
    job as PackJob,
    noCipher,
    (bytes) => channel.send(bytes),
    (note) => channel.note(note),
  ),
);
