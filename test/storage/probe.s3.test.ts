import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { probeStore } from "../../src/storage/probe.ts";
import { sharedS3Server } from "../support/s3-server.ts";

const server = sharedS3Server();
const options = { token: "0123456789abcdef", nowMs: Date.now(), signal: new AbortController().signal };

test("RGW honours conditional writes, and the probe leaves nothing", async () => {
  const store = await (await server()).makeStore({ prefix: "app" });
  assert.deepEqual(await probeStore(store, options), { kind: "conditional" });
  for await (const { key } of store.list("", options.signal)) assert.fail(`"${key}" was left`);
});

test("a folder honours conditional writes", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "holdfast-probe-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  assert.deepEqual(await probeStore(await openFolderStore(root), options), { kind: "conditional" });
});

test("a bucket that is missing is refused", async () => {
  const running = await server();
  const bucket = await running.makeBucket();
  const store = await running.makeStore({ bucket: `${bucket}-not` });
  const outcome = await probeStore(store, options);
  assert.equal(outcome.kind, "refused");
});
