// Small formats of a backup: times, tar headers, increments. What is written is read again by two readers of our own.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { formatGoJson, formatInstant, instantOfMs, parseInstant } from "../../src/backup/go-json.ts";
import {
  PAGE_BYTES,
  PageScan,
  encodeIncrementHead,
  incrementBytes,
  isPagedName,
  parseIncrementBlocks,
  parseIncrementHeader,
} from "../../src/backup/increment.ts";
import { type TarMember, encodeTarHeader, paddingOf, tarTrailer } from "../../src/backup/tar-header.ts";
import { readTar } from "../../src/backup/tar-part.ts";
import { TarSink } from "../../src/backup/tar-sink.ts";
import { IncrementSink } from "../../src/backup/unpack-sinks.ts";
import { collect, streamOf } from "../../src/base/bytes.ts";
import { lsnOf } from "../../src/wal/lsn.ts";

test("times keep their nanoseconds, in Go's form", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -1_000_000_000_000_000n, max: 8_000_000_000_000_000_000n }), (at) => {
      const printed = formatInstant(at);
      assert.match(printed, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$/);
      assert.equal(parseInstant(printed), at);
    }),
  );
  assert.equal(formatInstant(-1n), "1969-12-31T23:59:59.999999999Z");
  assert.equal(parseInstant("2026-08-21T20:02:56.5+02:30"), parseInstant("2026-08-21T17:32:56.5Z"));
  for (const bad of ["", "2026-08-21", "2026-13-01T00:00:00Z", "2026-08-21T20:02:56", "2026-08-21 20:02:56Z"])
    assert.equal(parseInstant(bad), null, bad);
  assert.equal(instantOfMs(1.0001), 1_001_000n, "rounded up to microseconds");
  assert.equal(
    formatGoJson({ a: "<&>\u2028", n: 1n << 63n }),
    String.raw`{"a":"\u003c\u0026\u003e\u2028","n":9223372036854775808}`,
  );
});

const name = fc
  .array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 6 })
  .map((steps) => `/${steps.map((step) => step.replaceAll(/[/\0\n]/g, "x")).join("/")}`)
  .filter((path) => !path.endsWith("/"));
const member: fc.Arbitrary<TarMember> = fc.record({
  name,
  kind: fc.constant("file" as const),
  mode: fc.nat({ max: 0o7777 }),
  uid: fc.nat({ max: 5_000_000 }),
  gid: fc.nat({ max: 5_000_000 }),
  userName: fc.constantFrom("", "postgres"),
  groupName: fc.constant(""),
  bytes: fc.nat({ max: 3000 }),
  mtimeSeconds: fc.nat({ max: 0o77777777777 }),
});

test("tar members of any name, owner and size are read as they were written, by both readers, in pieces of any size", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(member, { maxLength: 8 }),
      fc.integer({ min: 1, max: 4000 }),
      async (members, step) => {
        const tar = Buffer.concat([
          ...members.flatMap((one, index) => [
            encodeTarHeader(one),
            Buffer.alloc(one.bytes, index + 1),
            new Uint8Array(paddingOf(one.bytes)),
          ]),
          tarTrailer(),
        ]);
        const expected = members.map((one, index) => ({
          name: one.name,
          kind: "file",
          mode: one.mode,
          mtimeSeconds: one.mtimeSeconds,
          data: Buffer.alloc(one.bytes, index + 1).toString("hex"),
        }));
        const iterated = [];
        for await (const { name, kind, mode, mtimeSeconds, body } of readTar(streamOf(tar)))
          iterated.push({
            name,
            kind,
            mode,
            mtimeSeconds,
            data: Buffer.from(await collect(body)).toString("hex"),
          });
        assert.deepEqual(iterated, expected);
        const pushed: (Omit<(typeof expected)[number], "data"> & { data: string })[] = [];
        const sink = new TarSink(({ name, kind, mode, mtimeSeconds }) => {
          const entry = { name, kind, mode, mtimeSeconds, data: "" };
          pushed.push(entry);
          return {
            write: (piece) => void (entry.data += Buffer.from(piece).toString("hex")),
            close: () => undefined,
          };
        });
        for (let at = 0; at < tar.length; at += step) sink.push(tar.subarray(at, at + step));
        sink.end();
        assert.deepEqual(pushed, expected);
      },
    ),
    { numRuns: 200 },
  );
});

