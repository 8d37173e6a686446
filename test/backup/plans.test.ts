// The decisions of a push and of a restore: names, parts, delta or full, what comes from where.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isKept, isLeftOut, unloggedRelations } from "../../src/backup/backup-exclusions.ts";
import { backupNameFor, walPartOf } from "../../src/backup/backup-name.ts";
import {
  type DeltaCandidate,
  type DeltaSettings,
  baseProblem,
  decideDelta,
  deltaDecider,
} from "../../src/backup/delta-plan.ts";
import { formatTablespaceMap, placeTablespaces } from "../../src/backup/fetch-tablespaces.ts";
import { FileTable } from "../../src/backup/files-metadata.ts";
import { BackupFormatError, BackupMissingError } from "../../src/backup/format-error.ts";
import { memberPath } from "../../src/backup/member-path.ts";
import { planParts } from "../../src/backup/part-plan.ts";
import { planExtraction, readChain } from "../../src/backup/restore-chain.ts";
import type { Sentinel } from "../../src/backup/sentinel.ts";
import { formatSpec, parseSpec } from "../../src/backup/tablespace-spec.ts";
import { parseLossless } from "../../src/base/lossless-json.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { sentinelWith } from "../support/sentinels.ts";

const MIB = 1 << 20;

test("a backup is named after the segment it starts in; on a standby after the byte before", () => {
  const start = { timeline: 2, lsn: parseLsn("1/3000000"), segmentBytes: 16 * MIB, parentName: null };
  assert.equal(backupNameFor({ ...start, isStandby: false }), "base_000000020000000100000003");
  assert.equal(backupNameFor({ ...start, isStandby: true }), "base_000000020000000100000002");
  const parentName = "base_000000010000000000000009_D_000000010000000000000004";
  assert.equal(
    backupNameFor({ ...start, isStandby: false, parentName }),
    "base_000000020000000100000003_D_000000010000000000000009",
  );
  assert.equal(walPartOf("nothing"), "Z".repeat(24));
});

test("every file is in exactly one part, parts are no larger than they must be, folders come first", () => {
  const file = fc.nat({ max: 100 * MIB });
  fc.assert(
    fc.property(
      fc.array(file, { maxLength: 60 }),
      fc.integer({ min: 1, max: 64 * MIB }),
      fc.integer({ min: 1, max: 8 }),
      (sizes, thresholdBytes, concurrency) => {
        const files = sizes.map((bytes, index) => ({ name: `/base/5/${index}`, bytes, mayIncrement: false }));
        const parts = planParts(["/", "/base"], files, { thresholdBytes, concurrency });
        assert.ok(parts.length >= 1);
        assert.deepEqual(parts[0]?.directories, ["/", "/base"]);
        assert.ok(parts.slice(1).every(({ directories }) => directories.length === 0));
        assert.deepEqual(
          parts.map(({ tarName }) => tarName),
          parts.map((_, index) => `part_${String(index + 1).padStart(3, "0")}.tar`),
        );
        const names = parts.flatMap((part) => part.files.map(({ name }) => name));
        assert.deepEqual(names.toSorted(), files.map(({ name }) => name).toSorted());
        for (const part of parts) {
          assert.equal(
            part.bytes,
            part.files.reduce((sum, { bytes }) => sum + bytes, 0),
          );
          assert.ok(part.files.length <= 1 || part.bytes <= thresholdBytes);
        }
      },
    ),
    { numRuns: 300 },
  );
});

const ON: DeltaSettings = { maxSteps: 2, origin: "LATEST", isForcedFull: false, isPermanent: false };
const FULL = "base_000000010000000000000002";
const candidate = (changes: Partial<Sentinel> = {}, isPermanent: boolean | null = false): DeltaCandidate => ({
  name: FULL,
  sentinel: sentinelWith(changes),
  isPermanent,
});
const delta = (count: number): Pick<Sentinel, "delta"> => ({
  delta: { lsn: parseLsn("0/1"), from: "base_X", fullName: "base_F", count },
});

test("when a delta is taken, and from what", () => {
  const decide = (settings: Partial<DeltaSettings>, from: DeltaCandidate | null): string => {
    const decision = decideDelta({ ...ON, ...settings }, from);
    return decision.kind === "full" ? decision.because : `${decision.count} from ${decision.from}`;
  };
  assert.equal(decide({}, candidate()), `1 from ${FULL}`);
  assert.equal(decide({}, candidate(delta(1))), `2 from ${FULL}`);
  assert.equal(decide({ origin: "LATEST_FULL" }, candidate(delta(1))), "2 from base_F");
  assert.match(decide({}, candidate(delta(2))), /has 2 of 2 deltas/);
  assert.match(decide({ isForcedFull: true }, candidate()), /asked for/);
  assert.match(decide({ maxSteps: 0 }, candidate()), /deltas are off/);
  assert.match(decide({}, null), /no backup/);
  assert.match(decide({}, candidate({ startLsn: null })), /where it starts/);
  assert.match(decide({}, candidate({}, null)), /no metadata.json/);
  assert.match(decide({}, candidate({}, true)), /is permanent/);
  assert.equal(decide({ isPermanent: true }, candidate({}, true)), `1 from ${FULL}`);
});

