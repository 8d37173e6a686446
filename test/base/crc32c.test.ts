import assert from "node:assert/strict";
import { test } from "node:test";
import { CRC32C_START, crc32c, crc32cFinish, crc32cUpdate } from "../../src/base/crc32c.ts";

// RFC 3720, B.4.
const KNOWN: readonly { name: string; bytes: Uint8Array; crc: number }[] = [
  { name: "the check string", bytes: Buffer.from("123456789"), crc: 0xe3069283 },
  { name: "32 zeros", bytes: Buffer.alloc(32), crc: 0x8a9136aa },
  { name: "32 bytes of ones", bytes: Buffer.alloc(32, 0xff), crc: 0x62a8ab43 },
  {
    name: "32 ascending bytes",
    bytes: Buffer.from(Array.from({ length: 32 }, (_, i) => i)),
    crc: 0x46dd794e,
  },
  { name: "nothing", bytes: new Uint8Array(0), crc: 0 },
];
for (const { name, bytes, crc } of KNOWN) test(`CRC-32C of ${name}`, () => assert.equal(crc32c(bytes), crc));

test("the checksum does not depend on how the bytes are cut", () => {
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7) & 255));
  for (const cut of [0, 1, 7, 8, 9, 500, 999]) {
    const state = crc32cUpdate(crc32cUpdate(CRC32C_START, bytes, 0, cut), bytes, cut);
    assert.equal(crc32cFinish(state), crc32c(bytes));
  }
});
