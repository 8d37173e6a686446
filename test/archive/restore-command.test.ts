// restore_command: what is served, what never is, and with which exit status.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Situation } from "../../src/archive/answer.ts";
import type { ArchiveSource } from "../../src/archive/archive-source.ts";
import { readSourceLog } from "../../src/archive/archive-source.ts";
import { RestoreCommand } from "../../src/archive/restore-command.ts";
import type { RestoreCommandOptions } from "../../src/archive/restore-status.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import { seal } from "../../src/codec/seal.ts";
import { addBytes, formatLsn, type Lsn } from "../../src/wal/lsn.ts";
import { historyName, segmentAt, segmentName } from "../../src/wal/segment-name.ts";
import { LZ4 } from "../support/archive-bench.ts";
import { FaultyStore, NO_FAULTS } from "../support/faulty-store.ts";
import { ownedLog } from "../support/log-owner.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { makeRandom } from "../support/random.ts";
import { WalBuilder } from "../support/wal-builder.ts";

const MIB = 1 << 20;
const never = new AbortController().signal;

/** Three and a half segments of WAL on timeline 1. */
function someWal(systemId = 7_000_000_000_000_000_001n): WalBuilder {
  const wal = new WalBuilder({ systemId });
  while (wal.end < wal.start + BigInt(3.5 * MIB)) wal.record({ bytes: 5_000 });
  return wal;
}

const nameAt = (lsn: Lsn, timeline = 1): string => segmentName(segmentAt(timeline, lsn, MIB), MIB);

interface Bench {
  readonly store: MemoryStore;
  readonly source: ArchiveSource;
  readonly folder: string;
  readonly target: string;
  readonly command: (situation: Situation, change?: Partial<RestoreCommandOptions>) => RestoreCommand;
  /** Asks for a name; its exit status, and the bytes served. */
  readonly ask: (
    command: RestoreCommand,
    name: string,
  ) => Promise<{ exit: number; bytes: Buffer | null; sentence: string }>;
  readonly put: (name: string, bytes: Uint8Array) => Promise<void>;
}

async function bench(t: TestContext, change: Partial<ArchiveSource> = {}): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-serve-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, "data", "pg_wal"), { recursive: true });
  const store = new MemoryStore();
  const target = join(folder, "data", "pg_wal", "RECOVERYXLOG");
  const source: ArchiveSource = {
    ...{ store, cipher: noCipher, likely: "lz4", clock: systemClock, log: silentLog },
    ...{ segmentBytes: MIB, systemId: 7_000_000_000_000_000_001n, magic: null },
    ...change,
  };
  const over = new AbortController();
  t.after(() => over.abort());
  return {
    ...{ store, source, folder, target },
    command: (situation, more = {}) =>
      new RestoreCommand({
        ...{ source, situation, target: "latest", signal: over.signal },
        dataDirectory: join(folder, "data"),
        spool: join(folder, "spool"),
        patience: { firstMs: 5, mostMs: 20, tries: 4 },
        ...more,
      }),
    ask: async (command, name) => {
      await rm(target, { force: true });
      const { exit, sentence } = await command.answer({ name, path: "pg_wal/RECOVERYXLOG" }, never);
      const bytes = await readFile(target).catch(() => null);
      return { exit, bytes, sentence };
    },
    put: async (name, bytes) => store.put(`wal_005/${name}.lz4`, await seal(bytes, LZ4), never),
  };
}

