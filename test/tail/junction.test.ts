import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Junction,
  type LocalFacts,
  type LogFacts,
  type MemberFacts,
  bytesToCompare,
  decideJunction,
} from "../../src/tail/junction.ts";
import type { AcceptedHistory } from "../../src/tail/run.ts";
import { type Lsn, parseLsn } from "../../src/wal/lsn.ts";
import { extendPath, rootPath } from "../../src/wal/timeline-path.ts";

const lsn = (text: string): Lsn => parseLsn(text);
const one = rootPath(1);
const two = extendPath(one, 2, lsn("0/2000100"));
const accepted = (timeline: number): AcceptedHistory => ({ timeline, sha256: "", body: null, header: null });

/** The log on timeline 2 of promotion `p2`, its end inside a record that begins at 0/3000080. */
const log: LogFacts = {
  log: {
    identity: { systemId: 1n, segmentBytes: 1 << 24 },
    tip: {
      timeline: 2,
      promotion: "p2",
      path: two,
      begin: lsn("0/1000000"),
      end: lsn("0/3002000"),
      published: lsn("0/3000000"),
    },
    lastTimeline: 2,
    histories: new Map([[2, accepted(2)]]),
  },
  recordEnd: lsn("0/3000080"),
};
const local: LocalFacts = {
  path: two,
  promotion: "p2",
  parentPromotion: "p1",
  walkedTo: lsn("0/3000080"),
  bytes: "equal",
};
const three = extendPath(two, 3, lsn("0/3000080"));
const brought: LocalFacts = { ...local, path: three, promotion: "p3", parentPromotion: "p2" };

const CASES: readonly {
  name: string;
  log?: LogFacts;
  local?: Partial<LocalFacts>;
  members?: readonly MemberFacts[];
  kind: Junction["kind"];
  because: RegExp;
}[] = [
  {
    name: "an empty log is founded",
    log: { ...log, log: { ...log.log, tip: null }, recordEnd: null },
    kind: "genesis",
    because: /holds no WAL yet/,
  },
  {
    name: "a sound volume continues, though its last record was cut by the crash",
    kind: "continue",
    because: /agrees with the log to its end/,
  },
  {
    name: "a volume with more WAL than the log continues",
    local: { walkedTo: lsn("0/5000000") },
    kind: "continue",
    because: /agrees/,
  },
  {
    name: "other bytes",
    local: { bytes: "different" },
    kind: "suspect",
    because: /other bytes than the log/,
  },
  {
    name: "short of the log's end",
    local: { bytes: "missing" },
    kind: "suspect",
    because: /lacks bytes below the log's end at 0\/3002000/,
  },
  {
    name: "a hole somewhere before the end",
    local: { walkedTo: lsn("0/3000040") },
    kind: "suspect",
    because: /records of pg_wal end at 0\/3000040, the log's at 0\/3000080/,
  },
  {
    name: "another promotion to the same number (X11)",
    local: { promotion: "other" },
    kind: "suspect",
    because: /another promotion made timeline 2/,
  },
  {
    name: "the same number from another fork",
    local: { path: extendPath(one, 2, lsn("0/2000180")) },
    kind: "suspect",
    because: /another path here than in the log/,
  },
  {
    name: "a retired timeline",
    local: { path: one, promotion: "p1" },
    kind: "suspect",
    because: /timeline 1 is not the log's newest, 2/,
  },
  {
    name: "a member that has more of this timeline (X10)",
    members: [{ name: "node-b", path: two, recordEnd: lsn("0/3000100") }],
    kind: "suspect",
    because: /node-b has more of timeline 2: up to 0\/3000100/,
  },
  {
    name: "members behind, level, or on an older timeline do not matter",
    members: [
      { name: "b", path: two, recordEnd: lsn("0/3000080") },
      { name: "c", path: one, recordEnd: lsn("F/0") },
    ],
    kind: "continue",
    because: /agrees/,
  },
  {
    name: "a new timeline at the last record is brought",
    local: brought,
    kind: "bring",
    because: /timeline 3 forks at or past/,
  },
  {
    name: "a new timeline past the end is brought with what the log lacks",
    local: { ...brought, path: extendPath(two, 3, lsn("0/3004000")) },
    kind: "bring",
    because: /at or past/,
  },
  {
    name: "a new timeline below the last record",
    local: { ...brought, path: extendPath(two, 3, lsn("0/3000040")) },
    kind: "suspect",
    because: /forks at 0\/3000040, before the log's last record at 0\/3000080/,
  },
  {
    name: "a new timeline from a retired one",
    local: { ...brought, path: extendPath(one, 3, lsn("0/2000200")) },
    kind: "suspect",
    because: /does not come from timeline 2/,
  },
  {
    name: "a new timeline from another promotion of its parent",
    local: { ...brought, parentPromotion: "other" },
    kind: "suspect",
    because: /another promotion to timeline 2/,
  },
  {
    name: "a new timeline over other bytes",
    local: { ...brought, bytes: "different" },
    kind: "suspect",
    because: /other bytes/,
  },
  {
    name: "a new timeline that cannot be compared",
    local: { ...brought, bytes: "missing" },
    kind: "suspect",
    because: /lacks bytes that must be compared/,
  },
  {
    name: "a number that the log accepted and left",
    log: {
      ...log,
      log: {
        ...log.log,
        lastTimeline: 4,
        histories: new Map([
          [2, accepted(2)],
          [3, accepted(3)],
          [4, accepted(4)],
        ]),
      },
    },
    local: brought,
    kind: "suspect",
    because: /timeline 3 is not the log's newest/,
  },
  {
    name: "a number below an accepted one (G4)",
    log: { ...log, log: { ...log.log, lastTimeline: 4 } },
    local: brought,
    kind: "suspect",
    because: /timeline 3 is not above 4/,
  },
];
for (const { name, log: facts = log, local: change = {}, members = [], kind, because } of CASES) {
  test(`junction: ${name}: ${kind}`, () => {
    const decision = decideJunction(facts, { ...local, ...change }, members);
    assert.equal(decision.kind, kind);
    assert.match(decision.because, because);
  });
}

