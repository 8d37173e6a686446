// A damaged object of wal_005 is replaced by what the log has of it, and by nothing less.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import { PathReader } from "../../src/archive/path-reader.ts";
import { isDamagedObject } from "../../src/archive/wal-file-check.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { segmentAt, segmentEnd, segmentName, segmentStart } from "../../src/wal/segment-name.ts";
import { append, LogBench } from "../support/log-bench.ts";

test("the log stands in for a damaged segment, and only whole", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  {
    await using owner = await bench.found(wal);
    while (wal.end < wal.start + BigInt(1.5 * wal.segmentBytes)) {
      for (let record = 0; record < 20; record += 1) wal.record({ bytes: 4_000 });
      await append(owner, wal);
      await owner.flush();
    }
  }
  const view = await bench.read();
  const { segmentBytes } = wal;
  const source: ArchiveSource = {
    ...{ store: bench.store, cipher: noCipher, likely: "lz4", clock: systemClock, log: silentLog },
    ...{ segmentBytes, systemId: wal.systemId, magic: null },
  };
  const reader = new PathReader(source, view, view.tip!.path);
  const whole = segmentAt(1, wal.start, segmentBytes);
  const open = { ...whole, number: whole.number + 1n };
  for (const segment of [whole, open]) {
    const key = `wal_005/${segmentName(segment, segmentBytes)}.lz4`;
    await bench.store.put(key, Buffer.from("damaged"), t.signal);
  }
  const found = await reader.segment(whole, t.signal);
  assert.equal(found.kind, "complete");
  const bytes = wal.bytes(segmentStart(whole, segmentBytes), segmentEnd(whole, segmentBytes));
  assert.ok(bytes.equals((found as { bytes: Uint8Array }).bytes));
  await assert.rejects(reader.segment(open, t.signal), isDamagedObject);
});
