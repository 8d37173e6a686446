import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { inspect } from "node:util";
import { collect } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { messageOf } from "../../src/base/errors.ts";
import { silentLog } from "../../src/base/log.ts";
import { StoreError, type StoreErrorKind, readWhole } from "../../src/storage/object-store.ts";
import { S3_DEFAULTS, type S3Settings } from "../../src/storage/s3-settings.ts";
import { type S3Store, openS3Store } from "../../src/storage/s3-store.ts";
import {
  SCRIPTED_SECRET,
  type ScriptedAnswer,
  type ScriptedRequest,
  s3ErrorBody,
  scriptedS3,
  settingsFor,
} from "../support/scripted-s3.ts";
import { silentHost } from "../support/silent-host.ts";

const never = new AbortController().signal;
/** Pauses between tries pass at once; everything else runs on the real clock. */
const clock = { ...systemClock, sleep: () => Promise.resolve() };

const openStore = (settings: S3Settings): Promise<S3Store> =>
  openS3Store(settings, { clock, log: silentLog });

async function storeThat(
  t: TestContext,
  answer: (request: ScriptedRequest) => ScriptedAnswer,
  more: Partial<S3Settings> = {},
): Promise<{ store: S3Store; requests: ScriptedRequest[] }> {
  const { settings, requests } = await scriptedS3(t, answer);
  return { store: await openStore({ ...settings, ...more }), requests };
}

const isKind =
  (kind: StoreErrorKind) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof StoreError, inspect(error));
    assert.equal(error.kind, kind, error.message);
    return true;
  };

const creates: readonly (readonly [string, ScriptedAnswer, string])[] = [
  ["200", { status: 200, headers: { etag: '"x"' } }, "created"],
  ["412", { status: 412, body: s3ErrorBody("PreconditionFailed") }, "exists"],
  ["409", { status: 409, body: s3ErrorBody("ConditionalRequestConflict") }, "unknown"],
  ["500", { status: 500, body: s3ErrorBody("InternalError") }, "unknown"],
  ["503", { status: 503, body: s3ErrorBody("SlowDown") }, "unknown"],
  ["429", { status: 429 }, "unknown"],
  ["a 502 of a proxy in HTML", { status: 502, body: "<html>Bad Gateway</html>" }, "unknown"],
  ["a reset connection", "reset", "unknown"],
  ["silence", "silent", "unknown"],
  ["403", { status: 403, body: s3ErrorBody("AccessDenied") }, "refused"],
  ["a missing bucket", { status: 404, body: s3ErrorBody("NoSuchBucket") }, "refused"],
  ["400 BadDigest", { status: 400, body: s3ErrorBody("BadDigest") }, "unknown"],
  ["501", { status: 501, body: s3ErrorBody("NotImplemented") }, "refused"],
];

for (const [what, answer, meaning] of creates) {
  test(`create: ${what} means ${meaning}, after one request`, async (t) => {
    const { store, requests } = await storeThat(t, () => answer);
    const outcome = store.create("slot", Buffer.from("x"), never);
    if (meaning === "created" || meaning === "exists") assert.equal(await outcome, meaning);
    else await assert.rejects(outcome, isKind(meaning as StoreErrorKind));
    assert.equal(requests.length, 1);
    assert.equal(requests[0]!.headers["if-none-match"], "*");
  });
}

test("replace: 412 and a missing object mean changed; the tag goes out as it came", async (t) => {
  for (const answer of [
    { status: 412, body: s3ErrorBody("PreconditionFailed") },
    { status: 404, body: s3ErrorBody("NoSuchKey") },
  ]) {
    const { store, requests } = await storeThat(t, () => answer);
    assert.equal(await store.replace("x", Buffer.from("x"), '"tag"', never), "changed");
    assert.equal(requests[0]!.headers["if-match"], '"tag"');
  }
});

