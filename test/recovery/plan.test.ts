// The window and the plan: which backup, how far, or why not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SegmentSet } from "../../src/archive/gaps.ts";
import {
  planRestore,
  type PlanFacts,
  type RestorePlan,
  TargetUnreachableError,
} from "../../src/recovery/plan.ts";
import { parseRequest, parseTime, type TargetFields } from "../../src/recovery/target.ts";
import {
  type BackupPoint,
  describeWindow,
  recoveryWindow,
  type WalFacts,
} from "../../src/recovery/window.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { rootPath } from "../../src/wal/timeline-path.ts";

const BYTES = 16 << 20;

const backup = (number: number, finished: string): BackupPoint => ({
  name: `base_00000001000000000000000${number}`,
  timeline: 1,
  start: parseLsn(`0/${number}000028`),
  finish: parseLsn(`0/${number}000120`),
  finishedUs: parseTime(finished),
  storedBytes: 100 << 20,
  restoredBytes: 300 << 20,
});

const FIRST = backup(2, "2026-11-24 10:00:00");
const SECOND = backup(5, "2026-11-24 11:00:00");

/** Segments 2 to 7 stored but for `without`, the log from 8 on. */
const facts = (without: readonly number[] = [], change: Partial<WalFacts> = {}): PlanFacts => {
  const numbers = [2, 3, 4, 5, 6, 7].filter((number) => !without.includes(number));
  const stored = new SegmentSet(numbers.map((number) => ({ timeline: 1, number: BigInt(number) })));
  const wal: WalFacts = {
    segmentBytes: BYTES,
    path: rootPath(1),
    isStored: (segment) => stored.has(segment),
    log: { from: parseLsn("0/8000000"), end: parseLsn("0/8001000") },
    end: parseLsn("0/8001000"),
    recordEnd: parseLsn("0/8000FF8"),
    newestCommitUs: parseTime("2026-11-24 11:30:00"),
    ...change,
  };
  return {
    window: recoveryWindow([SECOND, FIRST], wal),
    isWinners: true,
    nowUs: parseTime("2026-11-24 12:00:00"),
    forks: [],
    commitsAtStops: new Map([[parseLsn("0/4000000"), parseTime("2026-11-24 10:20:00")]]),
    located: null,
  };
};

const plan = (fields: TargetFields, given: PlanFacts = facts()): RestorePlan =>
  planRestore(parseRequest(fields), given);

const cases: readonly {
  readonly name: string;
  readonly fields: TargetFields;
  readonly from: BackupPoint;
  readonly ending: RestorePlan["ending"];
  readonly segments: number;
  readonly isCut: boolean;
}[] = [
  { name: "latest", fields: {}, from: SECOND, ending: "drain", segments: 4, isCut: false },
  {
    name: "immediate",
    fields: { immediate: true },
    from: SECOND,
    ending: "target",
    segments: 1,
    isCut: true,
  },
  {
    name: "a time before the second backup ended",
    fields: { time: "2026-11-24 10:59:59.999999" },
    from: FIRST,
    ending: "target",
    segments: 7,
    isCut: true,
  },
  {
    name: "a time between commits",
    fields: { time: "2026-11-24 11:10" },
    from: SECOND,
    ending: "target",
    segments: 4,
    isCut: true,
  },
  {
    name: "a time behind the newest commit",
    fields: { time: "2026-11-24 11:45" },
    from: SECOND,
    ending: "either",
    segments: 4,
    isCut: true,
  },
  {
    name: "an LSN before the second backup",
    fields: { lsn: "0/4FFFFFF" },
    from: FIRST,
    ending: "either",
    segments: 3,
    isCut: true,
  },
  {
    name: "the last record's end",
    fields: { lsn: "0/8000FF8" },
    from: SECOND,
    ending: "either",
    segments: 4,
    isCut: true,
  },
  {
    name: "a named backup",
    fields: { backup: FIRST.name },
    from: FIRST,
    ending: "drain",
    segments: 7,
    isCut: false,
  },
];

for (const { name, fields, from, ...expected } of cases) {
  test(`${name} starts from ${from === FIRST ? "the first" : "the second"} backup`, () => {
    const made = plan(fields);
    assert.equal(made.backup.name, from.name);
    const { ending, segments, isCut } = made;
    assert.deepEqual({ ending, segments, isCut }, expected);
    assert.equal(made.bytes, from.restoredBytes + segments * BYTES);
    assert.ok(made.estimatedSeconds > 0);
  });
}

const WHOLE =
  "reachable on timeline 1: 0/2000120 (2026-11-24 10:00:00+00) to 0/8000FF8, the end (newest commit 2026-11-24 11:30:00+00)";

