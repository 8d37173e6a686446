// A very big number of objects is listed a page at a time: nothing is asked for before the reader gets there, and nothing is kept.

import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { openS3Store } from "../../src/storage/s3-store.ts";
import { scriptedS3 } from "../support/scripted-s3.ts";

const OBJECTS = 200_000;
const PAGE = 1000;
/** A page's text has some 100 KB; all pages together have 20 MB, and twice that as strings. */
const HEAP_BYTES_MOST = 32 << 20;

const keyOf = (number: number): string =>
  `wal_005/${number.toString(16).toUpperCase().padStart(24, "0")}.lz4`;

function pageFrom(first: number): string {
  const keys = Array.from({ length: Math.min(PAGE, OBJECTS - first) }, (_, index) => keyOf(first + index));
  const contents = keys.map((key) => `<Contents><Key>${key}</Key><Size>1048576</Size></Contents>`).join("");
  const next = first + PAGE;
  const more =
    next < OBJECTS
      ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${next}</NextContinuationToken>`
      : "";
  return `<ListBucketResult>${contents}${more}</ListBucketResult>`;
}

test(`${OBJECTS} objects are listed in order, a page at a time`, async (t) => {
  let pages = 0;
  const { settings } = await scriptedS3(t, ({ query }) => {
    pages += 1;
    return { status: 200, body: pageFrom(Number(query.get("continuation-token") ?? 0)) };
  });
  const store = await openS3Store(settings, { clock: systemClock, log: silentLog });
  let count = 0;
  let heapMost = 0;
  const heapBefore = process.memoryUsage().heapUsed;
  for await (const { key } of store.list("wal_005/", t.signal)) {
    if (key !== keyOf(count)) assert.fail(`${key} came as number ${count}`);
    count += 1;
    assert.ok(pages <= Math.ceil(count / PAGE) + 1, `${pages} pages for ${count} objects`);
    // What a collection would leave is what counts: pages that nobody holds may still lie around.
    if (count % 50_000 === 0) heapMost = Math.max(heapMost, await heapAfterCollection());
  }
  assert.equal(count, OBJECTS);
  assert.equal(pages, OBJECTS / PAGE);
  assert.ok(heapMost - heapBefore < HEAP_BYTES_MOST, `${(heapMost - heapBefore) >> 20} MiB more are held`);
});

async function heapAfterCollection(): Promise<number> {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
