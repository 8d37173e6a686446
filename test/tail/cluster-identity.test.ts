import assert from "node:assert/strict";
import { test } from "node:test";
import {
  claimIdentity,
  formatIdentity,
  parseIdentity,
  readIdentity,
} from "../../src/tail/cluster-identity.ts";
import { ForeignLogError, LogDamagedError } from "../../src/tail/errors.ts";
import { IDENTITY_KEY } from "../../src/tail/keys.ts";
import { MemoryStore } from "../support/memory-store.ts";

const ours = { systemId: 18_446_744_073_709_551_615n, segmentBytes: 16 << 20 };

test("an identity survives, with all digits of the system identifier", () => {
  assert.deepEqual(parseIdentity(formatIdentity(ours)), ours);
  assert.deepEqual(JSON.parse(Buffer.from(formatIdentity(ours)).toString()), {
    format: 1,
    systemId: "18446744073709551615",
    segmentSize: 16_777_216,
  });
});

test("it is put once, and read by all after", async (t) => {
  const store = new MemoryStore();
  assert.equal(await readIdentity(store, t.signal), null);
  await claimIdentity(store, ours, t.signal);
  await claimIdentity(store, ours, t.signal);
  assert.deepEqual(await readIdentity(store, t.signal), ours);
});

test("two founders of one prefix: the second is refused by name", async (t) => {
  const store = new MemoryStore();
  await claimIdentity(store, ours, t.signal);
  await assert.rejects(
    claimIdentity(store, { ...ours, systemId: 5n }, t.signal),
    (error) =>
      error instanceof ForeignLogError &&
      /belongs to system 18446744073709551615, not to 5/.test(error.message),
  );
  await assert.rejects(
    claimIdentity(store, { ...ours, segmentBytes: 1 << 20 }, t.signal),
    /names segments of 16777216 bytes/,
  );
});

const BAD = [
  "",
  "[]",
  "null",
  "{}",
  '{"format":2}',
  '{"format":1,"systemId":5,"segmentSize":1048576}',
  '{"format":1,"systemId":"5","segmentSize":1000}',
];
for (const text of BAD) {
  test(`damage: ${JSON.stringify(text)}`, async (t) => {
    const store = new MemoryStore();
    await store.put(IDENTITY_KEY, Buffer.from(text), t.signal);
    await assert.rejects(readIdentity(store, t.signal), LogDamagedError);
  });
}