test("a complete segment is served whole, and the next ones out of the spool", async (t) => {
  const { store, command, ask } = await bench(t);
  const wal = someWal();
  await ownedLog(t, store, wal);
  const restore = command("restore");
  for (const index of [0, 1, 2]) {
    const start = addBytes(wal.start, index * MIB);
    const { exit, bytes } = await ask(restore, nameAt(start));
    assert.equal(exit, 0);
    assert.ok(wal.bytes(start, addBytes(start, MIB)).equals(bytes!));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(restore.status().fromSpool >= 1);
  assert.equal(restore.status().segmentsServed, 3);
  await restore.close();
});

test("the open segment: padded for a restore, never for a standby", async (t) => {
  const { store, command, ask } = await bench(t);
  const wal = someWal();
  await ownedLog(t, store, wal);
  const start = addBytes(wal.start, 3 * MIB);
  const served = await ask(command("restore"), nameAt(start));
  assert.equal(served.exit, 0);
  assert.ok(wal.bytes(start, addBytes(start, MIB)).equals(served.bytes!));
  const standby = await ask(command("standby"), nameAt(start));
  assert.equal(standby.exit, 1);
  assert.equal(standby.bytes, null);
  const behind = await ask(command("restore"), nameAt(addBytes(start, MIB)));
  assert.equal(behind.exit, 1);
});

test("a catch-up gets the open segment only where its own copy is shorter and equal", async (t) => {
  const { store, command, ask, folder } = await bench(t);
  const wal = someWal();
  const end = addBytes(wal.start, 3 * MIB + 3 * 8192);
  await ownedLog(t, store, wal, end);
  const start = addBytes(wal.start, 3 * MIB);
  const name = nameAt(start);
  const local = join(folder, "data", "pg_wal", name);
  const padded = (until: Lsn): Buffer =>
    Buffer.concat([wal.bytes(start, until), Buffer.alloc(MIB)]).subarray(0, MIB);
  const answer = async (bytes: Buffer | null): Promise<number> => {
    if (bytes === null) await rm(local, { force: true });
    else await writeFile(local, bytes);
    return (await ask(command("catch-up"), name)).exit;
  };
  assert.equal(await answer(null), 0);
  assert.equal(await answer(padded(addBytes(start, 8192))), 0, "shorter and equal");
  assert.equal(await answer(padded(end)), 1, "as long");
  assert.equal(await answer(padded(addBytes(end, 100_000))), 1, "longer");
  const recycled = wal.bytes(addBytes(start, -MIB), start);
  assert.equal(await answer(recycled), 0, "a recycled file is judged by its pages");
  const other = padded(addBytes(end, 100_000));
  const foreign = someWal();
  foreign.record({ bytes: 7 });
  other[20_000] = other[20_000]! ^ 1;
  assert.equal(await answer(other), 0, "a damaged record ends what the local copy has");
});

test("a copy that differs below the end is never overwritten, and is told", async (t) => {
  const { store, command, ask, folder } = await bench(t);
  const wal = new WalBuilder();
  for (let at = 0; at < 40; at += 1) wal.record({ bytes: 1_000 });
  const other = new WalBuilder();
  for (let at = 0; at < 40; at += 1) other.record({ bytes: at < 10 ? 1_000 : 900 });
  await ownedLog(t, store, wal);
  const name = nameAt(wal.start);
  await writeFile(
    join(folder, "data", "pg_wal", name),
    Buffer.concat([other.bytes(), Buffer.alloc(MIB)]).subarray(0, MIB),
  );
  const catchUp = command("catch-up");
  assert.equal((await ask(catchUp, name)).exit, 1);
  assert.match(catchUp.status().alarms.join(), /the local copy differs from the store at 0\/1002/);
});

test("nothing of a timeline past the point where the path leaves it", async (t) => {
  const { put, command, ask } = await bench(t);
  const wal = someWal();
  const fork = addBytes(wal.start, MIB + 100_000);
  for (const index of [0, 1, 2]) {
    const start = addBytes(wal.start, index * MIB);
    await put(nameAt(start), wal.bytes(start, addBytes(start, MIB)));
  }
  await put(historyName(2), Buffer.from(`1\t${formatLsn(fork)}\tno reason\n`));
  const restore = command("restore");
  const second = await ask(restore, nameAt(addBytes(wal.start, MIB)));
  assert.equal(second.exit, 0);
  assert.ok(second.bytes!.subarray(0, 100_000).equals(wal.bytes(addBytes(wal.start, MIB), fork)));
  assert.ok(second.bytes!.subarray(100_000).every((byte) => byte === 0));
  assert.equal((await ask(restore, nameAt(addBytes(wal.start, 2 * MIB)))).exit, 1);
  // The child never completed its segment: it is put together from the parent's bytes.
  const child = await ask(restore, nameAt(fork, 2));
  assert.equal(child.exit, 0);
  assert.ok(child.bytes!.equals(second.bytes!));
});

const wal = someWal();
const whole = wal.bytes(wal.start, addBytes(wal.start, MIB));
const next = wal.bytes(addBytes(wal.start, MIB), addBytes(wal.start, 2 * MIB));
const foreign = someWal(42n);

const damaged: readonly { readonly name: string; readonly bytes: Uint8Array; readonly says: RegExp }[] = [
  { name: "an empty one", bytes: new Uint8Array(0), says: /holds 0 of 1048576 bytes/ },
  { name: "a cut one", bytes: whole.subarray(0, MIB - 8192), says: /holds 1040384 of 1048576 bytes/ },
  { name: "one of another place", bytes: next, says: /page address/ },
  {
    name: "one of another cluster",
    bytes: foreign.bytes(wal.start, addBytes(wal.start, MIB)),
    says: /system identifier 42/,
  },
  { name: "zeros", bytes: new Uint8Array(MIB), says: /magic number 0000/ },
];

for (const { name, bytes, says } of damaged) {
  test(`never served: ${name}; a restore stops (255), a standby waits (1)`, async (t) => {
    const { put, command, ask } = await bench(t);
    await put(nameAt(wal.start), bytes);
    const restore = command("restore");
    const answer = await ask(restore, nameAt(wal.start));
    assert.equal(answer.exit, 255);
    assert.equal(answer.bytes, null);
    assert.match(answer.sentence, says);
    assert.equal(restore.status().doubt?.name, nameAt(wal.start));
    assert.equal((await ask(command("standby"), nameAt(wal.start))).exit, 1);
  });
}

test("an object that does not unpack is a doubt", async (t) => {
  const { store, command, ask } = await bench(t);
  await store.put(`wal_005/${nameAt(wal.start)}.lz4`, Buffer.from("not lz4 at all"), never);
  assert.equal((await ask(command("restore"), nameAt(wal.start))).exit, 255);
  await store.put(`wal_005/${nameAt(wal.start)}.lz4`, new Uint8Array(0), never);
  assert.equal((await ask(command("restore"), nameAt(wal.start))).exit, 255);
});

test("a store that does not answer is a doubt, not an end; it passes when the store is back", async (t) => {
  const inner = new MemoryStore();
  const store = new FaultyStore(inner, NO_FAULTS, { random: makeRandom(3), clock: systemClock });
  const { command, ask } = await bench(t, { store });
  await inner.put(`wal_005/${nameAt(wal.start)}.lz4`, await seal(whole, LZ4), never);
  const restore = command("restore");
  assert.equal((await ask(restore, nameAt(wal.start))).exit, 0);
  store.reachable = false;
  const away = await ask(restore, nameAt(addBytes(wal.start, MIB)));
  assert.equal(away.exit, 255);
  store.reachable = true;
  assert.equal((await ask(restore, nameAt(addBytes(wal.start, MIB)))).exit, 1);
  assert.equal(restore.status().doubt, null);
});

test("histories: accepted ones, holes, and what the log never accepted", async (t) => {
  const { store, put, command, ask } = await bench(t);
  const owner = await ownedLog(t, store, wal);
  const fork = wal.end;
  const body = Buffer.from(`1\t${formatLsn(fork)}\tno recovery target specified\n`);
  await owner.history({ timeline: 3, parent: 1, fork, promotion: "a".repeat(32), cut: false, body });
  await owner.whenAllPublished(never);
  await put("00000004.history", Buffer.from(`3\t${formatLsn(fork)}\tx\n`)); // X12: pushed by someone, accepted by nobody
  for (const situation of ["restore", "standby"] as const) {
    const answers = command(situation);
    const third = await ask(answers, "00000003.history");
    assert.equal(third.exit, 0);
    assert.deepEqual(third.bytes, body);
    const hole = await ask(answers, "00000002.history");
    assert.equal(hole.exit, 0);
    assert.equal(hole.bytes!.byteLength, 0);
    assert.equal((await ask(answers, "00000004.history")).exit, 1);
    assert.equal((await ask(answers, "00000001.history")).exit, 1);
  }
});

test("between the drain and the end of a promotion the answers do not change", async (t) => {
  const { store, put, command, ask, source } = await bench(t);
  const owner = await ownedLog(t, store, wal);
  const restore = command("restore");
  const open = nameAt(addBytes(wal.start, 3 * MIB));
  const before = await ask(restore, open);
  await restore.freeze(await readSourceLog(source, never));
  assert.equal((await ask(restore, "00000002.history")).exit, 1);
  const missing = nameAt(addBytes(wal.start, 4 * MIB));
  assert.equal((await ask(restore, missing)).exit, 1);
  const end = owner.end;
  wal.record({ bytes: 50_000 });
  await owner.append(end, 1, wal.bytes(end, wal.end));
  await owner.flush();
  await put(missing, next);
  assert.ok((await ask(restore, open)).bytes!.equals(before.bytes!));
  assert.equal((await ask(restore, missing)).exit, 1);
  restore.thaw();
});

test("what is served belongs to the folder's owner and nobody else may read it", async (t) => {
  const { put, command, ask, target } = await bench(t);
  await put(nameAt(wal.start), whole);
  await ask(command("restore"), nameAt(wal.start));
  const { mode } = await stat(target);
  assert.equal(mode & 0o777, 0o600);
});

test("names that recovery has no use for are absent", async (t) => {
  const { command, ask } = await bench(t);
  for (const name of ["x", "000000010000000000000001.partial", "RECOVERYXLOG"]) {
    assert.equal((await ask(command("restore"), name)).exit, 1);
  }
});