const refusals: readonly {
  readonly name: string;
  readonly fields: TargetFields;
  readonly because: string;
}[] = [
  {
    name: "a time before the first backup",
    fields: { time: "2026-11-24 09:00" },
    because: `time 2026-11-24 09:00:00+00 cannot be reached: the oldest usable backup, "${FIRST.name}", ends after it; ${WHOLE}`,
  },
  {
    name: "the future",
    fields: { time: "2026-11-25" },
    because: `time 2026-11-25 00:00:00+00 cannot be reached: that is in the future: it is 2026-11-24 12:00:00+00; ${WHOLE}`,
  },
  {
    name: "an LSN behind the end",
    fields: { lsn: "0/8000FF9" },
    because: `LSN 0/8000FF9 cannot be reached: the WAL ends at 0/8000FF8; ${WHOLE}`,
  },
  {
    name: "an LSN before the first backup",
    fields: { lsn: "0/2000028" },
    because: `LSN 0/2000028 cannot be reached: the oldest usable backup, "${FIRST.name}", ends after it; ${WHOLE}`,
  },
  {
    name: "a transaction that is nowhere",
    fields: { xid: "99" },
    because: `transaction 99 cannot be reached: no commit or abort of it is in the WAL that can be replayed; ${WHOLE}`,
  },
  {
    name: "an unknown restore point",
    fields: { name: "x" },
    because: `restore point "x" cannot be reached: no restore point of that name is in the WAL that can be replayed; ${WHOLE}`,
  },
  {
    name: "a backup that is not there",
    fields: { backup: "base_x" },
    because: `the end of the archive cannot be reached: backup "base_x" is not usable on this timeline; ${WHOLE}`,
  },
];

for (const { name, fields, because } of refusals) {
  test(`refused, with the window: ${name}`, () => {
    assert.throws(
      () => plan(fields),
      (error) => {
        assert.ok(error instanceof TargetUnreachableError);
        assert.equal(error.message, because);
        assert.deepEqual(error.window, [WHOLE]);
        return true;
      },
    );
  });
}

test("a hole splits the window; what lies behind it is reached from the next backup only", () => {
  const holed = facts([4]);
  assert.deepEqual(describeWindow(holed.window), [
    "reachable on timeline 1: 0/2000120 (2026-11-24 10:00:00+00) to 0/4000000, where segment 000000010000000000000004 is missing",
    "reachable on timeline 1: 0/5000120 (2026-11-24 11:00:00+00) to 0/8000FF8, the end (newest commit 2026-11-24 11:30:00+00)",
    "missing: segment 000000010000000000000004",
  ]);
  assert.equal(plan({}, holed).backup, SECOND);
  assert.equal(plan({ time: "2026-11-24 10:19" }, holed).backup, FIRST);
  assert.throws(() => plan({ time: "2026-11-24 10:21" }, holed), /segments on the way are missing/);
  assert.throws(() => plan({ lsn: "0/4000001" }, holed), /segments on the way are missing/);
  assert.throws(() => plan({ backup: FIRST.name }, holed), /does not lead there/);
});

test("a backup whose own WAL is missing is of no use", () => {
  const holed = facts([5]);
  assert.throws(() => plan({}, holed), TargetUnreachableError);
  assert.equal(plan({ immediate: true }, holed).backup, FIRST);
});

test("no backup on the path: nothing can be reached, and it says so", () => {
  const none = { ...facts(), window: recoveryWindow([], facts().window.wal) };
  assert.throws(
    () => plan({}, none),
    /no backup can be replayed to a consistent state on this timeline; nothing can be reached on timeline 1: no usable backup lies on it/,
  );
});

test("only backups that lie on the path count, and an abandoned timeline's end is a cut", () => {
  const path = [...rootPath(1), { timeline: 2, begin: parseLsn("0/4000000") }];
  const forked = recoveryWindow([FIRST, SECOND], { ...facts().window.wal, path, isStored: () => true });
  assert.deepEqual(
    forked.reaches.map(({ backup: { name } }) => name),
    [FIRST.name],
  );
  const made = plan({}, { ...facts(), window: forked, isWinners: false });
  assert.equal(made.isCut, true);
  assert.equal(made.timeline, 2);
});

test("an xid or a restore point that was found leads to the newest backup before it", () => {
  const located = { at: parseLsn("0/4100000") };
  assert.equal(plan({ xid: "747" }, { ...facts(), located }).backup, FIRST);
  assert.equal(plan({ name: "x" }, { ...facts(), located: { at: parseLsn("0/6000000") } }).backup, SECOND);
});

test("a target before a fork is replayed on the timeline that holds it", () => {
  const path = [...rootPath(1), { timeline: 2, begin: parseLsn("0/6800000") }];
  const forked = recoveryWindow([FIRST, SECOND], { ...facts().window.wal, path, isStored: () => true });
  const given: PlanFacts = {
    ...facts(),
    window: forked,
    forks: [
      {
        timeline: 1,
        at: parseLsn("0/6800000"),
        newestCommitUs: parseTime("2026-11-24 11:15"),
        lastRecord: parseLsn("0/67FFF00"),
      },
    ],
  };
  assert.equal(plan({ time: "2026-11-24 11:14:59" }, given).timeline, 1);
  assert.equal(plan({ time: "2026-11-24 11:15" }, given).timeline, 2);
  assert.equal(plan({ lsn: "0/67FFF00" }, given).timeline, 1);
  assert.equal(plan({ lsn: "0/67FFF01" }, given).timeline, 2);
  assert.equal(plan({}, given).timeline, 2);
  assert.equal(plan({ immediate: true }, given).timeline, 1);
});