test("a base is unsound on another system, in the future, and on a timeline left before its end", () => {
  const server = {
    systemIdentifier: sentinelWith().systemIdentifier!,
    timeline: 1,
    startLsn: parseLsn("0/4000028"),
    ancestors: [],
  };
  const base = { name: FULL, sentinel: sentinelWith() };
  assert.equal(baseProblem(base, server), null);
  assert.throws(() => baseProblem(base, { ...server, systemIdentifier: 1n }), BackupFormatError);
  assert.match(
    baseProblem(base, { ...server, startLsn: parseLsn("0/2000028") }) ?? "",
    /behind this one's start/,
  );
  assert.match(baseProblem(base, { ...server, timeline: 2 }) ?? "", /history does not pass/);
  const left = (at: string) => ({ ...server, timeline: 2, ancestors: [{ parent: 1, at: parseLsn(at) }] });
  assert.match(baseProblem(base, left("0/2000100")) ?? "", /left timeline 1/);
  assert.equal(baseProblem(base, left("0/2000120")), null);
});

test("a file is skipped, incremented or stored whole", () => {
  const files = new FileTable();
  const put = (name: string, mtime: bigint): void =>
    files.set(name, { mtime, isIncremented: false, isSkipped: false });
  for (const name of [
    "/base/5/1",
    "/base/5/PG_VERSION",
    "/base/5/1_vm",
    "/pg_xact/0000",
    "/global/1262",
    "/base/7/1",
  ])
    put(name, 1_000_000_000n);
  const base = {
    files,
    lookedAt: 2_000_000_000n,
    isSameVolume: true,
    databases: {
      before: new Map([
        ["5", "10"],
        ["7", "11"],
      ]),
      now: new Map([
        ["5", "10"],
        ["7", "12"],
      ]),
    },
  };
  const decide = (name: string, mtime: bigint, bytes = 8192, more: Partial<typeof base> = {}): string =>
    deltaDecider([], { ...base, ...more })({ name, bytes, mtime });
  assert.equal(decide("/base/5/1", 1_000_000_000n), "skip");
  assert.equal(decide("/base/5/1", 1_000_000_001n), "increment");
  assert.equal(decide("/base/5/1", 1_000_000_000n, 8192, { isSameVolume: false }), "increment");
  assert.equal(
    decide("/base/5/1", 1_000_000_000n, 8192, { lookedAt: 1_010_000_000n }),
    "increment",
    "written too near to the look",
  );
  assert.equal(decide("/base/5/1", 1_000_000_001n, 8191), "whole", "no whole pages");
  assert.equal(decide("/base/5/2", 1_000_000_000n), "whole", "a new file");
  assert.equal(decide("/base/7/1", 1_000_000_001n), "whole", "the database was made anew");
  for (const name of ["/base/5/1_vm", "/pg_xact/0000", "/global/1262"])
    assert.equal(decide(name, 1_000_000_001n), "whole", name);
});

test("a chain is read from its newest link, and what does not fit together is named", async () => {
  const full = sentinelWith();
  const first = sentinelWith({
    startLsn: parseLsn("0/4000028"),
    delta: { lsn: full.startLsn!, from: "A", fullName: "A", count: 1 },
  });
  const second = sentinelWith({ delta: { lsn: first.startLsn!, from: "B", fullName: "A", count: 2 } });
  const all: Record<string, Sentinel> = { A: full, B: first, C: second };
  const chain = (from: string, more: Record<string, Sentinel | undefined> = {}): Promise<string> =>
    readChain(from, async (name) => ({ ...all, ...more })[name] ?? null).then((links) =>
      links.map(({ name }) => name).join(""),
    );
  assert.equal(await chain("C"), "ABC");
  assert.equal(await chain("A"), "A");
  await assert.rejects(chain("C", { A: undefined }), (error: Error) => {
    assert.ok(error instanceof BackupMissingError);
    assert.match(error.message, /"C" cannot be restored: "B" is a delta of "A", which is not there/);
    return true;
  });
  await assert.rejects(chain("D"), /"D" is not there/);
  await assert.rejects(chain("C", { A: { ...full, startLsn: parseLsn("0/5") } }), /starts at 0\/5/);
  await assert.rejects(chain("C", { A: { ...full, systemIdentifier: 1n } }), /another database system/);
  await assert.rejects(
    chain("C", { A: sentinelWith({ delta: { lsn: parseLsn("0/1"), from: "C", fullName: "A", count: 3 } }) }),
    BackupFormatError,
  );
});

