import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { FileLockError, withFileLock } from "../../src/base/file-lock.ts";

const never = new AbortController().signal;

test("only one holds the lock at a time, and all get it", async (t) => {
  const folder = await scratch(t);
  let holders = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 8 }, () =>
      withFileLock(folder, never, async (assertHeld) => {
        most = Math.max(most, (holders += 1));
        await delay(5);
        assertHeld();
        holders -= 1;
      }),
    ),
  );
  assert.equal(most, 1);
});

test("a lock that another program holds is waited for", async (t) => {
  const folder = await scratch(t);
  const other = spawn("flock", [folder, "sh", "-c", "echo held; sleep 60"], {
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  await once(other.stdout, "data");
  let got = false;
  const pending = withFileLock(folder, never, async () => void (got = true));
  await delay(100);
  assert.equal(got, false);
  process.kill(-other.pid!, "SIGKILL"); // the kernel lets go of what a dead process held
  await pending;
  assert.equal(got, true);
});

test("an abort ends the waiting, and leaves no holder behind", async (t) => {
  const folder = await scratch(t);
  const reason = new Error("enough");
  await withFileLock(folder, never, async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 50);
    await assert.rejects(
      withFileLock(folder, stop.signal, async () => assert.fail("it was not free")),
      (error) => error === reason,
    );
  });
  await withFileLock(folder, AbortSignal.timeout(5000), async () => undefined);
});

test("what the work throws is thrown, and the lock is free again", async (t) => {
  const folder = await scratch(t);
  await assert.rejects(
    withFileLock(folder, never, async () => {
      throw new RangeError("no");
    }),
    RangeError,
  );
  await withFileLock(folder, AbortSignal.timeout(5000), async () => undefined);
});

test("a path that cannot be locked is an error that says so", async () => {
  await assert.rejects(
    withFileLock("/no/such/folder", never, async () => undefined),
    FileLockError,
  );
});

async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-lock-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
