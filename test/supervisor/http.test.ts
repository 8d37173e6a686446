import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { listenHttp } from "../../src/supervisor/http.ts";

test("http: answers over IPv4, and over IPv6 where the machine has it", async () => {
  await using server = await listenHttp({
    port: 0,
    log: silentLog,
    respond: (path) => ({ status: 200, text: path }),
  });
  const answer = await fetch(`http://127.0.0.1:${server.port}/health/live?x=1`);
  assert.equal(await answer.text(), "/health/live");
});

test("http: an unknown path is 404, another method 405, a broken check 500 without its reason", async () => {
  await using server = await listenHttp({
    port: 0,
    log: silentLog,
    respond: (path) => {
      if (path === "/broken") throw new Error("secret");
      return null;
    },
  });
  const at = `http://127.0.0.1:${server.port}`;
  assert.equal((await fetch(`${at}/nothing`)).status, 404);
  assert.equal((await fetch(`${at}/`, { method: "POST" })).status, 405);
  const broken = await fetch(`${at}/broken`);
  assert.equal(broken.status, 500);
  assert.doesNotMatch(await broken.text(), /secret/);
});

test("http: a taken port is an error", async () => {
  await using server = await listenHttp({ port: 0, log: silentLog, respond: () => null });
  await assert.rejects(listenHttp({ port: server.port, log: silentLog, respond: () => null }), /EADDRINUSE/);
});
