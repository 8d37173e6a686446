import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Socket, connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { ListMultipartUploadsCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { StoreError, readWhole } from "../../src/storage/object-store.ts";
import { openS3Store } from "../../src/storage/s3-store.ts";
import { limitTo } from "../../src/storage/rate-limit.ts";
import { makeRandom, mixedBytes } from "../support/random.ts";
import { S3Server, sharedS3Server } from "../support/s3-server.ts";

const MIB = 1 << 20;
const never = new AbortController().signal;
const tools = { clock: systemClock, log: silentLog };
const server = sharedS3Server();

const isKind =
  (kind: StoreError["kind"]) =>
  (error: unknown): boolean =>
    error instanceof StoreError && error.kind === kind;

test("a wrong Content-MD5 is refused by the store, so bytes that change on the way are noticed", async () => {
  const running = await server();
  const Bucket = await running.makeBucket();
  const client = running.client();
  const ContentMD5 = createHash("md5").update("other bytes").digest("base64");
  await assert.rejects(
    client.send(new PutObjectCommand({ Bucket, Key: "x", Body: Buffer.from("bytes"), ContentMD5 })),
    (error: Error) => error.name === "BadDigest",
  );
  client.destroy();
});

test("a bit that flips on the way up never becomes an object, on the way down the size still holds", async (t) => {
  const running = await server();
  const bucket = await running.makeBucket();
  let flips = 0;
  const endpoint = await proxyTo(t, running, (chunk) => {
    const at = chunk.indexOf("PAYLOAD");
    if (at === -1 || flips >= 2) return chunk;
    flips += 1;
    const copy = Buffer.from(chunk);
    copy[at + 2]! ^= 4;
    return copy;
  });
  const store = await openS3Store(running.settings(bucket, { endpoint }), tools);
  await store.put("x", Buffer.from(`begin PAYLOAD ${"z".repeat(1000)} end`), never); // the third try is clean
  assert.equal(flips, 2);
  assert.match(String(Buffer.from(await readWhole((await store.get("x", never))!))), /PAYLOAD/);
});

test("a wrong secret and a missing bucket are refused, at once", async () => {
  const running = await server();
  const bucket = await running.makeBucket();
  const wrong = running.settings(bucket);
  const credentials = { ...wrong.credentials!, secretAccessKey: new Secret("not-the-secret-key") };
  for (const settings of [{ ...wrong, credentials }, running.settings("there-is-no-such-bucket")]) {
    const store = await openS3Store(settings, tools);
    const begun = performance.now();
    await assert.rejects(store.head("x", never), isKind("refused"));
    await assert.rejects(store.get("x", never), isKind("refused"));
    await assert.rejects(store.put("x", Buffer.from("x"), never), isKind("refused"));
    await assert.rejects(store.create("x", Buffer.from("x"), never), isKind("refused"));
    await assert.rejects(store.replace("x", Buffer.from("x"), '"tag"', never), isKind("refused"));
    await assert.rejects(store.delete(["x"], never), isKind("refused"));
    await assert.rejects(
      (async () => {
        for await (const _ of store.list("", never));
      })(),
      isKind("refused"),
    );
    assert.ok(performance.now() - begun < 5000);
  }
});

test("300 MiB stream through an upload in bounded memory, and come back in pieces", async () => {
  const store = await (await server()).makeStore();
  const block = mixedBytes(MIB, makeRandom(5));
  const sent = createHash("md5");
  async function* long(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 300; i += 1) {
      block.writeUInt32LE(i, 0); // the same buffer again, as readers of files do
      sent.update(block);
      yield block;
    }
  }
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().arrayBuffers)), 20);
  await store.put("long", long(), never);
  const got = (await store.get("long", never))!;
  assert.equal(got.bytes, 300 * MIB);
  const received = createHash("md5");
  for await (const piece of got.body) received.update(piece);
  clearInterval(watch);
  assert.equal(received.digest("hex"), sent.digest("hex"));
  assert.ok(most - before < 128 * MIB, `${Math.round((most - before) / MIB)} MiB of buffers`);
});

test("an upload that breaks leaves no parts behind", async () => {
  const running = await server();
  const bucket = await running.makeBucket();
  const store = await openS3Store(running.settings(bucket, { partBytes: 5 * MIB }), tools);
  async function* breaking(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 17; i += 1) yield Buffer.alloc(MIB, i);
    throw new RangeError("the disk broke");
  }
  await assert.rejects(store.put("x", breaking(), never), RangeError);
  const stop = new AbortController();
  async function* aborted(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 40; i += 1) {
      if (i === 17) stop.abort(new Error("stop"));
      yield Buffer.alloc(MIB, i);
    }
  }
  await assert.rejects(store.put("x", aborted(), stop.signal), /stop/);
  const client = running.client();
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
  client.destroy();
  assert.deepEqual(Uploads, []);
  assert.equal(await store.head("x", never), null);
});