/** A sound page whose LSN is `lsn`, filled with `fill`. */
function page(lsn: bigint, fill: number): Buffer {
  const bytes = Buffer.alloc(PAGE_BYTES, fill);
  bytes.writeUInt32LE(Number(lsn >> 32n), 0);
  bytes.writeUInt32LE(Number(lsn & 0xffff_ffffn), 4);
  bytes.writeUInt16LE(0, 8); // checksum
  bytes.writeUInt16LE(0, 10); // flags
  bytes.writeUInt16LE(24, 12); // lower
  bytes.writeUInt16LE(8192, 14); // upper
  bytes.writeUInt16LE(8192, 16); // special
  bytes.writeUInt16LE(8192 | 4, 18);
  return bytes;
}

const NEW_PAGE = Buffer.alloc(PAGE_BYTES);

test("a scan takes new pages and those that are not older, and gives up on what is no page", () => {
  const since = lsnOf((1n << 32n) + 500n);
  const pages = [
    page(since - 1n, 1),
    page(since, 2),
    NEW_PAGE,
    page(since + 1n, 3),
    page(1n << 33n, 4),
    page(499n, 5),
  ];
  const scan = new PageScan(since);
  assert.equal(scan.push(Buffer.concat(pages), 10), "goes-on");
  assert.deepEqual(scan.blocks, [11, 12, 13, 14]);
  assert.equal(new PageScan(since).push(Buffer.alloc(PAGE_BYTES, 7), 0), "not-paged");
  assert.equal(new PageScan(since).push(page(0n, 1), 0), "not-paged", "a page that was never logged");
});

test("which names hold pages", () => {
  for (const good of ["/base/5/112", "/base/5/112.3", "/pg_tblspc/16385/PG_17_2/5/7"])
    assert.ok(isPagedName(good), good);
  for (const bad of [
    "/base/5/112_vm",
    "/base/5/112_fsm",
    "/base/5/112_init",
    "/base/5/t1_112",
    "/global/1262",
    "/pg_xact/0000",
    "base/5/112",
  ])
    assert.ok(!isPagedName(bad), bad);
});

test("an increment turns the old file into the new one, whatever grew, shrank or became zero", async () => {
  const folder = await mkdtemp(join(tmpdir(), "increment-"));
  try {
    const block = fc.record({ isChanged: fc.boolean(), isZero: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: 12 }),
        fc.array(block, { maxLength: 12 }),
        fc.integer({ min: 1, max: 20_000 }),
        async (oldPages, blocks, step) => {
          const before = Array.from({ length: oldPages }, (_, index) => page(100n, index + 1));
          const after = blocks.map(({ isChanged, isZero }, index) => {
            const old = before[index];
            if (old !== undefined && !isChanged) return old;
            return isZero ? NEW_PAGE : page(900n, 100 + index);
          });
          const scan = new PageScan(lsnOf(500n));
          assert.equal(scan.push(Buffer.concat(after), 0), "goes-on");
          const fileBytes = after.length * PAGE_BYTES;
          const bytes = Buffer.concat([
            encodeIncrementHead({ fileBytes, blocks: scan.blocks }),
            ...scan.blocks.map((number) => after[number]!),
          ]);
          assert.equal(bytes.length, incrementBytes(scan.blocks.length));
          const header = parseIncrementHeader(bytes, bytes.length);
          assert.deepEqual(header, { fileBytes, blockCount: scan.blocks.length });
          const numbers = parseIncrementBlocks(bytes.subarray(16, 16 + 4 * scan.blocks.length), header);
          assert.deepEqual([...numbers], scan.blocks);
          const path = join(folder, "relation");
          await writeFile(path, Buffer.concat(before));
          const sink = new IncrementSink(path, bytes.length);
          for (let at = 0; at < bytes.length; at += step) sink.write(bytes.subarray(at, at + step));
          sink.finish();
          sink.close();
          assert.ok((await readFile(path)).equals(Buffer.concat(after)));
        },
      ),
      { numRuns: 150 },
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
