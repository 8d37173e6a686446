// An owner of a new log over WAL that was built in memory.

import type { TestContext } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { LogOwner } from "../../src/tail/owner.ts";
import { DEFAULT_RHYTHM } from "../../src/tail/owner-options.ts";
import { NO_PROMOTION } from "../../src/tail/slot.ts";
import { takeOver } from "../../src/tail/take-over.ts";
import type { Lsn } from "../../src/wal/lsn.ts";
import { rootPath } from "../../src/wal/timeline-path.ts";
import { LZ4 } from "./archive-bench.ts";
import type { WalBuilder } from "./wal-builder.ts";

const never = new AbortController().signal;

/** Begins a log for `wal` on timeline 1 of `store` (segments of 1 MiB) and settles its bytes up to `upTo`; closed with the test. */
export async function ownedLog(
  t: TestContext,
  store: ObjectStore,
  wal: WalBuilder,
  upTo: Lsn = wal.end,
): Promise<LogOwner> {
  const tools = { clock: systemClock, log: silentLog, signal: never, random: Math.random };
  const identity = { systemId: wal.systemId, segmentBytes: 1 << 20 };
  const claim = await takeOver(store, {
    ...tools,
    ...{ identity, purpose: "start", node: "test", fencing: "conditional", cipher: noCipher },
  });
  const owner = new LogOwner({ ...tools, ...DEFAULT_RHYTHM, claim, store, codec: LZ4, flushMs: 1 });
  t.after(() => owner.close());
  await owner.begin({
    kind: "genesis",
    genesis: {
      timeline: 1,
      path: rootPath(1),
      promotion: NO_PROMOTION,
      end: wal.start,
      lastTimeline: 1,
      histories: [],
    },
    openBytes: new Uint8Array(0),
  });
  await owner.append(wal.start, 1, wal.bytes(wal.start, upTo));
  await owner.flush();
  await owner.whenAllPublished(never);
  return owner;
}
