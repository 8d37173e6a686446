// First module of a worker thread: `workerData.module` is the one that does the work. Types are stripped and code is compiled once a machine,
// not once a thread.

import { enableCompileCache } from "node:module";
import { workerData } from "node:worker_threads";

enableCompileCache();
await import((workerData as { readonly module: string }).module);
