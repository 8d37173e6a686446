// The roster in a store: read, swapped, and an unknown outcome read back until it is known.

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { systemClock } from "../../src/base/clock.ts";
import { type Roster, claimRoster } from "../../src/cluster/roster.ts";
import { type RosterObjects, changeRoster, readRoster } from "../../src/cluster/roster-store.ts";
import { StoreError } from "../../src/storage/object-store.ts";
import { MemoryStore } from "../support/memory-store.ts";

const signal = AbortSignal.timeout(10_000);
const tools = { clock: { ...systemClock, sleep: async () => undefined }, log: silentLog, signal };
const claim = (epoch: number, name: string) => (found: Roster | null) =>
  claimRoster(found, { epoch, name, volume: "v", isOrphaned: false, isContinuing: false }, ["n1", "n2"]);

test("the first claim makes it, a newer fence takes it, an older one is refused", async () => {
  const store = new MemoryStore();
  assert.equal(await readRoster(store, signal), null);
  assert.equal((await changeRoster(store, claim(17, "n1"), tools)).kind, "written");
  assert.equal((await changeRoster(store, claim(34, "n2"), tools)).kind, "written");
  const late = await changeRoster(store, claim(17, "n1"), tools);
  assert.deepEqual([late.kind, late.because], ["lost", "fence 34 claimed the roster, newer than 17"]);
  assert.equal((await readRoster(store, signal))?.roster.epoch, 34);
});

test("a swap whose answer is lost is read back", async () => {
  const store = new MemoryStore();
  await changeRoster(store, claim(17, "n1"), tools);
  let lost = 0;
  const faulty: RosterObjects = {
    get: (key, inner) => store.get(key, inner),
    create: (key, body, inner) => store.create(key, body, inner),
    replace: async (key, body, etag, inner) => {
      const outcome = await store.replace(key, body, etag, inner);
      if (lost++ === 0) throw new StoreError("unknown", "the connection was reset");
      return outcome;
    },
  };
  const outcome = await changeRoster(faulty, claim(34, "n2"), tools);
  assert.equal(outcome.kind, "written");
  assert.equal((await readRoster(store, signal))?.roster.epoch, 34);
});

test("what is no roster promotes nobody", async () => {
  const store = new MemoryStore();
  await store.put("tail_v1/roster.json", Buffer.from("{}"), signal);
  await assert.rejects(readRoster(store, signal), /holds something else than a roster/);
});
