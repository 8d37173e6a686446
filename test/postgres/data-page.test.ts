// Page headers and checksums, on pages built here.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  hasSoundHeader,
  isNewPage,
  PAGE_BYTES,
  pageChecksum,
  pageLsn,
  storedChecksum,
  verifyInJavaScript,
  verifyPages,
} from "../../src/postgres/data-page.ts";
import { checksumModule } from "../../src/postgres/page-checksum-wasm.ts";
import { formatLsn } from "../../src/wal/lsn.ts";

/** A page with a sound header, random items and the right checksum. */
function page(block: number, { lsn = 0x0000_0001_0200_0030n } = {}): Buffer {
  const bytes = randomBytes(PAGE_BYTES);
  bytes.writeUInt32LE(Number(lsn >> 32n), 0);
  bytes.writeUInt32LE(Number(lsn & 0xffff_ffffn), 4);
  bytes.writeUInt16LE(0, 8);
  bytes.writeUInt16LE(0, 10);
  bytes.writeUInt16LE(40, 12);
  bytes.writeUInt16LE(8000, 14);
  bytes.writeUInt16LE(PAGE_BYTES, 16);
  bytes.writeUInt16LE(PAGE_BYTES | 4, 18);
  bytes.writeUInt16LE(pageChecksum(bytes, block), 8);
  return bytes;
}

test("the LSN's high half comes first", () => {
  assert.equal(formatLsn(pageLsn(page(0))), "1/2000030");
  assert.equal(formatLsn(pageLsn(Buffer.concat([page(0), page(1, { lsn: 0x7n })]), PAGE_BYTES)), "0/7");
});

test("headers: sound, new, and wrong in one field each", () => {
  const sound = page(3);
  assert.ok(hasSoundHeader(sound));
  assert.ok(!isNewPage(sound));
  const fresh = Buffer.alloc(PAGE_BYTES);
  assert.ok(isNewPage(fresh));
  assert.ok(!hasSoundHeader(fresh));
  for (const [field, at, value] of [
    ["flags", 10, 0x8000],
    ["lower below the header", 12, 20],
    ["lower above upper", 12, 8001],
    ["upper above special", 14, 8193],
    ["special above the page", 16, 8194],
    ["page size", 18, 4096 | 4],
    ["layout version", 18, PAGE_BYTES | 3],
  ] as const) {
    const wrong = Buffer.from(sound);
    wrong.writeUInt16LE(value, at);
    assert.ok(!hasSoundHeader(wrong), field);
  }
});

test("the WebAssembly program is one that this machine takes", () => {
  const { WebAssembly } = globalThis as unknown as { WebAssembly: { validate(code: Uint8Array): boolean } };
  assert.ok(WebAssembly.validate(checksumModule()));
});

test("with and without WebAssembly the same pages are wrong", () => {
  for (const pages of [1, 2, 127, 128, 129, 300]) {
    const first = 131_072 * 5 + 17;
    const bytes = Buffer.concat(Array.from({ length: pages }, (_, at) => page(first + at)));
    assert.deepEqual(verifyPages(bytes, first), []);
    assert.deepEqual(verifyInJavaScript(bytes, first), []);
    const wrong = [...new Set([0, pages - 1, pages >> 1])].sort((a, b) => a - b);
    for (const index of wrong) bytes[index * PAGE_BYTES + 5000]! ^= 1;
    assert.deepEqual(verifyPages(bytes, first), wrong, `${pages} pages`);
    assert.deepEqual(verifyInJavaScript(bytes, first), wrong);
  }
});

test("any flipped bit of a page is found, in the header too", () => {
  const bytes = page(9);
  for (let bit = 0; bit < PAGE_BYTES * 8; bit += 61) {
    const at = bit >> 3;
    if (at === 14 || at === 15) continue; // pd_upper: could make it a new page
    bytes[at]! ^= 1 << (bit & 7);
    assert.deepEqual(verifyPages(bytes, 9), [0], `bit ${bit}`);
    bytes[at]! ^= 1 << (bit & 7);
  }
  assert.deepEqual(verifyPages(bytes, 9), []);
});

test("a right page at the wrong block is wrong, a new page is never", () => {
  assert.deepEqual(verifyPages(page(9), 10), [0]);
  assert.deepEqual(verifyPages(Buffer.concat([Buffer.alloc(PAGE_BYTES), page(1)]), 0), []);
});

test("bytes are left as they were, also from the middle of a larger buffer", () => {
  const whole = Buffer.concat([Buffer.from([1, 2, 3]), page(7), page(8)]);
  const before = Buffer.from(whole);
  assert.deepEqual(verifyPages(whole.subarray(3), 7), []);
  assert.deepEqual(verifyInJavaScript(whole.subarray(3), 7), []);
  assert.deepEqual(whole, before);
});

test("block numbers up to the last one count as unsigned", () => {
  const last = 0xffff_fffe;
  const bytes = page(last);
  assert.deepEqual(verifyPages(bytes, last), []);
  assert.deepEqual(verifyInJavaScript(bytes, last), []);
  assert.notEqual(storedChecksum(bytes), 0);
});

test("half a page is refused", () => {
  assert.throws(() => verifyPages(Buffer.alloc(PAGE_BYTES + 1), 0), /8193 bytes are not whole pages of 8192/);
  assert.deepEqual(verifyPages(Buffer.alloc(0), 0), []);
});
