import assert from "node:assert/strict";
import { test } from "node:test";
import { WalBuilder } from "../support/wal-builder.ts";
import { makeRandom } from "../support/random.ts";
import { lsnOf } from "../../src/wal/lsn.ts";
import {
  PAGE_BYTES,
  PAGE_MAGIC,
  decodePageHeader,
  faultOfPage,
  identifySegment,
  versionOfMagic,
} from "../../src/wal/page.ts";

test("the first page of a segment tells system, size, version, timeline and place", () => {
  const wal = new WalBuilder({
    at: "2/3000000",
    timeline: 5,
    segmentBytes: 16 << 20,
    systemId: 9n,
    version: 18,
  });
  wal.record();
  assert.deepEqual(identifySegment(wal.bytes()), {
    systemId: 9n,
    segmentBytes: 16 << 20,
    version: 18,
    timeline: 5,
    start: lsnOf(0x2_0300_0000n),
  });
});

test("what is no first page of a segment identifies nothing", () => {
  const wal = new WalBuilder();
  wal.record({ bytes: 20_000 });
  assert.equal(identifySegment(wal.bytes(lsnOf(wal.start + 8192n))), null);
  assert.equal(identifySegment(Buffer.alloc(8192)), null);
  assert.equal(identifySegment(new Uint8Array(10)), null);
});

test("a short header has 24 bytes, a long one 40; fewer decode to nothing", () => {
  const wal = new WalBuilder();
  wal.record({ bytes: 20_000 });
  assert.equal(decodePageHeader(wal.bytes().subarray(0, 39)), null);
  assert.equal(decodePageHeader(wal.bytes().subarray(PAGE_BYTES, PAGE_BYTES + 23)), null);
  assert.equal(decodePageHeader(wal.bytes().subarray(PAGE_BYTES, PAGE_BYTES + 24))?.long, null);
});

const wal = new WalBuilder();
wal.record({ bytes: 20_000 });
const expected = { address: wal.start, segmentBytes: wal.segmentBytes, magic: null, systemId: wal.systemId };
const FAULTS: readonly { name: string; damage: (page: Buffer) => void; fault: RegExp }[] = [
  { name: "magic", damage: (page) => page.writeUInt16LE(1, 0), fault: /^magic number 0001$/ },
  { name: "info bits", damage: (page) => page.writeUInt16LE(0x12, 2), fault: /^info bits 12$/ },
  { name: "address", damage: (page) => page.writeBigUInt64LE(5n, 8), fault: /^page address 5$/ },
  { name: "system", damage: (page) => page.writeBigUInt64LE(5n, 24), fault: /^system identifier 5$/ },
  { name: "segment size", damage: (page) => page.writeUInt32LE(5, 32), fault: /^segment size 5$/ },
  { name: "page size", damage: (page) => page.writeUInt32LE(5, 36), fault: /^page size 5$/ },
  { name: "short header", damage: (page) => page.writeUInt16LE(0, 2), fault: /^long header where/ },
];
for (const { name, damage, fault } of FAULTS) {
  test(`a page with a wrong ${name} is named`, () => {
    const page = wal.bytes().subarray(0, PAGE_BYTES);
    assert.equal(faultOfPage(decodePageHeader(page)!, expected), null);
    damage(page);
    assert.match(faultOfPage(decodePageHeader(page)!, expected)!, fault);
  });
}

test("magic and version belong together", () => {
  for (const [version, magic] of Object.entries(PAGE_MAGIC))
    assert.equal(versionOfMagic(magic), Number(version));
  assert.equal(versionOfMagic(0xd0ff), null);
});

test("garbage never throws", () => {
  const random = makeRandom(3);
  for (let i = 0; i < 2_000; i += 1) {
    const bytes = Buffer.from(
      Array.from({ length: Math.floor(random() * 60) }, () => Math.floor(random() * 256)),
    );
    decodePageHeader(bytes);
    identifySegment(bytes);
  }
});
