// Every promise of src/storage/object-store.ts, as tests that each driver runs.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { collect, compareKeys } from "../../src/base/bytes.ts";
import { type ObjectInfo, type ObjectStore, StoreError, readWhole } from "../../src/storage/object-store.ts";
import { makeRandom, mixedBytes } from "./random.ts";

const MIB = 1 << 20;
const never = new AbortController().signal;

export interface SuiteOptions {
  /** Bytes of the longest key to try. */
  readonly keyBytes?: number;
  /** False leaves out the cases with thousands of objects. */
  readonly bulk?: boolean;
}

/** `makeStore` gives an empty store of its own to every test. */
export function objectStoreSuite(
  name: string,
  makeStore: (t: TestContext) => Promise<ObjectStore>,
  { keyBytes = 1024, bulk = true }: SuiteOptions = {},
): void {
  const check = (sentence: string, body: (store: ObjectStore) => Promise<void>): void => {
    test(`${name}: ${sentence}`, async (t) => body(await makeStore(t)));
  };
  reading(check);
  writing(check, oddKeys(keyBytes));
  conditions(check);
  listing(check);
  if (bulk) manyObjects(check);
}

type Check = (sentence: string, body: (store: ObjectStore) => Promise<void>) => void;

function reading(check: Check): void {
  check("what is not there is null", async (store) => {
    assert.equal(await store.get("nothing", never), null);
    assert.equal(await store.head("no/such/object", never), null);
    await store.put("a", text("1"), never);
    assert.equal(await store.head("a/b", never), null);
  });

  check("an object comes back with its size, time and tag", async (store) => {
    const before = Date.now();
    await store.put("folder/x", text("hello"), never);
    const info = (await store.head("folder/x", never))!;
    assert.deepEqual([info.key, info.bytes], ["folder/x", 5]);
    assert.ok(Math.abs(info.modifiedMs - before) < 5000, `modified ${info.modifiedMs}, now ${before}`);
    assert.notEqual(info.etag, "");
    const got = (await store.get("folder/x", never))!;
    assert.equal(String(Buffer.from(await readWhole(got))), "hello");
    assert.deepEqual([got.key, got.bytes, got.etag], ["folder/x", 5, info.etag]);
  });

  check("an empty object is an object", async (store) => {
    await store.put("empty", new Uint8Array(0), never);
    assert.equal((await store.head("empty", never))!.bytes, 0);
    assert.equal((await readWhole((await store.get("empty", never))!)).byteLength, 0);
    assert.equal((await readWhole((await store.get("empty", never, { start: 0 }))!)).byteLength, 0);
  });

  check("ranges: the start is in, the end is not, past the object there is nothing", async (store) => {
    await store.put("digits", text("0123456789"), never);
    const part = async (start: number, end?: number): Promise<string> => {
      const got = (await store.get("digits", never, end === undefined ? { start } : { start, end }))!;
      assert.equal(got.bytes, 10);
      return String(Buffer.from(await collect(got.body)));
    };
    assert.equal(await part(0), "0123456789");
    assert.equal(await part(3, 6), "345");
    assert.equal(await part(0, 1), "0");
    assert.equal(await part(7), "789");
    assert.equal(await part(9, 100), "9");
    assert.equal(await part(10), "");
    assert.equal(await part(50, 60), "");
    assert.equal(await part(4, 4), "");
    assert.equal(await store.get("nothing", never, { start: 4, end: 8 }), null);
  });

  check("a body can be left early", async (store) => {
    await store.put("big", new Uint8Array(3 * MIB), never);
    const got = (await store.get("big", never))!;
    for await (const piece of got.body) {
      assert.ok(piece.byteLength > 0);
      break;
    }
    assert.equal((await store.head("big", never))!.bytes, 3 * MIB);
  });

  check("an aborted signal ends every operation with its reason", async (store) => {
    const reason = new Error("enough");
    const aborted = AbortSignal.abort(reason);
    const same = (error: unknown): boolean => error === reason;
    await assert.rejects(store.get("x", aborted), same);
    await assert.rejects(store.head("x", aborted), same);
    await assert.rejects(store.put("x", text("1"), aborted), same);
    await assert.rejects(store.create("x", text("1"), aborted), same);
    await assert.rejects(store.replace("x", text("1"), "tag", aborted), same);
    await assert.rejects(keysOf(store.list("", aborted)), same);
    await assert.rejects(store.delete(["x"], aborted), same);
    await assert.rejects(store.copy("x", "y", aborted), same);
    assert.equal(await store.head("x", never), null);
  });
}