const misses: readonly (readonly [string, ScriptedAnswer, StoreErrorKind | null])[] = [
  ["NoSuchKey", { status: 404, body: s3ErrorBody("NoSuchKey") }, null],
  ["NoSuchBucket", { status: 404, body: s3ErrorBody("NoSuchBucket") }, "refused"],
  ["a bare 404", { status: 404 }, "refused"],
  [
    "a 404 of something that is no store",
    { status: 404, body: "<html><h1>Not Found</h1></html>" },
    "refused",
  ],
  ["a 404 in JSON", { status: 404, body: '{"error":"not found"}' }, "refused"],
  ["403", { status: 403, body: s3ErrorBody("AccessDenied") }, "refused"],
  ["301", { status: 301, body: s3ErrorBody("PermanentRedirect") }, "refused"],
  ["a 200 that is no object", { status: 200, body: "<html>welcome</html>" }, "refused"],
];

for (const [what, answer, kind] of misses) {
  test(`head and get: ${what} is ${kind ?? "absent"}`, async (t) => {
    const { store } = await storeThat(t, () => answer);
    if (kind === null) {
      assert.equal(await store.head("x", never), null);
      assert.equal(await store.get("x", never), null);
    } else {
      await assert.rejects(store.head("x", never), isKind(kind));
      if (what !== "a 200 that is no object") await assert.rejects(store.get("x", never), isKind(kind));
    }
  });
}

test("reads and plain writes are repeated until the tries are used up", async (t) => {
  const { store, requests } = await storeThat(t, ({ number }) =>
    number < 3 ? { status: 503, body: s3ErrorBody("SlowDown") } : { status: 200 },
  );
  await store.put("x", Buffer.from("x"), never);
  assert.equal(requests.length, 3);
  const failing = await storeThat(t, () => ({ status: 500, body: s3ErrorBody("InternalError") }), {
    maxRetries: 4,
  });
  await assert.rejects(failing.store.head("x", never), isKind("unknown"));
  assert.equal(failing.requests.length, 5);
});

test("every write carries a checksum of its bytes, and none is sent in chunks", async (t) => {
  const { store, requests } = await storeThat(
    t,
    ({ query, method }) => {
      if (query.has("uploads")) return { status: 200, body: "<R><UploadId>u</UploadId></R>" };
      if (method === "POST" && query.has("uploadId"))
        return { status: 200, body: '<R><ETag>"e-2"</ETag></R>' };
      return { status: 200, headers: { etag: '"e"' } };
    },
    { partBytes: 5 << 20 },
  );
  async function* long(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 6; i += 1) yield Buffer.alloc(1 << 20, i);
  }
  await store.put("whole", Buffer.from("some bytes"), never);
  await store.create("slot", Buffer.from("other bytes"), never);
  await store.put("parts", long(), never);
  await store.delete(["a", "b"], never);
  const withBody = requests.filter(({ method, query }) => method === "PUT" || query.has("delete"));
  assert.equal(withBody.length, 5);
  for (const { headers, body, key } of withBody) {
    assert.equal(headers["content-md5"], createHash("md5").update(body).digest("base64"), key);
    assert.equal(headers["content-encoding"], undefined);
    assert.equal(headers["content-length"], String(body.byteLength));
  }
});

const content = Buffer.from(Array.from({ length: 5_000 }, (_, i) => i % 251));

