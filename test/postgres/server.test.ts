// Starting, waiting and stopping, with a program that behaves badly on purpose.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Server, ServerEndedError, startServer } from "../../src/postgres/server.ts";
import { type FakeOptions, type FakeProgram, fakePostgres } from "../support/fake-program.ts";

async function start(options: FakeOptions): Promise<AsyncDisposable & { fake: FakeProgram; server: Server }> {
  const fake = await fakePostgres(options);
  const server = await startServer(
    { bin: fake.bin, dataDirectory: fake.dataDirectory, args: ["-c", "port=1"] },
    { spawn: fake.spawn, clock: systemClock, log: silentLog },
  );
  await fake.started();
  return { fake, server, [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose]() };
}
const soon = (): AbortSignal => AbortSignal.timeout(10_000);

test("a fast stop that works needs no second step", async () => {
  await using run = await start({ exitsOn: { SIGINT: 0 } });
  const outcome = await run.server.stop({ fastMs: 5_000, immediateMs: 5_000 });
  assert.equal(outcome.kind, "fast");
  assert.deepEqual(outcome.exit, { code: 0, signal: null });
  assert.deepEqual(await run.fake.received(), ["SIGINT"]);
  assert.equal(run.server.running, false);
  assert.equal(await run.server.status(), null);
});

test("stop goes from fast to immediate when Postgres ignores the former", async () => {
  await using run = await start({ ignores: ["SIGINT"], exitsOn: { SIGQUIT: 2 } });
  const outcome = await run.server.stop({ fastMs: 100, immediateMs: 5_000 });
  assert.equal(outcome.kind, "immediate");
  assert.equal(outcome.exit.code, 2);
  assert.deepEqual(await run.fake.received(), ["SIGINT", "SIGQUIT"]);
});

test("what ignores everything is killed, inside the limits", async () => {
  await using run = await start({ ignores: ["SIGINT", "SIGQUIT", "SIGTERM"] });
  const outcome = await run.server.stop({ fastMs: 100, immediateMs: 100 });
  assert.equal(outcome.kind, "killed");
  assert.equal(outcome.exit.signal, "SIGKILL");
  assert.ok(outcome.tookMs < 3_000, `${outcome.tookMs} ms`);
});

test("a hurry cuts the fast step short", async () => {
  await using run = await start({ ignores: ["SIGINT"], exitsOn: { SIGQUIT: 2 } });
  const hurry = new AbortController();
  setTimeout(() => hurry.abort(), 100);
  const outcome = await run.server.stop({ fastMs: 60_000, immediateMs: 5_000, hurry: hurry.signal });
  assert.equal(outcome.kind, "immediate");
  assert.ok(outcome.tookMs < 3_000, `${outcome.tookMs} ms`);
});

test("the fence asks for no fast stop, and kills what stays", async () => {
  await using gone = await start({ exitsOn: { SIGQUIT: 2 } });
  assert.deepEqual(await gone.server.quit(5_000), { code: 2, signal: null });
  assert.deepEqual(await gone.fake.received(), ["SIGQUIT"]);
  await using stuck = await start({ ignores: ["SIGQUIT"] });
  assert.deepEqual(await stuck.server.quit(100), { code: null, signal: "SIGKILL" });
});

test("stopping what has ended says how it ended", async () => {
  await using run = await start({ exitsAfter: { ms: 50, status: 3 } });
  await run.server.exited;
  const outcome = await run.server.stop({ fastMs: 5_000, immediateMs: 5_000 });
  assert.deepEqual([outcome.kind, outcome.exit.code], ["fast", 3]);
});

test("ready waits for the postmaster's own word, however long it recovers", async () => {
  await using run = await start({
    pidFile: [
      { afterMs: 50, status: "starting" },
      { afterMs: 200, status: "standby" },
      { afterMs: 1_500, status: "ready" },
    ],
  });
  const told: (string | null)[] = [];
  await run.server.ready(soon(), (status) => told.push(status));
  assert.deepEqual(told, ["standby"], "told about once a second");
  assert.equal(await run.server.status(), "ready");
});

test("a pid file of another life says nothing", async () => {
  await using run = await start({ pidFile: [{ afterMs: 20, status: "ready", pid: 1 }] });
  await delay(150);
  assert.equal(await run.server.status(), null);
  await assert.rejects(run.server.ready(AbortSignal.timeout(200)), /aborted|timeout/i);
  assert.equal(run.server.running, true, "the server runs on");
});

test("a server that ends while it is waited for is an error with its status", async () => {
  await using run = await start({ exitsAfter: { ms: 100, status: 1 } });
  await assert.rejects(run.server.ready(soon()), (error: unknown) => {
    assert.ok(error instanceof ServerEndedError);
    assert.equal(error.message, "Postgres ended with status 1 before it took connections");
    return true;
  });
});

test("left by an error, the server does not outlive its owner", async () => {
  await using run = await start({ exitsOn: { SIGINT: 0 } });
  await run.server[Symbol.asyncDispose]();
  assert.equal(run.server.running, false);
  await run.server[Symbol.asyncDispose]();
});