test("each file comes whole from the newest backup that holds it whole, then its increments", () => {
  const table = (entries: Record<string, "whole" | "increment" | "skipped">): FileTable => {
    const files = new FileTable();
    for (const [name, kind] of Object.entries(entries))
      files.set(name, { mtime: 1n, isIncremented: kind === "increment", isSkipped: kind === "skipped" });
    return files;
  };
  const full = { name: "A", files: table({ a: "whole", b: "whole", c: "whole", gone: "whole" }) };
  const first = {
    name: "B",
    files: table({ a: "increment", b: "whole", c: "skipped", gone: "whole", d: "whole" }),
  };
  const second = {
    name: "C",
    files: table({ a: "increment", b: "increment", c: "increment", d: "skipped" }),
  };
  const plan = (keep?: (name: string) => boolean): unknown =>
    planExtraction([full, first, second], keep).map(({ backup, wanted, isNewest }) => [
      backup,
      [...(wanted ?? [])].sort().join(""),
      isNewest,
    ]);
  assert.deepEqual(plan(), [
    ["A", "ac", false],
    ["B", "abd", false],
    ["C", "abc", true],
  ]);
  assert.deepEqual(
    plan((name) => name === "b"),
    [
      ["A", "", false],
      ["B", "b", false],
      ["C", "b", true],
    ],
  );
  assert.throws(
    () => planExtraction([{ name: "A", files: table({ a: "whole" }) }, second]),
    /does not know the file/,
  );
  assert.throws(() => planExtraction([second]), /does not hold the file .* whole/);
  assert.deepEqual(
    planExtraction([
      { name: "A", files: new FileTable() },
      { name: "B", files: table({ a: "increment" }) },
    ])[0]?.wanted,
    new Set(["a"]),
  );
});

test("member names become paths below the target, or are refused", () => {
  for (const name of ["/base/1/112", "base/1/112", "./base/1/112", "//base/./1/112/"])
    assert.equal(memberPath(name, "part"), "base/1/112");
  assert.equal(memberPath("/", "part"), "");
  for (const name of ["/../x", "base/../../x", "..", "a\0b"])
    assert.throws(() => memberPath(name, "part"), BackupFormatError, name);
});

test("what belongs into a backup", () => {
  for (const name of [
    "/base/5/112",
    "/pg_xact/0000",
    "/postgresql.conf",
    "/pg_tblspc/1/PG_17_2/5/7",
    "/backup_label.old",
  ])
    assert.ok(isKept(name, "file"), name);
  for (const name of [
    "/pg_wal/0001",
    "/postmaster.pid",
    "/standby.signal",
    "/base/5/pg_internal.init",
    "/base/5/t3_16400",
    "/recovery.signal",
    "/a/log/b",
  ])
    assert.ok(!isKept(name, "file"), name);
  assert.ok(isKept("/pg_wal", "directory"));
  assert.ok(!isKept("/pg_wal/archive_status", "directory"));
  const unlogged = unloggedRelations("/base/5", ["16400", "16400_init", "16401", "16401_fsm"]);
  const left = ["16400", "16400.1", "16400_fsm", "16400_init", "16401"].filter((entry) =>
    isLeftOut(entry, "/base/5", unlogged),
  );
  assert.deepEqual(left, ["16400", "16400.1", "16400_fsm"]);
});

test("tablespaces: the sentinel's Spec, other places, and the map that Postgres reads", () => {
  const spec = {
    basePrefix: "/data/<pg>",
    tablespaces: [
      { name: "16385", location: "/srv/fast disk", link: "pg_tblspc/16385" },
      { name: "16386", location: "/srv/a\\b", link: "pg_tblspc/16386" },
    ],
  };
  const printed = formatSpec(spec);
  assert.match(printed, /^\{"16385":\{"loc":.*"base_prefix":.*"tablespaces":\["16385","16386"\]\}$/);
  assert.deepEqual(parseSpec(parseLossless(printed), "s"), spec);
  assert.equal(parseSpec(null, "s"), null);
  for (const bad of [
    '{"tablespaces":[]}',
    '{"base_prefix":"/d","tablespaces":["16385"]}',
    '{"base_prefix":"/d","tablespaces":["../x"],"../x":{"loc":"/x","link":"pg_tblspc/../x"}}',
    '{"base_prefix":"/d","tablespaces":["1"],"1":{"loc":"x","link":"pg_tblspc/1"}}',
    '{"base_prefix":"/d","tablespaces":["1"],"1":{"loc":"/x","link":"pg_tblspc/2"}}',
  ])
    assert.throws(() => parseSpec(parseLossless(bad), "s"), BackupFormatError, bad);
  const below = placeTablespaces(spec, { kind: "below", root: "/new" });
  assert.deepEqual(
    below.map(({ location }) => location),
    ["/new/16385", "/new/16386"],
  );
  assert.deepEqual(placeTablespaces(spec, { kind: "as-they-were" }), spec.tablespaces);
  const half = { basePrefix: "/d", tablespaces: spec.tablespaces.slice(0, 1) };
  assert.throws(() => placeTablespaces(spec, { kind: "spec", spec: half }), /no place for tablespace 16386/);
  assert.equal(formatTablespaceMap(spec.tablespaces), "16385 /srv/fast disk\n16386 /srv/a\\\\b\n");
});