test("who continues reports the log's end", () => {
  const decision = decideJunction(log, local, []);
  assert.equal(decision.kind === "continue" && decision.durable, lsn("0/3002000"));
});

test("who brings owes the parent's bytes between end and fork, if any", () => {
  const at = decideJunction(log, brought, []);
  assert.equal(at.kind === "bring" && at.backfill, null);
  const past = decideJunction(log, { ...brought, path: extendPath(two, 3, lsn("0/3004000")) }, []);
  assert.deepEqual(past.kind === "bring" && past.backfill, { from: lsn("0/3002000"), to: lsn("0/3004000") });
});

const RANGES: readonly {
  name: string;
  log?: LogFacts;
  path?: LocalFacts["path"];
  range: readonly [string, string] | null;
}[] = [
  { name: "to the end, from the segment of the last record", range: ["0/3000000", "0/3002000"] },
  {
    name: "from a lower segment when the last record lies there",
    log: { ...log, recordEnd: lsn("0/2FFF000") },
    range: ["0/2000000", "0/3002000"],
  },
  {
    name: "an end on a boundary: the segment before it",
    log: {
      ...log,
      log: { ...log.log, tip: { ...log.log.tip!, end: lsn("0/3000000") } },
      recordEnd: lsn("0/3000000"),
    },
    range: ["0/2000000", "0/3000000"],
  },
  { name: "of a new timeline no more than up to its fork", path: three, range: ["0/3000000", "0/3000080"] },
  {
    name: "of a new timeline past the end up to the end",
    path: extendPath(two, 3, lsn("0/4000000")),
    range: ["0/3000000", "0/3002000"],
  },
  {
    name: "nothing in a log that accepted nothing",
    log: { ...log, log: { ...log.log, tip: { ...log.log.tip!, begin: lsn("0/3002000") } } },
    range: null,
  },
];
for (const { name, log: facts = log, path = two, range } of RANGES) {
  test(`what is compared: ${name}`, () => {
    const wanted = range === null ? null : { from: lsn(range[0]), to: lsn(range[1]) };
    assert.deepEqual(bytesToCompare(facts, { path }), wanted);
  });
}
