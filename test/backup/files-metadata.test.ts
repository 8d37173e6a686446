// The list of a backup's files: nanoseconds, names of any kind and corrupt blocks survive; it is read in pieces of any size.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  FileTable,
  type FilesMetadata,
  formatFilesMetadata,
  noFilesMetadata,
  readFilesMetadata,
} from "../../src/backup/files-metadata.ts";
import { BackupFormatError } from "../../src/backup/format-error.ts";
import { splitJsonEntries } from "../../src/backup/json-entries.ts";
import { streamOf } from "../../src/base/bytes.ts";

const name = fc.string({ unit: "grapheme", minLength: 1 }).map((text) => `/${text}`);
const entry = fc.record({
  mtime: fc.bigInt({ min: 1n, max: 4_000_000_000_000_000_000n }),
  kind: fc.constantFrom("whole", "increment", "skipped"),
});
const metadata: fc.Arbitrary<FilesMetadata> = fc
  .record({
    files: fc.dictionary(name, entry),
    sets: fc.dictionary(name, fc.array(name)),
    corrupt: fc.dictionary(name, fc.array(fc.nat(), { minLength: 1, maxLength: 3 })),
  })
  .map(({ files, sets, corrupt }) => {
    const table = new FileTable();
    for (const [file, { mtime, kind }] of Object.entries(files))
      table.set(file, { mtime, isIncremented: kind === "increment", isSkipped: kind === "skipped" });
    const bad = Object.entries(corrupt).filter(([file]) => table.has(file));
    return {
      files: table,
      tarFileSets: new Map(Object.entries(sets)),
      databases: new Map([["app", { oid: 16_384, tables: { "public.t": { oid: 1, relfilenode: 2 } } }]]),
      corrupt: new Map(bad.map(([file, some]) => [file, { count: some.length, some }])),
    };
  });
const shown = ({ files, tarFileSets, databases, corrupt }: FilesMetadata): unknown => ({
  files: [...files],
  tarFileSets: [...tarFileSets],
  databases: [...databases],
  corrupt: [...corrupt],
});

test("a list survives printing and reading, in pieces of any size", async () => {
  await fc.assert(
    fc.asyncProperty(metadata, fc.integer({ min: 1, max: 200 }), async (list, step) => {
      const bytes = Buffer.concat([...formatFilesMetadata(list)]);
      const pieces = Array.from({ length: Math.ceil(bytes.length / step) }, (_, index) =>
        bytes.subarray(index * step, (index + 1) * step),
      );
      assert.deepEqual(shown(await readFilesMetadata(streamOf(...pieces), "list")), shown(list));
    }),
    { numRuns: 200 },
  );
});

test("an empty list is an empty object, and many files go out in many pieces", () => {
  assert.equal(Buffer.concat([...formatFilesMetadata(noFilesMetadata())]).toString(), "{}");
  const files = new FileTable();
  for (let index = 0; index < 20_000; index += 1)
    files.set(`/base/5/${index}`, { mtime: 1n, isIncremented: false, isSkipped: false });
  const pieces = [...formatFilesMetadata({ ...noFilesMetadata(), files })];
  assert.ok(pieces.length > 10 && pieces.every(({ byteLength }) => byteLength < 1 << 20));
  assert.equal(files.size, 20_000);
});

test("WAL-G's list with an offset of its clock, the older form of corrupt blocks, and unknown keys", async () => {
  const text = `{"Unknown":[1],"Files":{"/base/5/1":{"IsIncremented":false,"IsSkipped":true,"Later":{"x":[]},
    "MTime":"2026-08-21T20:02:56.690095409+02:00","UpdatesCount":3},"/b":{"IsIncremented":true,"CorruptBlocks":[7,9],"MTime":"2026-08-21T18:02:56Z"}}}`;
  const { files, corrupt } = await readFilesMetadata(streamOf(Buffer.from(text)), "list");
  assert.deepEqual(files.get("/base/5/1"), {
    mtime: 1_787_335_376_690_095_409n,
    isIncremented: false,
    isSkipped: true,
  });
  assert.deepEqual([...corrupt], [["/b", { count: 2, some: [7, 9] }]]);
});

test("what is cut, no object, or contradicts itself is refused", async () => {
  for (const bad of [
    "",
    "[]",
    '{"Files":{',
    '{"Files":[]}',
    '{"Files":{"/a":1}}',
    '{"Files":{"/a":{"MTime":"yesterday"}}}',
    '{"Files":{"/a":{"IsIncremented":true,"IsSkipped":true,"MTime":"2026-08-21T18:02:56Z"}}}',
    '{"TarFileSets":{"part_001.tar":["/a",5]}}',
    '{"Files":{}} x',
  ])
    await assert.rejects(readFilesMetadata(streamOf(Buffer.from(bad)), "list"), BackupFormatError, bad);
});

test("an entry that is larger than allowed is refused before it is gathered", async () => {
  const huge = Buffer.from(`{"Files":{"/a":"${"x".repeat(10_000)}"}}`);
  const read = async (): Promise<void> => {
    for await (const _ of splitJsonEntries(streamOf(huge), "list", 1000)) assert.fail("nothing is yielded");
  };
  await assert.rejects(read(), BackupFormatError);
});
