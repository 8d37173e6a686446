import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { renderProxyConfig, routeOrders, sendOrders } from "../../src/supervisor/haproxy.ts";

const here = { host: "127.0.0.1", port: 5433 };

test("haproxy: both doors begin closed, and nothing runs as root", () => {
  const text = renderProxyConfig({
    ports: { readWrite: 5432, readOnly: 5434 },
    addresses: null,
    socketPath: "/run/x.sock",
    user: "haproxy",
    standbys: 2,
  });
  assert.match(text, /^ {2}bind :::5432 v4v6$/m);
  assert.match(text, /^ {2}bind :::5434 v4v6$/m);
  assert.match(text, /^ {2}user haproxy$/m);
  const servers = text.split("\n").filter((line) => line.startsWith("  server "));
  assert.equal(servers.length, 3);
  assert.ok(servers.every((line) => line.endsWith(" disabled")));
});

test("haproxy: listens on the addresses that are named and nowhere else", () => {
  const text = renderProxyConfig({
    ports: { readWrite: 5432, readOnly: 5434 },
    addresses: ["127.0.0.1", "fdaa:0:1::3"],
    socketPath: "/run/x.sock",
    user: null,
    standbys: 1,
  });
  const binds = text.split("\n").filter((line) => line.includes("bind"));
  assert.deepEqual(binds, [
    "  bind 127.0.0.1:5432",
    "  bind fdaa:0:1::3:5432",
    "  bind 127.0.0.1:5434",
    "  bind fdaa:0:1::3:5434",
  ]);
});

test("haproxy: what a route does not name goes into maintenance and is cut", () => {
  assert.deepEqual(routeOrders({ primary: here, standbys: [here] }, 2), [
    "set server primary/p0 addr 127.0.0.1 port 5433",
    "set server primary/p0 state ready",
    "set server standbys/s0 addr 127.0.0.1 port 5433",
    "set server standbys/s0 state ready",
    "set server standbys/s1 state maint",
    "shutdown sessions server standbys/s1",
  ]);
  assert.deepEqual(routeOrders({ primary: null, standbys: [] }, 0), [
    "set server primary/p0 state maint",
    "shutdown sessions server primary/p0",
  ]);
});

/** A runtime socket that answers each order with `answer` and notes it. */
async function runtimeSocket(t: TestContext, answer: string): Promise<{ path: string; orders: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), "hf-e-"));
  const orders: string[] = [];
  const server = createServer((socket) => {
    socket.once("data", (data) => {
      orders.push(data.toString().trim());
      socket.end(answer);
    });
  });
  const path = join(folder, "proxy.sock");
  await new Promise<void>((resolve) => server.listen(path, () => resolve()));
  t.after(async () => {
    server.close();
    await rm(folder, { recursive: true, force: true });
  });
  return { path, orders };
}

test("haproxy: orders go out one by one, and an address that is new is no refusal", async (t) => {
  const { path, orders } = await runtimeSocket(
    t,
    "IP changed from '1.1.1.1' to '127.0.0.1' by 'stats socket command'\n\n",
  );
  await sendOrders(path, ["one", "two"], AbortSignal.timeout(5_000));
  assert.deepEqual(orders, ["one", "two"]);
});

test("haproxy: a refusal and a silent socket are errors", async (t) => {
  const { path } = await runtimeSocket(t, "No such server.\n\n");
  await assert.rejects(
    sendOrders(path, ["set server x"], AbortSignal.timeout(5_000)),
    /refused "set server x": No such server/,
  );
  await assert.rejects(sendOrders("/nowhere/x.sock", ["a"], AbortSignal.timeout(5_000)), /does not answer/);
});
