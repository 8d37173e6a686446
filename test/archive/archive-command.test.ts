// archive_command: may Postgres forget the file? A1 to A6, on a real log in memory.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ArchiveCommand } from "../../src/archive/archive-command.ts";
import { answerArchive } from "../../src/archive/streamer.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { FencedError } from "../../src/tail/errors.ts";
import type { LogOwner } from "../../src/tail/owner.ts";
import { addBytes, formatLsn, type Lsn } from "../../src/wal/lsn.ts";
import { segmentAt, segmentName } from "../../src/wal/segment-name.ts";
import { LZ4 } from "../support/archive-bench.ts";
import { FaultyStore, NO_FAULTS } from "../support/faulty-store.ts";
import { ownedLog } from "../support/log-owner.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { makeRandom } from "../support/random.ts";
import { WalBuilder } from "../support/wal-builder.ts";

const MIB = 1 << 20;
const never = new AbortController().signal;

interface Bench {
  readonly memory: MemoryStore;
  readonly store: FaultyStore;
  readonly owner: LogOwner;
  readonly wal: WalBuilder;
  readonly stopping: AbortController;
  readonly command: ArchiveCommand;
  /** Writes the file and asks; the exit status. */
  readonly ask: (name: string, bytes: Uint8Array) => Promise<number>;
  readonly segment: (index: number) => { readonly name: string; readonly start: Lsn; readonly bytes: Buffer };
}

/** An owner whose log holds `segments` and a half; WAL for some more is built. */
async function bench(
  t: TestContext,
  { segments, isStreaming = false }: { segments: number; isStreaming?: boolean },
): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-archive-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const memory = new MemoryStore();
  const store = new FaultyStore(memory, NO_FAULTS, { random: makeRandom(5), clock: systemClock });
  const wal = new WalBuilder();
  while (wal.end < wal.start + BigInt(5 * MIB)) wal.record({ bytes: 3_000 });
  const tools = { clock: systemClock, log: silentLog, signal: never, random: Math.random };
  const owner = await ownedLog(t, store, wal, addBytes(wal.start, Math.round((segments + 0.5) * MIB)));
  const stopping = new AbortController();
  const command = new ArchiveCommand({
    ...{ owner, dataDirectory: folder, segmentBytes: MIB, clock: systemClock, log: silentLog },
    publish: { ...tools, store, codec: LZ4, fencing: "conditional" },
    isStreaming: () => isStreaming,
    stopping: stopping.signal,
  });
  return {
    ...{ memory, store, owner, wal, stopping, command },
    ask: async (name, bytes) => {
      await writeFile(join(folder, name), bytes);
      return (await command.answer({ name, path: name }, never)).exit;
    },
    segment: (index) => {
      const start = addBytes(wal.start, index * MIB);
      return {
        start,
        name: segmentName(segmentAt(1, start, MIB), MIB),
        bytes: wal.bytes(start, addBytes(start, MIB)),
      };
    },
  };
}

test("A1: a segment that is durable with the same bytes may go; without a request when it was published lately", async (t) => {
  const { ask, segment, store } = await bench(t, { segments: 2 });
  store.reachable = false;
  assert.equal(await ask(segment(0).name, segment(0).bytes), 0);
  assert.equal(await ask(segment(1).name, segment(1).bytes), 0);
});

test("A3: other bytes are refused, told once, and nothing is overwritten", async (t) => {
  const { ask, segment, command, memory } = await bench(t, { segments: 2 });
  const { name, bytes } = segment(1);
  const stored = [...memory.objects.entries()].map(([key, { bytes: held }]) => [
    key,
    Buffer.from(held).toString("base64"),
  ]);
  const other = Buffer.from(bytes);
  other[500_000] = other[500_000]! ^ 1;
  assert.equal(await ask(name, other), 1);
  assert.equal(await ask(name, other), 1);
  assert.deepEqual(command.alarms, [name]);
  const after = [...memory.objects.entries()].map(([key, { bytes: held }]) => [
    key,
    Buffer.from(held).toString("base64"),
  ]);
  assert.deepEqual(after, stored);
});

test("A4: without a replication connection the next segment is taken from the file, and only the next", async (t) => {
  const { ask, segment, owner } = await bench(t, { segments: 1 });
  assert.equal(await ask(segment(3).name, segment(3).bytes), 1, "not the next one");
  assert.equal(await ask(segment(1).name, segment(1).bytes), 0);
  assert.equal(owner.end, segment(2).start);
  assert.equal(await ask(segment(2).name, segment(2).bytes), 0);
  assert.equal(await ask(segment(3).name, segment(3).bytes), 0);
  assert.ok(owner.durable! >= segment(4).start);
});

