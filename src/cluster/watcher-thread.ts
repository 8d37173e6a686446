// The thread of `watcher.ts`: nothing but a look at the clock every few milliseconds.

import { workerData } from "node:worker_threads";
import { freezeServer } from "./freeze.ts";

const { cells: buffer, tickMs } = workerData as { cells: SharedArrayBuffer; tickMs: number };
const cells = new BigInt64Array(buffer);
const pause = new Int32Array(new SharedArrayBuffer(4));

for (;;) {
  Atomics.wait(pause, 0, 0, tickMs);
  const deadline = Atomics.load(cells, 0);
  const postmaster = Atomics.load(cells, 1);
  const isFrozen = Atomics.load(cells, 2) === 1n;
  if (deadline === 0n || postmaster === 0n || isFrozen || process.hrtime.bigint() <= deadline) continue;
  freezeServer(Number(postmaster));
  Atomics.store(cells, 2, 1n);
}
