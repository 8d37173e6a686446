// Members ask each other over real sockets: signed, once, and with a close that is seen at once.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { MemberDoor } from "../../src/cluster/member-door.ts";
import { MemberKey } from "../../src/cluster/member-key.ts";
import { CountBook } from "../../src/cluster/member-wire.ts";
import { Peer, PeerError } from "../../src/cluster/peer.ts";

const KEY = new MemberKey(new Secret("replication"));

async function openDoor(
  t: TestContext,
  incarnation = "b1",
  handler: (body: string) => Promise<string> | string = (body) => body.toUpperCase(),
): Promise<{ port: number; die: () => void }> {
  const door = new MemberDoor({
    key: KEY,
    incarnation,
    handlers: { "/cluster/ask": handler },
    log: silentLog,
  });
  const server = createServer((request, response) => {
    if (!door.take(request, response)) response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const die = (): void => {
    server.closeAllConnections();
    server.close();
  };
  t.after(die);
  return { port: (server.address() as AddressInfo).port, die };
}

function makePeer(t: TestContext, port: number, more: { key?: MemberKey; host?: string } = {}) {
  const closes: number[] = [];
  const peer = new Peer(
    { name: "n2", host: more.host ?? "n2.test" },
    {
      key: more.key ?? KEY,
      incarnation: "a1",
      port,
      resolve: async (host) => (host === "n2.test" ? ["127.0.0.1"] : []),
      clock: systemClock,
      onClose: () => closes.push(Date.now()),
    },
  );
  t.after(() => peer[Symbol.dispose]());
  return { peer, closes };
}

const failing = (failure: string) => (error: unknown) =>
  error instanceof PeerError && error.failure === failure;

test("a question is answered, over one connection", async (t) => {
  const { port } = await openDoor(t);
  const { peer } = makePeer(t, port);
  assert.equal(await peer.post("/cluster/ask", "hello", 5_000), "HELLO");
  assert.equal(await peer.post("/cluster/ask", "again", 5_000), "AGAIN");
  assert.equal(peer.address, "127.0.0.1");
});

test("the death of the other process is seen at once", async (t) => {
  const door = await openDoor(t);
  const { peer, closes } = makePeer(t, door.port);
  await peer.post("/cluster/ask", "hello", 5_000);
  door.die();
  while (closes.length === 0) await new Promise((done) => setTimeout(done, 10));
  assert.equal(closes.length, 1);
  await assert.rejects(peer.post("/cluster/ask", "hello", 300), failing("refused"));
});

test("a death behind a late answer is seen at once", async (t) => {
  const late = Promise.withResolvers<string>();
  let asked = 0;
  const { port, die } = await openDoor(t, "b1", async () =>
    (asked += 1) === 1 ? "soon" : await late.promise,
  );
  const { peer, closes } = makePeer(t, port);
  await peer.post("/cluster/ask", "one", 5_000);
  await assert.rejects(peer.post("/cluster/ask", "two", 50), failing("timeout"));
  await assert.rejects(peer.post("/cluster/ask", "three", 50), failing("timeout"));
  assert.equal(closes.length, 0, "an answer that is late is no close");
  die();
  while (closes.length === 0) await new Promise((done) => setTimeout(done, 10));
});

test("silence is a failure and no close", async (t) => {
  const { port } = await openDoor(t, "b1", () => new Promise(() => undefined));
  const { peer, closes } = makePeer(t, port);
  await assert.rejects(peer.post("/cluster/ask", "hello", 100), failing("timeout"));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(closes, []);
});

test("a name that does not resolve", async (t) => {
  const { peer } = makePeer(t, 1, { host: "nobody.test" });
  await assert.rejects(peer.post("/cluster/ask", "hello", 300), failing("dns"));
});

test("another password is no member", async (t) => {
  const { port } = await openDoor(t);
  const { peer } = makePeer(t, port, { key: new MemberKey(new Secret("guess")) });
  await assert.rejects(peer.post("/cluster/ask", "hello", 300), failing("bad-answer"));
});

test("a new process over there is asked like the old one", async (t) => {
  const sockets: Socket[] = [];
  const first = await openDoor(t);
  let target = first.port;
  // A relay, so that the address stays while the process changes.
  const relay = createTcpServer((socket) => {
    sockets.push(socket);
    void import("node:net").then(({ connect }) => {
      const other = connect(target, "127.0.0.1");
      other.on("error", () => socket.destroy());
      socket.on("error", () => other.destroy());
      socket.pipe(other).pipe(socket);
      return undefined;
    });
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    relay.close();
  });
  const { peer } = makePeer(t, (relay.address() as AddressInfo).port);
  assert.equal(await peer.post("/cluster/ask", "one", 500), "ONE");
  const second = await openDoor(t, "b2");
  target = second.port;
  first.die();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(await peer.post("/cluster/ask", "two", 500), "TWO");
});

test("a recorded message is not taken again", () => {
  const book = new CountBook();
  assert.deepEqual(
    [book.take("a", 1), book.take("a", 1), book.take("a", 3), book.take("a", 2), book.take("b", 1)],
    [true, false, true, false, true],
  );
});