function writing(check: Check, odd: readonly string[]): void {
  check("put replaces, and the tag changes with the content", async (store) => {
    await store.put("x", text("one"), never);
    const first = (await store.head("x", never))!.etag;
    await store.put("x", text("two"), never);
    const second = (await store.head("x", never))!.etag;
    assert.notEqual(first, second);
    assert.equal(await textOf(store, "x"), "two");
  });

  check("a stream of unknown length arrives whole", async (store) => {
    const bytes = mixedBytes(11 * MIB + 13, makeRandom(1));
    await store.put("streamed", inPieces(bytes, 300_007), never);
    const got = (await store.get("streamed", never))!;
    assert.equal(got.bytes, bytes.byteLength);
    assert.ok(bytes.equals(await readWhole(got)));
  });

  check("a stream with its length told arrives whole", async (store) => {
    const bytes = mixedBytes(2 * MIB + 1, makeRandom(2));
    await store.put("told", inPieces(bytes, 65_536), never, { bytes: bytes.byteLength });
    assert.ok(bytes.equals(await readWhole((await store.get("told", never))!)));
    await store.put("none", inPieces(Buffer.alloc(0), 1), never);
    assert.equal((await store.head("none", never))!.bytes, 0);
  });

  check("a stream that breaks leaves nothing, and the old object stays", async (store) => {
    await store.put("kept", text("old"), never);
    async function* breaking(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 7; i += 1) yield new Uint8Array(MIB);
      throw new RangeError("the disk of the writer broke");
    }
    await assert.rejects(store.put("kept", breaking(), never), /the disk of the writer broke/);
    await assert.rejects(store.put("new", breaking(), never), /the disk of the writer broke/);
    assert.equal(await textOf(store, "kept"), "old");
    assert.deepEqual(await keysOf(store.list("", never)), ["kept"]);
  });

  check("odd and long keys work in every operation", async (store) => {
    for (const key of odd) {
      assert.equal(await store.create(key, text(key), never), "created", key);
      assert.equal(await store.create(key, text("other"), never), "exists", key);
      assert.equal(await textOf(store, key), key);
      await store.copy(key, `copied/${key.slice(0, 900)}`, never);
      assert.equal(await textOf(store, `copied/${key.slice(0, 900)}`), key);
      await store.delete([`copied/${key.slice(0, 900)}`], never);
    }
    assert.deepEqual(await keysOf(store.list("", never)), [...odd].sort(compareKeys));
    for (const key of odd) assert.deepEqual(await keysOf(store.list(key, never)), [key]);
    await store.delete(odd, never);
    assert.deepEqual(await keysOf(store.list("", never)), []);
  });

  check("copy copies, and refuses a missing source", async (store) => {
    const bytes = mixedBytes(MIB, makeRandom(3));
    await store.put("from", bytes, never);
    await store.copy("from", "to/here", never);
    assert.ok(bytes.equals(await readWhole((await store.get("to/here", never))!)));
    await assert.rejects(store.copy("missing", "to/there", never), refused);
  });
}

function conditions(check: Check): void {
  check("create makes once, and what exists stays", async (store) => {
    assert.equal(await store.create("slot/1", text("first"), never), "created");
    assert.equal(await store.create("slot/1", text("second"), never), "exists");
    assert.equal(await textOf(store, "slot/1"), "first");
    await store.delete(["slot/1"], never);
    assert.equal(await store.create("slot/1", text("third"), never), "created");
  });

  check("of 20 creates at once exactly one wins, and its bytes stand", async (store) => {
    for (let round = 0; round < 3; round += 1) {
      const key = `race/${round}`;
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) => untilKnown(() => store.create(key, text(`writer ${i}`), never))),
      );
      const winners = outcomes.flatMap((outcome, i) => (outcome === "created" ? [i] : []));
      assert.ok(winners.length <= 1, `${winners.length} winners`);
      const standing = await textOf(store, key);
      assert.match(standing, /^writer \d+$/);
      if (winners.length === 1) assert.equal(standing, `writer ${winners[0]}`);
    }
  });

  check("replace needs the tag that stands", async (store) => {
    assert.equal(await store.replace("x", text("1"), "no-such-tag", never), "changed");
    await store.put("x", text("one"), never);
    const { etag } = (await store.head("x", never))!;
    assert.equal(await store.replace("x", text("two"), etag, never), "replaced");
    assert.equal(await store.replace("x", text("three"), etag, never), "changed");
    assert.equal(await textOf(store, "x"), "two");
    await store.delete(["x"], never);
    assert.equal(await store.replace("x", text("four"), etag, never), "changed");
    assert.equal(await store.head("x", never), null);
  });

  check("of 10 replaces at once with one tag at most one wins", async (store) => {
    await store.put("counter", text("start"), never);
    const { etag } = (await store.head("counter", never))!;
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        store.replace("counter", text(`writer ${i}`), etag, never).catch((error: unknown) => {
          assert.ok(error instanceof StoreError && error.kind === "unknown", String(error));
          return "unknown" as const;
        }),
      ),
    );
    const winners = outcomes.flatMap((outcome, i) => (outcome === "replaced" ? [i] : []));
    assert.ok(winners.length <= 1, `${winners.length} winners`);
    if (winners.length === 1) assert.equal(await textOf(store, "counter"), `writer ${winners[0]}`);
  });
}

