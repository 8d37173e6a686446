// A look at a log that takes longer than a look may take succeeds after a while, and is quick from then on.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { LogWatch } from "../../src/supervisor/cluster-store.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { ownedLog } from "../support/log-owner.ts";
import { WalBuilder } from "../support/wal-builder.ts";

/** Each answer takes its time; a request that is given up ends at once. */
class SlowStore extends MemoryStore {
  delayMs = 0;
  gets = 0;

  override async get(...args: Parameters<MemoryStore["get"]>): ReturnType<MemoryStore["get"]> {
    this.gets += 1;
    if (this.delayMs > 0) await sleep(this.delayMs, undefined, { signal: args[1] });
    return await super.get(...args);
  }
}

test("a long log is read once, with more time each try", async (t) => {
  const store = new SlowStore();
  const wal = new WalBuilder();
  while (wal.end < wal.start + 4_000n) wal.record({ bytes: 500 });
  await ownedLog(t, store, wal);
  store.delayMs = 100;
  const source = {
    ...{ store, cipher: noCipher, likely: "lz4" as const, magic: null, systemId: wal.systemId },
    ...{ segmentBytes: wal.segmentBytes, clock: systemClock, log: silentLog },
  };
  const watch = new LogWatch(store, () => source, { firstMs: 5, usualMs: 60_000, mostMs: 60_000 });
  let tries = 0;
  for (let look = null; look === null;) {
    tries += 1;
    look = await watch.look(wal.systemId, 0, t.signal).catch(() => null);
  }
  assert.ok(tries > 1, "5 ms are not enough for it");
  assert.equal(watch.view?.tip?.end, wal.end);
  store.gets = 0;
  await watch.look(wal.systemId, 0, t.signal);
  // The identity and the roster; no slot again.
  assert.ok(store.gets <= 3, `${store.gets} objects were read again`);
});