/** Answers GETs of `content` with ranges, and lets `spoil` change an answer. */
function serve(
  request: ScriptedRequest,
  spoil: Partial<Exclude<ScriptedAnswer, string>> = {},
): ScriptedAnswer {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers["range"] ?? "");
  const start = Number(range?.[1] ?? 0);
  const end = range === null || range[2] === "" ? content.byteLength : Number(range[2]) + 1;
  return {
    status: range === null ? 200 : 206,
    headers: {
      etag: '"version-1"',
      "last-modified": "Tue, 03 Feb 2026 10:00:00 GMT",
      ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${content.byteLength}` }),
    },
    body: content.subarray(start, end),
    ...spoil,
  };
}

for (const how of ["cutAt", "stallAt"] as const) {
  test(`a body that breaks off (${how}) is resumed from where it broke, for the same version`, async (t) => {
    const { store, requests } = await storeThat(t, (request) =>
      serve(request, request.number <= 2 ? { [how]: 1000 } : {}),
    );
    const got = (await store.get("x", never))!;
    assert.ok(content.equals(await readWhole(got)));
    assert.deepEqual(
      requests.map(({ headers }) => [headers["range"], headers["if-match"]]),
      [
        [undefined, undefined],
        ["bytes=1000-4999", '"version-1"'],
        ["bytes=2000-4999", '"version-1"'],
      ],
    );
  });
}

test("a range that breaks off is resumed too", async (t) => {
  const { store } = await storeThat(t, (request) =>
    serve(request, request.number === 1 ? { cutAt: 10 } : {}),
  );
  const got = (await store.get("x", never, { start: 100, end: 300 }))!;
  assert.ok(content.subarray(100, 300).equals(await collect(got.body)));
});

test("a body that never comes whole is an error, not a short object", async (t) => {
  const { store, requests } = await storeThat(t, (request) => serve(request, { cutAt: 5 }));
  await assert.rejects(async () => readWhole((await store.get("x", never))!), isKind("unknown"));
  assert.equal(requests.length, 3);
});

test("a body that is read late, or slowly, comes whole in one request; one that is never read harms nobody", async (t) => {
  const large = Buffer.alloc(8 << 20, 7);
  const { store, requests } = await storeThat(
    t,
    () => ({ status: 200, headers: { etag: '"e"' }, body: large }),
    {
      idleTimeoutMs: 200,
    },
  );
  const unread = await store.get("x", never);
  const late = (await store.get("x", never))!;
  await systemClock.sleep(600);
  let total = 0;
  for await (const piece of late.body) {
    if (total < 300_000) await systemClock.sleep(300);
    total += piece.byteLength;
  }
  assert.equal(total, large.byteLength);
  assert.equal(requests.length, 2);
  assert.ok(unread !== null);
});

test("an object that is replaced while it is read is never a mixture", async (t) => {
  const { store } = await storeThat(t, (request) =>
    request.number === 1
      ? serve(request, { cutAt: 1000 })
      : { status: 412, body: s3ErrorBody("PreconditionFailed") },
  );
  await assert.rejects(async () => readWhole((await store.get("x", never))!), StoreError);
});

test("a failing part ends the upload, and the upload is aborted", async (t) => {
  const { store, requests } = await storeThat(
    t,
    ({ query, method }) => {
      if (query.has("uploads")) return { status: 200, body: "<R><UploadId>u</UploadId></R>" };
      if (query.get("partNumber") === "2") return { status: 500, body: s3ErrorBody("InternalError") };
      return { status: method === "DELETE" ? 204 : 200, headers: { etag: '"e"' } };
    },
    { partBytes: 5 << 20 },
  );
  await assert.rejects(store.put("x", megabytes(40), never), isKind("unknown"));
  const last = requests.at(-1)!;
  assert.deepEqual([last.method, last.query.get("uploadId")], ["DELETE", "u"]);
  assert.ok(
    !requests.some(({ method, query }) => method === "POST" && query.has("uploadId")),
    "it was completed",
  );
});

for (const storedBytes of [11 << 20, 7]) {
  test(`a lost answer to the end of an upload is settled by looking (${storedBytes} bytes there)`, async (t) => {
    const { store } = await storeThat(
      t,
      ({ query, method, number }) => {
        if (query.has("uploads")) return { status: 200, body: "<R><UploadId>u</UploadId></R>" };
        if (method === "POST")
          return number === 5 ? "reset" : { status: 404, body: s3ErrorBody("NoSuchUpload") };
        if (method === "GET")
          return {
            status: 206,
            headers: { "content-range": `bytes 0-0/${storedBytes}`, etag: '"e-3"' },
            body: "x",
          };
        return { status: 200, headers: { etag: '"e"' } };
      },
      { partBytes: 5 << 20 },
    );
    const put = store.put("x", megabytes(11), never);
    if (storedBytes === 11 << 20) await put;
    else await assert.rejects(put, isKind("unknown"));
  });
}

test("delete: keys that fail are repeated, and named when they go on failing", async (t) => {
  const failed = (code: string): string =>
    `<DeleteResult><Error><Key>b</Key><Code>${code}</Code><Message>no</Message></Error></DeleteResult>`;
  const once = await storeThat(t, ({ number }) => ({
    status: 200,
    body: number === 1 ? failed("InternalError") : "<DeleteResult></DeleteResult>",
  }));
  await once.store.delete(["a", "b", "c"], never);
  assert.doesNotMatch(String(once.requests[1]!.body), /<Key>a</);
  assert.match(String(once.requests[1]!.body), /<Key>b</);
  const denied = await storeThat(t, () => ({ status: 200, body: failed("AccessDenied") }));
  await assert.rejects(
    denied.store.delete(["a", "b"], never),
    /could not delete s3:\/\/bucket\/b .*AccessDenied/,
  );
  assert.equal(denied.requests.length, 1);
});

test("a store without DeleteObjects gets single deletes", async (t) => {
  const { store, requests } = await storeThat(t, ({ method }) =>
    method === "POST" ? { status: 501, body: s3ErrorBody("NotImplemented") } : { status: 204 },
  );
  await store.delete(["a", "b"], never);
  assert.deepEqual(
    requests.map(({ method, key }) => `${method} ${key}`),
    ["POST ", "DELETE a", "DELETE b"],
  );
});

test("a listing out of order, or with a page that names no next one, is refused", async (t) => {
  const page = (keys: readonly string[], more = ""): ScriptedAnswer => ({
    status: 200,
    body: `<ListBucketResult>${keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join("")}${more}</ListBucketResult>`,
  });
  const listed = async (answer: ScriptedAnswer): Promise<string[]> => {
    const { store } = await storeThat(t, () => answer);
    const keys: string[] = [];
    for await (const { key } of store.list("", never)) keys.push(key);
    return keys;
  };
  assert.deepEqual(await listed(page(["a", "b/", "b/x"])), ["a", "b/x"]);
  await assert.rejects(listed(page(["b", "a"])), isKind("refused"));
  await assert.rejects(listed(page(["a", "a"])), isKind("refused"));
  await assert.rejects(listed(page(["a"], "<IsTruncated>true</IsTruncated>")), isKind("refused"));
});

test("a listing whose page fails goes on from there", async (t) => {
  const { store, requests } = await storeThat(t, ({ query, number }) => {
    if (number === 2) return { status: 500, body: s3ErrorBody("InternalError") };
    const next = query.get("continuation-token");
    return {
      status: 200,
      body:
        next === null
          ? "<R><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken><Contents><Key>a</Key></Contents></R>"
          : "<R><Contents><Key>b</Key></Contents></R>",
    };
  });
  const keys: string[] = [];
  for await (const { key } of store.list("", never)) keys.push(key);
  assert.deepEqual(keys, ["a", "b"]);
  assert.equal(requests.length, 3);
});

test("no error tells a secret, though the store sends it back", async (t) => {
  const { store } = await storeThat(t, () => ({
    status: 403,
    body: s3ErrorBody("SignatureDoesNotMatch", `you signed with ${SCRIPTED_SECRET}`),
  }));
  const error: unknown = await store.head("x", never).catch((error: unknown) => error);
  assert.match(messageOf(error), /SignatureDoesNotMatch/);
  const shown =
    messageOf(error) +
    inspect(error, { depth: 12, showHidden: true }) +
    JSON.stringify(error) +
    inspect(store, { depth: 2 });
  assert.ok(!shown.includes(SCRIPTED_SECRET));
});

test("a dead endpoint is reported, whether it refuses or swallows connections", async () => {
  const closed = createServer();
  await new Promise<void>((done) => closed.listen(0, "127.0.0.1", done));
  const { port } = closed.address() as AddressInfo;
  await new Promise((done) => closed.close(done));
  const refusing = await openStore(settingsFor(`http://127.0.0.1:${port}`));
  await assert.rejects(refusing.head("x", never), isKind("unknown"));
  await using silent = await silentHost();
  const swallowing = await openStore(settingsFor(`http://${silent.host}:${silent.port}`));
  const begun = performance.now();
  await assert.rejects(swallowing.head("x", never), isKind("unknown"));
  assert.ok(performance.now() - begun < 10_000);
});

