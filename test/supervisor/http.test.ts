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

test("http: with addresses it listens there and nowhere else", async () => {
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  const options = { port, log: silentLog, respond: () => ({ status: 200, text: "here" }) };
  await using _server = await listenHttp({ ...options, addresses: ["127.0.0.1", "127.0.0.2"] });
  for (const host of ["127.0.0.1", "127.0.0.2"])
    assert.equal(await (await fetch(`http://${host}:${port}/`)).text(), "here");
  await assert.rejects(fetch(`http://127.0.0.3:${port}/`), /fetch failed/);
  await assert.rejects(listenHttp({ ...options, addresses: ["127.0.0.4", "127.0.0.2"] }), /EADDRINUSE/);
  await assert.rejects(fetch(`http://127.0.0.4:${port}/`), /fetch failed/, "what was opened is closed again");
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