test("a large copy goes in ranges", async () => {
  const running = await server();
  const bucket = await running.makeBucket();
  const store = await openS3Store(running.settings(bucket), tools, 5 * MIB);
  const bytes = mixedBytes(12 * MIB + 5, makeRandom(6));
  await store.put("odd name/ü 1", bytes, never);
  await store.copy("odd name/ü 1", "copy", never);
  assert.ok(bytes.equals(await readWhole((await store.get("copy", never))!)));
  assert.match((await store.head("copy", never))!.etag, /-3"?$/);
});

test("a read outlives a connection that breaks in the middle", async (t) => {
  const running = await server();
  const bucket = await running.makeBucket();
  const direct = await openS3Store(running.settings(bucket), tools);
  const bytes = mixedBytes(9 * MIB, makeRandom(7));
  await direct.put("x", bytes, never);
  let passed = 0;
  let cuts = 0;
  const endpoint = await proxyTo(t, running, undefined, (chunk, close) => {
    passed += chunk.byteLength;
    if (passed > 2 * MIB && cuts < 3) {
      cuts += 1;
      passed = 0;
      close();
    }
  });
  const store = await openS3Store(running.settings(bucket, { endpoint }), tools);
  assert.ok(bytes.equals(await readWhole((await store.get("x", never))!)));
  assert.equal(cuts, 3);
});

test("a limit on bytes a second holds, up and down", async () => {
  const running = await server();
  const bucket = await running.makeBucket();
  const pace = limitTo(4 * MIB, systemClock);
  const store = await openS3Store(running.settings(bucket, { partBytes: 5 * MIB }), { ...tools, pace });
  const begun = performance.now();
  await store.put("x", Buffer.alloc(6 * MIB, 1), never);
  await readWhole((await store.get("x", never))!);
  const seconds = (performance.now() - begun) / 1000;
  assert.ok(seconds > 1.5, `12 MiB at 4 MiB a second with a burst of 4 took ${seconds} s`);
});

test("a server that freezes is noticed, and when it goes on, so does the store", async () => {
  await using frozen = await S3Server.start();
  const store = await openS3Store(
    { ...frozen.settings(await frozen.makeBucket()), idleTimeoutMs: 700, maxRetries: 1 },
    tools,
  );
  await store.put("x", Buffer.from("1"), never);
  const [gateway] = await frozen.pids();
  process.kill(gateway!, "SIGSTOP");
  while (!/\) T /.test(readFileSync(`/proc/${gateway}/stat`, "utf8"))) await systemClock.sleep(10);
  await systemClock.sleep(100); // its other threads stop a little later
  const begun = performance.now();
  await assert.rejects(store.head("x", never), isKind("unknown"));
  await assert.rejects(store.create("y", Buffer.from("2"), never), isKind("unknown"));
  assert.ok(performance.now() - begun < 6000);
  process.kill(gateway!, "SIGCONT");
  assert.equal((await store.head("x", never))!.bytes, 1);
  assert.ok(["created", "exists"].includes(await store.create("y", Buffer.from("2"), never)));
});

test("what was acknowledged outlives kill -9 of the server; what was not is there whole or not at all", async () => {
  await using killed = await S3Server.start("bluestore");
  const settings = { ...killed.settings(await killed.makeBucket()), maxRetries: 0, idleTimeoutMs: 2000 };
  const store = await openS3Store(settings, tools);
  const outcomes = new Map<string, string>();
  let next = 0;
  const writer = async (): Promise<void> => {
    for (;;) {
      const key = `k/${next++}`;
      try {
        outcomes.set(key, await store.create(key, Buffer.from(key.repeat(1000)), never));
      } catch {
        outcomes.set(key, "unknown");
        return;
      }
    }
  };
  const writers = Promise.all(Array.from({ length: 4 }, writer));
  while (outcomes.size < 60) await systemClock.sleep(20);
  await killed.kill();
  await writers;
  await killed.restart();
  for (const [key, outcome] of outcomes) {
    const got = await store.get(key, never);
    if (outcome === "created") assert.ok(got !== null, `${key} was acknowledged and is gone`);
    if (got !== null) assert.equal(String(Buffer.from(await readWhole(got))), key.repeat(1000));
  }
});

/** A TCP proxy before the server; `up` may change what is sent, `down` sees what comes back and may close the connection. */
async function proxyTo(
  t: TestContext,
  target: S3Server,
  up: (chunk: Buffer) => Buffer = (chunk) => chunk,
  down: (chunk: Buffer, close: () => void) => void = () => undefined,
): Promise<string> {
  const { hostname, port } = new URL(target.endpoint);
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
    }
    const close = (): void => {
      client.destroy();
      upstream.destroy();
    };
    client.on("data", (chunk: Buffer) => upstream.write(up(chunk))).on("close", close);
    upstream.on("data", (chunk: Buffer) => {
      client.write(chunk);
      down(chunk, close);
    });
    upstream.on("close", close);
  });
  await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}
