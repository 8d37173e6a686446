import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type FolderStore, openFolderStore } from "../../src/storage/folder-store.ts";
import { readWhole } from "../../src/storage/object-store.ts";
import { below, drawSeed, makeRandom } from "../support/random.ts";

const PROGRAM = resolve(import.meta.dirname, "../support/folder-store-process.ts");
const PROCESSES = 4;
const never = new AbortController().signal;

test("of four processes that make the same objects each object has one maker", async (t) => {
  const { store, root } = await scratchStore(t);
  const made = await Promise.all(names().map((name) => run(root, "race", name)));
  assert.equal(made.flat().length, 50);
  assert.equal(new Set(made.flat()).size, 50);
  for (const [at, numbers] of made.entries()) {
    for (const number of numbers) assert.equal(await textOf(store, `race/${number}`), names()[at]);
  }
});

test("no compare-and-swap of four processes is lost", async (t) => {
  const { store, root } = await scratchStore(t);
  await store.put("counter", Buffer.from("0"), never);
  await Promise.all(names().map((name) => run(root, "count", name)));
  assert.equal(await textOf(store, "counter"), String(15 * PROCESSES));
});

test("a put survives that another process removes the emptied folder under it", async (t) => {
  const { root } = await scratchStore(t);
  await Promise.all(names().map((name) => run(root, "churn", name)));
  assert.deepEqual(await readdir(root), []);
});

test("after kill -9 at any instant every object is whole, and every acknowledged one is there", async (t) => {
  const seed = drawSeed();
  const random = makeRandom(seed);
  const { store, root } = await scratchStore(t);
  for (let round = 0; round < 6; round += 1) {
    const { child, lines } = start(root, "fill", "filler");
    while (lines.length === 0) await delay(5);
    await delay(below(random, 120));
    child.kill("SIGKILL");
    await once(child, "close");
    const acknowledged = lines.map(Number);
    for await (const { key, bytes } of store.list("fill/", never)) {
      assert.equal(bytes, 48 * 65_536, `seed ${seed}, ${key}`);
      const content = await readWhole((await store.get(key, never))!);
      assert.ok(
        content.every((byte) => byte === content[0]),
        `seed ${seed}: ${key} is a mixture`,
      );
    }
    const last = acknowledged.at(-1)!;
    const newest = await readWhole((await store.get(`fill/${last % 7}`, never))!);
    assert.equal(newest[0], last % 256, `seed ${seed}: ${last} was acknowledged`);
  }
  await store.removeLeftovers(0, Date.now() + 1000, never);
  assert.ok((await readdir(join(root, "fill"))).every((name) => /^\d$/.test(name)));
});

const names = (): string[] => Array.from({ length: PROCESSES }, (_, i) => `process ${i}`);

async function scratchStore(t: TestContext): Promise<{ store: FolderStore; root: string }> {
  const root = await mkdtemp(join(tmpdir(), "holdfast-folder-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  return { store: await openFolderStore(root), root };
}

function start(root: string, task: string, name: string): { child: ChildProcess; lines: string[] } {
  const child = spawn(process.execPath, [PROGRAM, root, task, name], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  child.stdout.on("data", (chunk: Buffer) => lines.push(...String(chunk).trim().split("\n")));
  return { child, lines };
}

async function run(root: string, task: string, name: string): Promise<string[]> {
  const { child, lines } = start(root, task, name);
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 0, `${task} of ${name}`);
  return lines;
}

async function textOf(store: FolderStore, key: string): Promise<string> {
  return String(Buffer.from(await readWhole((await store.get(key, never))!)));
}
