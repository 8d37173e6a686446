// Sentinel, metadata.json and manifest: what is printed is read again without loss, in WAL-G's keys and their order.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  formatBackupMetadata,
  metadataOfSentinel,
  parseBackupMetadata,
} from "../../src/backup/backup-metadata.ts";
import { BackupFormatError } from "../../src/backup/format-error.ts";
import { type Manifest, formatManifest, parseManifest } from "../../src/backup/manifest.ts";
import { type Sentinel, formatSentinel, parseSentinel } from "../../src/backup/sentinel.ts";
import { type Lsn, lsnOf } from "../../src/wal/lsn.ts";
import { sentinelWith } from "../support/sentinels.ts";

const uint64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const lsn: fc.Arbitrary<Lsn> = uint64.map((value) => lsnOf(value));
/** Microseconds, as WAL-G writes these times. */
const time = fc.bigInt({ min: 0n, max: 4_000_000_000_000_000n }).map((microseconds) => microseconds * 1000n);
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const text = fc.string({ unit: "grapheme" });
const sentinels: fc.Arbitrary<Sentinel> = fc
  .record({
    startLsn: lsn,
    finishLsn: lsn,
    delta: fc.option(
      fc.record({
        lsn,
        from: text.filter((name) => name !== ""),
        fullName: text,
        count: fc.nat({ max: 1000 }),
      }),
    ),
    pgVersion: fc.nat({ max: 999_999 }),
    systemIdentifier: uint64,
    uncompressedBytes: count,
    compressedBytes: count,
    dataCatalogBytes: count,
    userData: fc.oneof(fc.constant(null), text, fc.nat(), fc.record({ "<b>": text, id: uint64 })),
    hasNoFilesMetadata: fc.boolean(),
    startTime: time,
    finishTime: time,
    hostname: text,
    dataDirectory: text,
    isPermanent: fc.boolean(),
  })
  .map((changes) => sentinelWith(changes as Partial<Sentinel>));

/** JSON reads small numbers as numbers; equal as numbers is equal. */
const plain = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) =>
    typeof part === "bigint" ? part.toString() : part,
  ).replaceAll(/"(\d+)"/g, "$1");

test("a sentinel and its metadata.json survive printing and reading", () => {
  fc.assert(
    fc.property(sentinels, (sentinel) => {
      const printed = formatSentinel(sentinel);
      assert.ok(!/[\n<>&]/.test(printed), "one line, HTML characters escaped");
      assert.equal(plain(parseSentinel(printed, "s")), plain(sentinel));
      const metadata = metadataOfSentinel(sentinel);
      assert.equal(plain(parseBackupMetadata(formatBackupMetadata(metadata), "m")), plain(metadata));
    }),
    { numRuns: 300 },
  );
});

test("a sentinel as WAL-G 3.0.9 writes it, and older forms", () => {
  const real =
    '{"LSN":50331688,"PgVersion":170012,"FinishLSN":50332048,"SystemIdentifier":7575881137219563582,"UncompressedSize":30521394,"CompressedSize":4068718,"DataCatalogSize":30521395,"ChkpNum":null,"Version":2,"StartTime":"2026-11-23T01:11:52.123457Z","FinishTime":"2026-11-23T01:11:53.5Z","DateFmt":"%Y-%m-%dT%H:%M:%S.%fZ","Hostname":"h","DataDir":"/data","IsPermanent":false}';
  const sentinel = parseSentinel(real, "real");
  assert.equal(sentinel.systemIdentifier, 7_575_881_137_219_563_582n);
  assert.equal(sentinel.startTime, 1_795_396_312_123_457_000n);
  assert.equal(formatSentinel(sentinel), real, "the same bytes");
  const old = parseSentinel(
    '{"lsn":1,"pgversion":90600,"DeltaFromLSN":5,"deltafrom":"base_A","DeltaFullName":"base_A","DeltaCount":1,"Files":{}}',
    "old",
  );
  assert.deepEqual(old.delta, { lsn: 5n, from: "base_A", fullName: "base_A", count: 1 });
  assert.equal(parseSentinel('{"wal_segment_backup_stop":"0001"}', "wal-e").startLsn, null);
});

test("what is no sentinel is refused with the object's name", () => {
  for (const bad of [
    "",
    "[]",
    "null",
    '{"LSN":"0/1"}',
    '{"LSN":1.5}',
    '{"LSN":-1}',
    '{"LSN":18446744073709551616}',
  ])
    assert.throws(
      () => parseSentinel(bad, "basebackups_005/x"),
      (error) => error instanceof BackupFormatError && error.object === "basebackups_005/x",
      bad,
    );
});

test("a manifest is read as it was written; another version, or a hash that is none, is refused", () => {
  const manifest: Manifest = {
    backup: "base_000000010000000000000002",
    parts: [{ name: "part_001.tar.lz4", bytes: 12, sha256: "a".repeat(64) }],
    sentinelSha256: "b".repeat(64),
    filesMetadataSha256: null,
    source: { volume: "1:2:3", lookedAt: 1_787_335_355_123_456_789n, databases: new Map([["5", "734"]]) },
  };
  const printed = formatManifest(manifest);
  assert.deepEqual(parseManifest(printed, "m"), manifest);
  assert.deepEqual(parseManifest(formatManifest({ ...manifest, source: null }), "m").source, null);
  for (const [from, to] of [
    ['"version":1', '"version":2'],
    ["a".repeat(64), "A".repeat(64)],
    ["b".repeat(64), "b".repeat(63)],
    ["part_001.tar.lz4", "../part_001.tar.lz4"],
    ['"bytes":12', '"bytes":1.2'],
  ] as const) {
    assert.ok(printed.includes(from), from);
    assert.throws(() => parseManifest(printed.replace(from, to), "m"), BackupFormatError, to);
  }
});