test("A4: a file that does not agree with the log is not taken", async (t) => {
  const { ask, segment, owner } = await bench(t, { segments: 1 });
  const other = Buffer.from(segment(1).bytes);
  other[100] = other[100]! ^ 1;
  const before = owner.end;
  assert.equal(await ask(segment(1).name, other), 1);
  assert.equal(owner.end, before);
});

test("while WAL is streamed a segment waits for the stream", async (t) => {
  const { ask, segment, owner, wal } = await bench(t, { segments: 1, isStreaming: true });
  const asked = ask(segment(1).name, segment(1).bytes);
  await owner.append(owner.end, 1, wal.bytes(owner.end, segment(2).start));
  assert.equal(await asked, 0);
});

test("W8: from SIGINT on the answer comes at once, also to a question that waits", async (t) => {
  const { ask, segment, stopping } = await bench(t, { segments: 1, isStreaming: true });
  const asked = ask(segment(1).name, segment(1).bytes);
  setTimeout(() => stopping.abort(new Error("stopping")), 50);
  const began = performance.now();
  assert.equal(await asked, 1);
  assert.equal(await ask(segment(2).name, segment(2).bytes), 1);
  assert.ok(performance.now() - began < 2_000);
  assert.equal(await ask(segment(0).name, segment(0).bytes), 0, "what is durable may still go");
});

test("A5: a node that lost the log, or owns none, keeps everything", async (t) => {
  const { ask, segment, owner } = await bench(t, { segments: 1 });
  assert.equal((await answerArchive(null, { name: segment(0).name, path: "x" }, never)).exit, 1);
  owner.lost.throwIfAborted();
  const other = new FencedError("another node took over");
  Object.defineProperty(owner, "lost", { value: AbortSignal.abort(other) });
  assert.equal(await ask(segment(0).name, segment(0).bytes), 1);
});

test("A6: histories and partial segments go by what the log accepted, backup files are stored once", async (t) => {
  const { ask, segment, owner, memory } = await bench(t, { segments: 1 });
  const fork = owner.recordEnd!;
  const body = Buffer.from(`1\t${formatLsn(fork)}\tno recovery target specified\n`);
  assert.equal(await ask("00000002.history", body), 1);
  assert.equal(await ask(`${segment(1).name}.partial`, segment(1).bytes), 1);
  if (fork > owner.end) await owner.append(owner.end, 1, Buffer.alloc(Number(fork - owner.end)));
  await owner.history({ timeline: 2, parent: 1, fork, promotion: "b".repeat(32), cut: false, body });
  assert.equal(await ask("00000002.history", body), 0);
  assert.equal(await ask("00000002.history", Buffer.from("1\t0/1\tother\n")), 1);
  assert.equal(await ask(`${segment(1).name}.partial`, segment(1).bytes), 0);
  const backup = `${segment(0).name}.00000028.backup`;
  assert.equal(await ask(backup, Buffer.from("START WAL LOCATION")), 0);
  assert.equal(await ask(backup, Buffer.from("START WAL LOCATION")), 0);
  assert.equal(await ask(backup, Buffer.from("another")), 1);
  assert.ok(memory.objects.has(`wal_005/${backup}.lz4`));
});

test("A6: what is left of a former timeline may go, or nothing behind it ever would", async (t) => {
  const { ask, segment, owner } = await bench(t, { segments: 1 });
  const leftover = segment(1);
  const other = Buffer.alloc(MIB);
  const fork = owner.recordEnd!;
  if (fork > owner.end) await owner.append(owner.end, 1, Buffer.alloc(Number(fork - owner.end)));
  const body = Buffer.from(`1\t${formatLsn(fork)}\tno recovery target specified\n`);
  await owner.history({ timeline: 3, parent: 1, fork, promotion: "b".repeat(32), cut: false, body });
  assert.equal(await ask(leftover.name, leftover.bytes), 0, "the fork lies in it");
  assert.equal(await ask(segment(2).name, other), 0, "it lies behind the fork");
  assert.equal(await ask(leftover.name.replace(/^.{8}/, "00000002"), other), 0, "a timeline beside the path");
  assert.equal(await ask("00000002.history", body), 0);
  assert.equal(await ask(leftover.name.replace(/^.{8}/, "00000003"), other), 1, "the log's own timeline");
  assert.equal(await ask(leftover.name.replace(/^.{8}/, "00000004"), other), 1, "a timeline to come");
  assert.equal(await ask("00000004.history", body), 1);
  assert.equal(await ask(segment(0).name, segment(0).bytes), 0);
  assert.equal(await ask(segment(0).name, other), 1, "before the fork the log knows the bytes (A3)");
});

test("a short file and a foreign name are refused", async (t) => {
  const { ask, segment } = await bench(t, { segments: 1 });
  assert.equal(await ask(segment(0).name, segment(0).bytes.subarray(0, 1000)), 1);
  assert.equal(await ask("notes.txt", Buffer.from("x")), 1);
});
