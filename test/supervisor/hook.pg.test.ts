// The shell client as Postgres runs it; it needs nc, which the image's packages bring.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { listenLocally, type VerbHandler } from "../../src/supervisor/local-socket.ts";

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

const HOOK = new URL("../../image/usr/local/bin/holdfast-hook", import.meta.url).pathname;

async function hook(socket: string, ...args: string[]): Promise<{ code: number; stdout: string }> {
  return await new Promise((resolve) => {
    execFile(
      "sh",
      [HOOK, ...args],
      { env: { PATH: process.env["PATH"], HOLDFAST_SOCKET: socket } },
      (error, stdout) => resolve({ code: error === null ? 0 : Number(error.code), stdout }),
    );
  });
}

test("hook: the shell client prints the lines and ends with the status", async (t) => {
  const path = await socketWith(t, {
    archive: async ([name]) => ({ lines: [`no: ${name}`, "second"], exit: 1 }),
    restore: async () => ({ lines: [], exit: 0 }),
  });
  assert.deepEqual(await hook(path, "archive", "A", "pg_wal/A"), { code: 1, stdout: "no: A\nsecond\n" });
  assert.deepEqual(await hook(path, "restore", "A", "pg_wal/RECOVERYXLOG"), { code: 0, stdout: "" });
});

test("hook: without a supervisor archive is 1 and restore is 255, which stops a recovery", async () => {
  assert.equal((await hook("/nowhere/s.sock", "archive", "A", "B")).code, 1);
  assert.equal((await hook("/nowhere/s.sock", "restore", "A", "B")).code, 255);
});
