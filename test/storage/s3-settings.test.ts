import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import { messageOf } from "../../src/base/errors.ts";
import { silentLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import type { S3Settings } from "../../src/storage/s3-settings.ts";
import { openS3Store } from "../../src/storage/s3-store.ts";
import { type ScriptedRequest, TLS, scriptedS3 } from "../support/scripted-s3.ts";

const never = new AbortController().signal;
const tools = { clock: { ...systemClock, now: () => Date.UTC(2026, 0, 1) }, log: silentLog };

/** Headers of a PUT, and of a read of the first byte, under these settings. */
async function headersUnder(
  t: TestContext,
  more: Partial<S3Settings>,
): Promise<{ put: ScriptedRequest["headers"]; get: ScriptedRequest["headers"] }> {
  const { settings, requests } = await scriptedS3(t, ({ method }) =>
    method === "GET"
      ? { status: 206, headers: { "content-range": "bytes 0-0/5" }, body: "x" }
      : { status: 200, headers: { etag: '"e"' } },
  );
  const store = await openS3Store({ ...settings, ...more }, tools);
  await store.put("x", Buffer.from("bytes"), never);
  await store.head("x", never);
  return { put: requests[0]!.headers, get: requests[1]!.headers };
}

test("storage class and the store's own encryption go with what is written", async (t) => {
  const { put, get } = await headersUnder(t, {
    storageClass: "STANDARD_IA",
    encryption: { kind: "aws:kms", keyId: "key-1" },
  });
  assert.equal(put["x-amz-storage-class"], "STANDARD_IA");
  assert.equal(put["x-amz-server-side-encryption"], "aws:kms");
  assert.equal(put["x-amz-server-side-encryption-aws-kms-key-id"], "key-1");
  assert.equal(get["x-amz-server-side-encryption"], undefined);
  const aes = await headersUnder(t, { encryption: { kind: "AES256" } });
  assert.equal(aes.put["x-amz-server-side-encryption"], "AES256");
});

test("a customer's key goes with reads and writes alike", async (t) => {
  const key = "0123456789abcdef0123456789abcdef";
  const { put, get } = await headersUnder(t, { encryption: { kind: "customer", key: new Secret(key) } });
  for (const headers of [put, get]) {
    assert.equal(headers["x-amz-server-side-encryption-customer-algorithm"], "AES256");
    assert.equal(headers["x-amz-server-side-encryption-customer-key"], Buffer.from(key).toString("base64"));
    const md5 = createHash("md5").update(key).digest("base64");
    assert.equal(headers["x-amz-server-side-encryption-customer-key-md5"], md5);
  }
});

test("object lock: mode and date by the clock", async (t) => {
  const { put } = await headersUnder(t, { retention: { mode: "COMPLIANCE", seconds: 86_400 } });
  assert.equal(put["x-amz-object-lock-mode"], "COMPLIANCE");
  assert.equal(put["x-amz-object-lock-retain-until-date"], "2026-01-02T00:00:00Z");
});

test("a session token is sent, and without settings nothing special is", async (t) => {
  const credentials = {
    accessKeyId: new Secret("access"),
    secretAccessKey: new Secret("secret"),
    sessionToken: new Secret("the-token"),
  };
  const { put } = await headersUnder(t, { credentials });
  assert.equal(put["x-amz-security-token"], "the-token");
  const bare = (await headersUnder(t, {})).put;
  for (const name of [
    "x-amz-security-token",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-object-lock-mode",
  ]) {
    assert.equal(bare[name], undefined);
  }
  assert.match(bare["authorization"] ?? "", /\/us-east-1\/s3\//);
});

test("the prefix stands before every key, whatever slashes it was given", async (t) => {
  const { settings, requests } = await scriptedS3(t, () => ({ status: 200, headers: { etag: '"e"' } }));
  for (const prefix of ["a/b", "/a/b/", "//a/b//"]) {
    const store = await openS3Store({ ...settings, prefix }, tools);
    assert.equal(store.name, "s3://bucket/a/b");
    await store.put("x", Buffer.from("1"), never);
    assert.equal(requests.at(-1)!.key, "a/b/x");
  }
});

test("a certificate of an unknown authority is refused, and the CA file makes it good", async (t) => {
  const { settings } = await scriptedS3(t, () => ({ status: 200, headers: { etag: '"e"' } }), { tls: true });
  const stranger = await openS3Store(settings, tools);
  await assert.rejects(stranger.put("x", Buffer.from("1"), never), (error) => {
    assert.ok(error instanceof StoreError && error.kind === "refused", messageOf(error));
    assert.match(error.hint, /CA file/);
    return true;
  });
  const friend = await openS3Store({ ...settings, caFile: join(TLS, "ca.pem") }, tools);
  await friend.put("x", Buffer.from("1"), never);
  const misnamed = {
    ...settings,
    caFile: join(TLS, "ca.pem"),
    endpoint: settings.endpoint!.replace("localhost", "127.0.0.1"),
  };
  await assert.rejects((await openS3Store(misnamed, tools)).put("x", Buffer.from("1"), never), (error) => {
    assert.ok(error instanceof StoreError && error.kind === "refused", messageOf(error));
    assert.match(error.hint, /endpoint's name against its certificate/);
    return true;
  });
});

test("a CA file that cannot be read is refused before anything is sent", async (t) => {
  const { settings, requests } = await scriptedS3(t, () => ({ status: 200 }));
  await assert.rejects(
    openS3Store({ ...settings, caFile: "/no/such/ca.pem" }, tools),
    /could not read the certificates/,
  );
  assert.equal(requests.length, 0);
});

test("https spoken to an http server is refused with a hint", async (t) => {
  const { settings } = await scriptedS3(t, () => ({ status: 200 }));
  const wrong = { ...settings, endpoint: settings.endpoint!.replace("http:", "https:") };
  await assert.rejects((await openS3Store(wrong, tools)).head("x", never), (error) => {
    assert.ok(error instanceof StoreError && error.kind === "refused", messageOf(error));
    assert.match(error.hint, /speaks https or http/);
    return true;
  });
});