/** Time passes only in pauses. */
function pausingClock(): typeof systemClock & { atMs: number } {
  const clock = {
    atMs: 0,
    now: () => clock.atMs,
    monotonicMs: () => clock.atMs,
    sleep: async (ms: number) => void (clock.atMs += ms),
  };
  return clock;
}

test("by default a request gives up within half a minute, a part of an upload that is under way within minutes", async (t) => {
  const { settings } = await scriptedS3(t, ({ query }) =>
    query.has("uploads")
      ? { status: 200, body: "<R><UploadId>u</UploadId></R>" }
      : { status: 503, body: s3ErrorBody("SlowDown") },
  );
  const { maxRetries, idleTimeoutMs, connectTimeoutMs } = S3_DEFAULTS;
  const lastTryMs = idleTimeoutMs + connectTimeoutMs / 10;
  for (const [what, leastMs, mostMs] of [
    ["head", 10_000, 30_000 - lastTryMs],
    ["put", 60_000, 240_000],
  ] as const) {
    const pausing = pausingClock();
    const store = await openS3Store(
      { ...settings, maxRetries, partBytes: 5 << 20 },
      { clock: pausing, log: silentLog },
    );
    await assert.rejects(
      what === "head" ? store.head("x", never) : store.put("x", megabytes(11), never),
      isKind("unknown"),
    );
    assert.ok(pausing.atMs > leastMs && pausing.atMs < mostMs, `${what} gave up after ${pausing.atMs} ms`);
  }
});

