// Bytes between threads: in order, within a window, in both directions; an error reaches whoever waits.

import assert from "node:assert/strict";
import { MessageChannel } from "node:worker_threads";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ThreadChannel, WorkerError } from "../../src/backup/thread-channel.ts";
import { AppError } from "../../src/base/errors.ts";
import { below, drawSeed, makeRandom } from "../support/random.ts";

const WINDOW = 2 << 20;

function pair(notes: unknown[] = []): { a: ThreadChannel; b: ThreadChannel; close(): void } {
  const { port1, port2 } = new MessageChannel();
  const a = new ThreadChannel(port1, (note) => notes.push(note));
  const b = new ThreadChannel(port2);
  return { a, b, close: () => (a.close(), b.close()) };
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await nextTurn();
};

for (const givesBack of [false, true]) {
  test(`what is written comes in order, whatever the pieces${givesBack ? ", with memory given back" : ""}`, async () => {
    const seed = drawSeed();
    const random = makeRandom(seed);
    const notes: unknown[] = [];
    const { a, b, close } = pair(notes);
    const total = 12 << 20;
    const at = (place: number): number => (place * 31 + (place >> 8)) & 0xff;
    const writing = (async () => {
      for (let done = 0; done < total;) {
        const piece = Buffer.alloc(Math.min(total - done, 1 + below(random, 900_000)));
        for (let index = 0; index < piece.length; index += 1) piece[index] = at(done + index);
        await b.write(piece);
        done += piece.length;
        piece.fill(0); // what was written belongs to the writer again
      }
      b.note({ done: total });
      b.finish("the end");
    })();
    let seen = 0;
    for await (const bytes of a.receive({ givesBack })) {
      for (let index = 0; index < bytes.length; index += 1)
        if (bytes[index] !== at(seen + index)) assert.fail(`byte ${seen + index}, seed ${seed}`);
      seen += bytes.length;
      if (below(random, 4) === 0) await nextTurn();
    }
    await writing;
    assert.equal(seen, total);
    assert.equal(await a.result(), "the end");
    assert.deepEqual(notes, [{ done: total }]);
    close();
  });
}

test("a writer waits when nothing is taken", async () => {
  const { a, b, close } = pair();
  let written = 0;
  const writing = (async () => {
    for (let piece = 0; piece < 100; piece += 1) {
      await b.write(Buffer.alloc(100_000));
      written += 100_000;
    }
    b.finish();
  })();
  await turns(50);
  assert.ok(written <= WINDOW + 600_000, `${written} bytes were written and none was taken`);
  let taken = 0;
  for await (const bytes of a.receive()) taken += bytes.length;
  await writing;
  assert.equal(taken, 10_000_000);
  close();
});

test("both ends send at once, and end in their own time", async () => {
  const { a, b, close } = pair();
  const echo = (async () => {
    for await (const bytes of b.receive()) await b.write(bytes);
    b.finish("echoed");
  })();
  const sending = (async () => {
    for (let piece = 0; piece < 60; piece += 1) await a.write(Buffer.alloc(100_000, piece));
    a.finish();
  })();
  let back = 0;
  for await (const bytes of a.receive()) back += bytes.length;
  await Promise.all([echo, sending]);
  assert.equal(back, 6_000_000);
  assert.equal(await a.result(), "echoed");
  close();
});

test("the peer's error is thrown to reader, writer and waiter, with code and hint", async () => {
  const { a, b, close } = pair();
  const isIt = (error: unknown): boolean => {
    assert.ok(error instanceof WorkerError);
    assert.deepEqual(
      [error.message, error.code, error.hint, error.originalName],
      ["the disk is on fire", "FIRE", "call somebody", "AppError"],
    );
    return true;
  };
  const reading = (async () => {
    for await (const _ of a.receive()) assert.fail("nothing was sent");
  })();
  const writing = (async () => {
    for (;;) await a.write(Buffer.alloc(100_000));
  })();
  const waiting = a.result();
  b.fail(new AppError("the disk is on fire", { code: "FIRE", hint: "call somebody" }));
  await assert.rejects(reading, isIt);
  await assert.rejects(writing, isIt);
  await assert.rejects(waiting, isIt);
  close();
});

test("an abort wakes everything on this end", async () => {
  const { a, close } = pair();
  const waiting = a.result();
  const writing = (async () => {
    for (;;) await a.write(Buffer.alloc(100_000));
  })();
  a.abort(new Error("given up"));
  await assert.rejects(waiting, /given up/);
  await assert.rejects(writing, /given up/);
  close();
});
