// The daemon and its client, byte for byte as WAL-G speaks.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { runDaemonClient } from "../../src/cli/walg/daemon-client.ts";
import { decodeRequest, encodeRequest, ProtocolError } from "../../src/cli/walg/daemon-protocol.ts";
import { waitUntil, systemClock } from "../../src/base/clock.ts";
import { openBucket } from "../support/walg-buckets.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex").toUpperCase();

test("messages have WAL-G's bytes", () => {
  assert.equal(hex(encodeRequest({ kind: "check" })), "430003");
  const push = encodeRequest({ kind: "push", name: "00000001000000000000000A" });
  assert.equal(hex(push.subarray(0, 3)), "46001B");
  const fetch = encodeRequest({
    kind: "fetch",
    name: "00000001000000000000000A",
    target: "pg_wal/RECOVERYXLOG",
  });
  assert.equal(hex(fetch.subarray(0, 6)), "660033020018");
  assert.equal(fetch.byteLength, 0x33);
  assert.deepEqual(decodeRequest(fetch), {
    request: { kind: "fetch", name: "00000001000000000000000A", target: "pg_wal/RECOVERYXLOG" },
    length: 0x33,
  });
  assert.equal(decodeRequest(fetch.subarray(0, 20)), null);
});

test("the client says how it is called", async () => {
  const said: string[] = [];
  const call = (args: readonly string[]): Promise<number> =>
    runDaemonClient(args, (text) => void said.push(text));
  assert.deepEqual([await call(["-help"]), await call(["--help"]), await call([])], [0, 0, 1]);
  assert.equal(said.length, 3);
  for (const text of said) assert.match(text, /^usage: walg-daemon-client SOCKET wal-push NAME/);
});

test("what is no message is refused", () => {
  for (const bytes of ["430002", "580003", "460003", "660004FF", "66000801000A4142", "660009010001414242"]) {
    assert.throws(() => decodeRequest(Buffer.from(bytes, "hex")), ProtocolError, bytes);
  }
});

describe("a daemon", () => {
  let root: string;
  let socket: string;
  let daemon: ReturnType<typeof spawn>;
  let names: readonly string[];

  before(async () => {
    const bucket = await openBucket("pg17-none");
    await bucket.prepare();
    root = await mkdtemp(join(tmpdir(), "walg-daemon-"));
    socket = join(root, "s");
    await mkdir(join(root, "data/pg_wal"), { recursive: true });
    await mkdir(join(root, "store"));
    const keys = (await bucket.objectsAt(bucket.store))
      .filter((key) => /^wal_005\/[0-9A-F]{24}$/.test(key))
      .slice(0, 2);
    names = keys.map((key) => key.slice("wal_005/".length));
    for (const [at, key] of keys.entries()) {
      await writeFile(join(root, "data/pg_wal", names[at]!), await readFile(join(bucket.store, key)));
    }
    await bucket.remove();
    const env = {
      PATH: process.env["PATH"],
      PGDATA: join(root, "data"),
      WALG_FILE_PREFIX: join(root, "store"),
      WALG_PG_WAL_SIZE: "1",
      WALG_DOWNLOAD_CONCURRENCY: "1",
    };
    daemon = spawn(process.execPath, ["bin/wal-g.js", "daemon", socket], {
      env,
      stdio: ["ignore", "inherit", "inherit"],
    });
    const listens = (): Promise<boolean> =>
      stat(socket).then(
        () => true,
        () => false,
      );
    assert.ok(await waitUntil(listens, 10_000, { clock: systemClock }));
  });

  after(async () => {
    daemon.kill("SIGTERM");
    const [code] = (await once(daemon, "exit")) as [number];
    await rm(root, { recursive: true, force: true });
    assert.equal(code, 0);
  });

  const client = (...args: string[]): Promise<number> => runDaemonClient([socket, ...args], () => undefined);

  test("pushes by name, fetches to a path below PGDATA, and tells what is absent", async () => {
    assert.equal(await client("wal-push", names[0]!), 0);
    assert.deepEqual(await readdir(join(root, "store/wal_005")), [`${names[0]}.lz4`]);
    assert.equal(await client("wal-fetch", names[0]!, "pg_wal/RECOVERYXLOG"), 0);
    const fetched = await readFile(join(root, "data/pg_wal/RECOVERYXLOG"));
    assert.ok(fetched.equals(await readFile(join(root, "data/pg_wal", names[0]!))));
    assert.equal(await client("wal-fetch", names[1]!, "pg_wal/OTHER", "-timeout", "10s"), 74);
    assert.equal(await client("wal-push", "0000000100000000000000AA"), 1);
  });

  test("answers checks on one connection and ends it after anything else", async () => {
    const connection = connect(socket);
    connection.write(Buffer.concat([encodeRequest({ kind: "check" }), encodeRequest({ kind: "check" })]));
    let answer = "";
    for await (const piece of connection) {
      answer += String(piece);
      if (answer.length === 2) connection.write(encodeRequest({ kind: "push", name: names[0]! }));
    }
    assert.equal(answer, "OOO");
  });

  test("answers nonsense with E", async () => {
    const connection = connect(socket);
    connection.write(Buffer.from("XYZ garbage"));
    let answer = "";
    for await (const piece of connection) answer += String(piece);
    assert.equal(answer, "E");
  });
});