test("a name that does not resolve is unknown: the resolver may be down", async () => {
  const store = await openStore(settingsFor("http://no-such-host.invalid"));
  await assert.rejects(store.head("x", never), isKind("unknown"));
});

test("an abort while the store is silent ends at once, with the signal's reason", async (t) => {
  const { store } = await storeThat(t, () => "silent", { idleTimeoutMs: 5000 });
  const reason = new Error("we are stopping");
  const stop = new AbortController();
  const pending = [
    store.head("x", stop.signal),
    store.put("x", Buffer.from("x"), stop.signal),
    store.create("x", Buffer.from("x"), stop.signal),
  ];
  setTimeout(() => stop.abort(reason), 50);
  const begun = performance.now();
  for (const outcome of await Promise.allSettled(pending)) {
    assert.equal(outcome.status === "rejected" && outcome.reason, reason);
  }
  assert.ok(performance.now() - begun < 1000);
});

test("an abort while a body comes ends with the signal's reason", async (t) => {
  const { store } = await storeThat(t, (request) => serve(request, { stallAt: 100 }), {
    idleTimeoutMs: 5000,
  });
  const reason = new Error("we are stopping");
  const stop = new AbortController();
  const got = (await store.get("x", stop.signal))!;
  setTimeout(() => stop.abort(reason), 50);
  await assert.rejects(readWhole(got), (error) => error === reason);
});

async function* megabytes(count: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i += 1) yield Buffer.alloc(1 << 20, i);
}
