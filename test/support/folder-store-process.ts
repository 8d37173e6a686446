// A process of its own that works in a folder store, for tests of what processes do to each other. Arguments: folder, task, name.

import { setTimeout as delay } from "node:timers/promises";
import { openFolderStore } from "../../src/storage/folder-store.ts";
import { readWhole } from "../../src/storage/object-store.ts";

const never = new AbortController().signal;
const [folder = "", task = "", name = ""] = process.argv.slice(2);
const store = await openFolderStore(folder);

/** Tries to make 50 objects that the others want to make too; prints those it made. */
async function race(): Promise<void> {
  for (let i = 0; i < 50; i += 1) {
    if ((await store.create(`race/${i}`, Buffer.from(name), never)) === "created") console.log(i);
  }
}

/** Adds 1 to a counter 15 times, by compare-and-swap. */
async function count(): Promise<void> {
  for (let done = 0; done < 15;) {
    const found = (await store.get("counter", never))!;
    const value = Number(Buffer.from(await readWhole(found)));
    const outcome = await store.replace("counter", Buffer.from(String(value + 1)), found.etag, never);
    if (outcome === "replaced") done += 1;
  }
}

/** Makes and deletes objects in a folder that the others empty all the time. */
async function churn(): Promise<void> {
  for (let i = 0; i < 60; i += 1) {
    await store.put(`deep/er/${name}`, Buffer.from(name), never);
    await store.delete([`deep/er/${name}`], never);
  }
}

/** Writes objects of 3 MiB, each full of one byte, until it is killed; prints each that is acknowledged. */
async function fill(): Promise<void> {
  for (let i = 0; ; i += 1) {
    const byte = i % 256;
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let piece = 0; piece < 48; piece += 1) {
        yield Buffer.alloc(65_536, byte);
        await delay(0);
      }
    }
    await store.put(`fill/${i % 7}`, pieces(), never);
    console.log(i);
  }
}

await { race, count, churn, fill }[task as "race" | "count" | "churn" | "fill"]();
