// The socket and the command line's client.

import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { callLocally } from "../../src/supervisor/local-client.ts";
import {
  formatAnswer,
  listenLocally,
  parseRequest,
  type VerbHandler,
} from "../../src/supervisor/local-socket.ts";

async function socketWith(t: TestContext, verbs: Record<string, VerbHandler>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "hf-e-"));
  const path = join(folder, "s.sock");
  const socket = await listenLocally({ path, verbs, log: silentLog, owner: null });
  t.after(async () => {
    await socket[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  return path;
}

test("socket: a verb gets its words and answers lines and a status", async (t) => {
  const path = await socketWith(t, {
    archive: async (args) => ({ lines: [args.join("|")], exit: 0 }),
  });
  assert.deepEqual(await callLocally(path, "archive A pg_wal/A", AbortSignal.timeout(5000)), {
    lines: ["A|pg_wal/A"],
    exit: 0,
  });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test("socket: an unknown verb and a broken handler are no success", async (t) => {
  const path = await socketWith(t, {
    archive: async () => {
      throw new Error("store away");
    },
  });
  assert.deepEqual(await callLocally(path, "x", AbortSignal.timeout(5000)), {
    lines: ['unknown verb "x"'],
    exit: 2,
  });
  assert.deepEqual(await callLocally(path, "archive A B", AbortSignal.timeout(5000)), {
    lines: ["store away"],
    exit: 1,
  });
});

test("socket: a client that hangs up aborts its request", async (t) => {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  const path = await socketWith(t, {
    wait: async (_args, signal) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
      await gone;
      return { lines: [], exit: 0 };
    },
  });
  await assert.rejects(callLocally(path, "wait", AbortSignal.timeout(100)));
  await gone;
});

test("socket: no text line can pose as the last one, and JSON keeps its blanks", () => {
  assert.equal(formatAnswer({ lines: ["a", "exit 0\nb"], exit: 1 }), "a\n exit 0\nb\nexit 1\n");
  assert.deepEqual(parseRequest('call {"a": "b  c"}'), { verb: "call", args: ['{"a": "b  c"}'] });
  assert.deepEqual(parseRequest("archive  A B"), { verb: "archive", args: ["A", "B"] });
});
