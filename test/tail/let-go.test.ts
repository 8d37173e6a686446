// Memory that is freed or filled early (a segment's one buffer, unpacked bodies): whoever still needs it must find it as it was.

import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { test } from "node:test";
import { cipherOf, noCipher } from "../../src/codec/encryption.ts";
import type { Codec } from "../../src/codec/seal.ts";
import { type ObjectStore, StoreError } from "../../src/storage/object-store.ts";
import { readAccepted } from "../../src/tail/assemble.ts";
import { LogUseError } from "../../src/tail/errors.ts";
import type { LogOwner } from "../../src/tail/owner.ts";
import { fetchPublished, publishedSource } from "../../src/tail/publish.ts";
import { SegmentBytes } from "../../src/tail/segment-bytes.ts";
import { sha256 } from "../../src/tail/slot.ts";
import { lsnOf, minLsn } from "../../src/wal/lsn.ts";
import { LogBench, overriding } from "../support/log-bench.ts";
import { type Random, below, drawSeed, makeRandom, mixedBytes } from "../support/random.ts";
import type { WalBuilder } from "../support/wal-builder.ts";

const MIB = 1n << 20n;
const SEGMENTS = 6;
const libsodium = await cipherOf({ kind: "libsodium", key: Buffer.alloc(32, 7) });

const codecs: readonly Codec[] = (["none", "lz4", "zstd"] as const).flatMap((method) =>
  [noCipher, libsodium].map((cipher) => ({ compression: { method }, cipher })),
);

/** A store that keeps what it was handed, as a request does that is under way long after its answer was lost. */
function slowReader(inner: ObjectStore, random: Random) {
  const handed: { readonly key: string; readonly body: Uint8Array; readonly sha256: string }[] = [];
  const store = overriding(inner, {
    create: async (key, body, signal) => {
      handed.push({ key, body, sha256: sha256(body) });
      for (let turn = below(random, 8); turn > 0; turn -= 1) await nextTurn();
      const outcome = await inner.create(key, body, signal);
      if (random() < 0.2) throw new StoreError("unknown", "the answer was lost");
      return outcome;
    },
  });
  const assertUnchanged = (): void => {
    for (const { key, body, sha256: before } of handed) assert.equal(sha256(body), before, key);
  };
  return { store, assertUnchanged };
}

/** Whole segments and a part of one more, in slots of any size. */
async function write(owner: LogOwner, wal: WalBuilder, random: Random): Promise<void> {
  const whole = lsnOf(wal.start + BigInt(SEGMENTS) * MIB);
  while (wal.end < whole) wal.record({ body: mixedBytes(1 + below(random, 300_000), random) });
  while (owner.end < wal.end) {
    const to = minLsn(wal.end, lsnOf(owner.end + BigInt(1 + below(random, 400_000))));
    await owner.append(owner.end, wal.timeline, wal.bytes(owner.end, to));
    if (random() < 0.8) await owner.flush();
  }
  await owner.flush();
}

async function assertInStore(bench: LogBench, wal: WalBuilder, codec: Codec): Promise<void> {
  const reading = { cipher: codec.cipher, preferred: codec.compression.method };
  for (let index = 0; index < SEGMENTS; index += 1) {
    const name = `0000000100000000000000${(16 + index).toString(16)}`;
    const found = await fetchPublished(bench.memory, name, reading, bench.signal);
    const start = lsnOf(wal.start + BigInt(index) * MIB);
    assert.ok(found !== null && wal.bytes(start, lsnOf(start + MIB)).equals(found), name);
  }
  const view = await bench.read({ cipher: codec.cipher });
  const published = publishedSource(bench.memory, Number(MIB), reading, bench.signal);
  const tools = { store: bench.memory, cipher: codec.cipher, published, signal: bench.signal };
  const pieces: Uint8Array[] = [];
  for await (const piece of readAccepted(view, view.tip!.path, wal.start, wal.end, tools)) pieces.push(piece);
  assert.ok(Buffer.concat(pieces).equals(wal.bytes()), "the log as a reader puts it together");
}

for (const codec of codecs) {
  const name = `${codec.compression.method}, cipher ${codec.cipher.name}`;

  test(`what was handed to the store stays as it was, and is right: ${name}`, async (t) => {
    const random = seeded(t);
    const bench = new LogBench({ signal: t.signal });
    const wal = bench.wal();
    const slow = slowReader(bench.memory, random);
    bench.store = slow.store;
    await using owner = await bench.found(wal, {
      codec,
      slotBytes: 128 << 10,
      baseDue: { slots: 9, bytes: 1 << 21 },
    });
    await write(owner, wal, random);
    await owner.whenAllPublished(t.signal);
    await assertInStore(bench, wal, codec);
    // W5: of the open segment the writer still compares what comes once more; the one before is published and gone.
    await owner.append(owner.streamFrom, 1, wal.bytes(owner.streamFrom));
    await assert.rejects(
      owner.append(lsnOf(owner.streamFrom - MIB), 1, wal.bytes(lsnOf(owner.streamFrom - MIB), owner.end)),
      LogUseError,
    );
    wal.record();
    await owner.append(owner.end, 1, wal.bytes(owner.end));
    await owner.flush();
    slow.assertUnchanged();
  });

  test(`a backlog that is read back from the log is published as it was written: ${name}`, async (t) => {
    const random = seeded(t);
    const bench = new LogBench({ signal: t.signal });
    const wal = bench.wal();
    bench.store = overriding(bench.memory, {
      create: async (key, body, signal) => {
        if (key.startsWith("wal_005/")) throw new StoreError("unknown", "no answer");
        return bench.memory.create(key, body, signal);
      },
    });
    const dying = await bench.found(wal, { codec });
    await write(dying, wal, random);
    await dying.close();
    const slow = slowReader(bench.memory, random);
    bench.store = slow.store;
    const claim = await bench.takeOver({ cipher: codec.cipher });
    await using owner = bench.owner(claim, { codec });
    await owner.begin({ kind: "continue" });
    await owner.whenAllPublished(t.signal);
    await assertInStore(bench, wal, codec);
    // W5: what the next bytes of the stream are compared with was read back too.
    await owner.append(owner.streamFrom, 1, wal.bytes(owner.streamFrom));
    slow.assertUnchanged();
  });
}

test("a slice of a segment stays as it was while the segment fills, and bytes given to begin with are not written to", (t) => {
  const random = seeded(t);
  for (let trial = 0; trial < 50; trial += 1) {
    const all = mixedBytes(64 << 10, random);
    const begun = Uint8Array.from(all.subarray(0, below(random, 3) * 1000));
    const segment = new SegmentBytes(lsnOf(MIB), all.byteLength, begun);
    const slices: { readonly from: number; readonly bytes: Uint8Array }[] = [];
    while (!segment.isFull) {
      const from = all.byteLength - segment.room;
      const part = all.subarray(from, from + 1 + below(random, Math.min(9000, segment.room)));
      const lent = Uint8Array.from(part);
      segment.append(lent);
      lent.fill(0xee); // its owner uses it again
      const first = below(random, from + part.byteLength);
      const bytes = segment.slice(lsnOf(segment.start + BigInt(first)), segment.end);
      slices.push({ from: first, bytes: bytes! });
    }
    for (const { from, bytes } of slices)
      assert.ok(all.subarray(from, from + bytes.byteLength).equals(bytes), `from ${from}`);
    assert.ok(all.subarray(0, begun.byteLength).equals(begun));
  }
});

function seeded(t: { diagnostic(message: string): void }): Random {
  const seed = drawSeed();
  t.diagnostic(`seed ${seed}`);
  return makeRandom(seed);
}
