// When a volume is too full for writes, and when it is not any more.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  causeOfPressure,
  diskLimits,
  type Pressure,
  pressureOf,
} from "../../src/supervisor/disk-pressure.ts";

const GB = 1e9;
const MIB = 1024 * 1024;
const limits = diskLimits(10 * GB, null)!;

test("the limit is 5 % of the volume, not less than a few segments, not more than 1 GiB, or what was asked", () => {
  assert.deepEqual(limits, { readOnlyBytes: 0.5 * GB, cutBytes: 0.25 * GB, againBytes: 0.75 * GB });
  assert.equal(diskLimits(1 * GB, null)!.readOnlyBytes, 96 * MIB);
  assert.equal(diskLimits(1_000 * GB, null)!.readOnlyBytes, 1024 * MIB);
  assert.equal(diskLimits(1_000 * GB, 7 * GB)!.readOnlyBytes, 7 * GB);
  assert.equal(diskLimits(1_000 * GB, 0), null);
});

test("a volume that fills and empties goes through every level once, with slack on the way back", () => {
  const seen: string[] = [];
  let was: Pressure = "none";
  for (const freeGb of [5, 1.9, 2.05, 2.3, 1.9, 0.9, 0.6, 0.4, 0.2, 0.4, 0.6, 0.74, 0.76, 1.3, 3]) {
    const now = pressureOf({ totalBytes: 10 * GB, freeBytes: freeGb * GB }, limits, was);
    seen.push(`${freeGb} ${now}`);
    was = now;
  }
  assert.deepEqual(seen, [
    "5 none",
    "1.9 filling",
    "2.05 filling",
    "2.3 none",
    "1.9 filling",
    "0.9 nearly-full",
    "0.6 nearly-full",
    "0.4 read-only",
    "0.2 cut",
    "0.4 read-only",
    "0.6 read-only",
    "0.74 read-only",
    "0.76 nearly-full",
    "1.3 filling",
    "3 none",
  ]);
  assert.equal(pressureOf({ totalBytes: 10 * GB, freeBytes: 0 }, null, "none"), "nearly-full");
});

test("the cause is named: data, the archive, or a slot", () => {
  const base = { totalBytes: 100 * GB, freeBytes: 10 * GB, waitingBytes: 0, slotBytes: 0, slotName: null };
  assert.equal(
    causeOfPressure({ ...base, walBytes: 2 * GB }),
    "88 GB of data and other files, 2.0 GB of WAL",
  );
  assert.equal(
    causeOfPressure({ ...base, walBytes: 60 * GB, waitingBytes: 55 * GB, slotBytes: 40 * GB, slotName: "s" }),
    "60 GB of WAL, of which 55 GB wait for the archive; 30 GB of data and other files",
  );
  assert.equal(
    causeOfPressure({
      ...base,
      walBytes: 60 * GB,
      waitingBytes: 1 * GB,
      slotBytes: 58 * GB,
      slotName: "ghost",
    }),
    '60 GB of WAL, of which the replication slot "ghost" holds back 58 GB; 30 GB of data and other files',
  );
  assert.equal(
    causeOfPressure({ ...base, walBytes: 60 * GB }),
    "60 GB of WAL; 30 GB of data and other files",
  );
});