function listing(check: Check): void {
  check("folders do not disturb the order", async (store) => {
    const keys = ["a", "b-1", "b.x", "b/1", "b/2/x", "b/2-x", "b0", "b/10", "c/d/e/f", "c/d-e", "é", "z"];
    for (const key of keys) await store.put(key, text(key), never);
    const sorted = [...keys].sort(compareKeys);
    assert.deepEqual(await keysOf(store.list("", never)), sorted);
    for (const [at, after] of sorted.entries()) {
      assert.deepEqual(
        await keysOf(store.list("", never, { after })),
        sorted.slice(at + 1),
        `after ${after}`,
      );
    }
    assert.deepEqual(await keysOf(store.list("b/", never)), ["b/1", "b/10", "b/2-x", "b/2/x"]);
    assert.deepEqual(await keysOf(store.list("b/2", never)), ["b/2-x", "b/2/x"]);
  });

  check("a listing tells what head tells", async (store) => {
    await store.put("one/x", text("12345"), never);
    const [listed] = await infosOf(store.list("one", never));
    const head = (await store.head("one/x", never))!;
    assert.deepEqual([listed!.key, listed!.bytes, listed!.etag], [head.key, head.bytes, head.etag]);
    assert.ok(Math.abs(listed!.modifiedMs - head.modifiedMs) < 1000);
  });
}

function manyObjects(check: Check): void {
  check("2,500 keys are listed in byte order, by prefix and from a key on", async (store) => {
    const keys = Array.from({ length: 2500 }, (_, i) => `log/${String(i * 7919).padStart(20, "0")}`);
    await eachFew(keys, (key) => store.put(key, text("x"), never));
    await store.put("log-book", text("x"), never);
    await store.put("lo", text("x"), never);
    assert.deepEqual(await keysOf(store.list("log/", never)), keys);
    assert.deepEqual(await keysOf(store.list("", never)), ["lo", "log-book", ...keys]);
    assert.deepEqual(await keysOf(store.list("log", never)), ["log-book", ...keys]);
    const after = keys[1499]!;
    assert.deepEqual(await keysOf(store.list("log/", never, { after })), keys.slice(1500));
    assert.deepEqual(await keysOf(store.list("log/", never, { after: `${after}0` })), keys.slice(1500));
    assert.deepEqual(await keysOf(store.list("log/", never, { after: "log/" })), keys);
    assert.deepEqual(await keysOf(store.list("log/", never, { after: "m" })), []);
    assert.deepEqual(await keysOf(store.list("none/", never)), []);
    const few: string[] = [];
    for await (const { key } of store.list("log/", never)) if (few.push(key) === 3) break;
    assert.deepEqual(few, keys.slice(0, 3));
  });

  check("1,203 keys are deleted at once, missing ones among them", async (store) => {
    const keys = Array.from({ length: 1200 }, (_, i) => `old/${i % 7}/${i}`);
    await eachFew(keys, (key) => store.put(key, text("x"), never));
    await store.put("kept", text("x"), never);
    await store.delete([...keys, "missing", "old/missing", "no/folder/missing"], never);
    assert.deepEqual(await keysOf(store.list("", never)), ["kept"]);
    await store.delete(keys, never);
    await store.delete([], never);
  });
}

/** Keys that trip careless drivers. */
const ODD_KEYS: readonly string[] = [
  "with space/and  two",
  "plus+and%20percent%",
  "question?mark&amp;<tag>\"quote'",
  "hash#semi;colon:at@comma,equals=",
  "ümläut/日本語/🐘",
  "back\\slash/pipe|star*",
  ".hidden/..dots../...",
  "UPPER/lower",
  "trailing dot.",
];

/** With one of `keyBytes` bytes, in parts that a folder can hold. */
function oddKeys(keyBytes: number): readonly string[] {
  const long = Array.from({ length: keyBytes }, (_, i) => (i % 255 === 254 ? "/" : "k")).join("");
  return [...ODD_KEYS, long.endsWith("/") ? `${long.slice(0, -1)}o` : long];
}

const text = (content: string): Uint8Array => Buffer.from(content, "utf8");

const refused = (error: unknown): boolean => error instanceof StoreError && error.kind === "refused";

async function textOf(store: ObjectStore, key: string): Promise<string> {
  const got = await store.get(key, never);
  assert.ok(got !== null, `"${key}" is not there`);
  return Buffer.from(await readWhole(got)).toString("utf8");
}

async function infosOf(list: AsyncIterable<ObjectInfo>): Promise<ObjectInfo[]> {
  const infos: ObjectInfo[] = [];
  for await (const info of list) infos.push(info);
  return infos;
}

async function keysOf(list: AsyncIterable<ObjectInfo>): Promise<string[]> {
  return (await infosOf(list)).map(({ key }) => key);
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function eachFew<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

/** Repeats while the outcome is unknown, as a caller must. A repeat of the winner may then see "exists". */
async function untilKnown<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof StoreError && error.kind === "unknown") || tries >= 20) throw error;
    }
  }
}
