// An owner that writes and makes a base, and takers that come at any moment: all schedules of their requests up to a few preemptions and lost
// replies, with the production functions. What was acknowledged must be read back, whoever wins.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { noCipher } from "../../src/codec/encryption.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { mustReadAccepted } from "../../src/tail/assemble.ts";
import { FencedError, StaleViewError } from "../../src/tail/errors.ts";
import { LiveLog } from "../../src/tail/live-log.ts";
import { readLog } from "../../src/tail/read.ts";
import { SlotQueue } from "../../src/tail/slot-queue.ts";
import { takeOver } from "../../src/tail/take-over.ts";
import { addBytes, lsnOf } from "../../src/wal/lsn.ts";
import { type Bounds, type Scenario, exploreAll } from "../support/interleaving.ts";
import { PLAIN, SYSTEM_ID } from "../support/log-bench.ts";

const IS_LONG = process.env["HOLDFAST_LONG"] !== undefined;
const START = lsnOf(0x1000000n);
const BYTES = 8;
const identity = { systemId: SYSTEM_ID, segmentBytes: 1 << 20 };
/** Waits for nothing: only the schedule decides what comes when. */
const hasty: Clock = { now: () => 0, monotonicMs: () => 0, sleep: async () => undefined };

/** `slots` data slots and, if told, a base with its deletes; every settled slot is acknowledged. */
function streamer(
  name: string,
  { slots, base }: { slots: number; base: boolean },
  acked: Map<bigint, number>,
): (store: ObjectStore) => Promise<void> {
  const { signal } = new AbortController();
  const mark = name.charCodeAt(0);
  return async (store) => {
    const tools = { clock: hasty, log: silentLog, signal, random: () => 0, store, codec: PLAIN };
    const fencing = "conditional" as const;
    const taking = { ...tools, identity, purpose: "start" as const, node: name, fencing, cipher: noCipher };
    const claim = await takeOver(store, {
      ...taking,
      drawToken: () => Buffer.from(name.padEnd(16)).toString("hex"),
    });
    const live = new LiveLog({
      claim,
      tools,
      due: undefined,
      readOpen: async (state) => {
        const out: Uint8Array[] = [];
        const assemble = { store, cipher: noCipher, signal, published: async () => null };
        for await (const piece of mustReadAccepted(
          live.view(state),
          state.tip!.path,
          START,
          state.tip!.end,
          assemble,
        ))
          out.push(piece);
        return Buffer.concat(out);
      },
    });
    const onSettled = (
      ...[slot]: Parameters<ConstructorParameters<typeof SlotQueue>[0]["onSettled"]>
    ): void => {
      live.add(slot);
      if (slot.header.kind === "data") acked.set(slot.header.start, mark);
    };
    const queue = new SlotQueue({ ...tools, claim, inFlight: 2, hedge: false, onSettled });
    try {
      for (let i = 0; i < slots; i += 1) {
        const start = queue.planned.tip?.end ?? START;
        const content = {
          kind: "data" as const,
          timeline: 1,
          start,
          end: addBytes(start, BYTES),
          newestCommit: null,
        };
        queue.submit(content, Buffer.alloc(BYTES, mark));
      }
      await queue.whenSettled(queue.planned.firstFree - 1, signal);
      if (base) await live.makeBase(queue.settled);
    } catch (error) {
      // A stale owner may find its slots deleted while it makes a base: it was fenced, and makes none.
      if (!(error instanceof FencedError) && !(error instanceof StaleViewError)) throw error;
    }
  };
}

/** Every acknowledged byte is where it was acknowledged. */
const checkWith =
  (acked: ReadonlyMap<bigint, number>): Scenario["check"] =>
  async (memory) => {
    const { signal } = new AbortController();
    const view = await readLog(memory, { cipher: noCipher, signal });
    const bytes: Uint8Array[] = [];
    const tools = { store: memory, cipher: noCipher, signal, published: async () => null };
    if (view?.tip != null) {
      for await (const piece of mustReadAccepted(view, view.tip.path, START, view.tip.end, tools))
        bytes.push(piece);
    }
    const log = Buffer.concat(bytes);
    for (const [start, mark] of acked) {
      const at = Number(start - START);
      assert.deepEqual(
        [...log.subarray(at, at + BYTES)],
        Array<number>(BYTES).fill(mark),
        `acknowledged at ${at}`,
      );
    }
  };

const CASES: readonly {
  name: string;
  who: Readonly<Record<string, { slots: number; base: boolean }>>;
  bounds: Bounds;
}[] = [
  {
    name: "an owner with a base and one taker",
    who: { a: { slots: 2, base: true }, b: { slots: 1, base: false } },
    bounds: { preemptions: IS_LONG ? 3 : 2, lostReplies: 0 },
  },
  {
    name: "two owners with bases and a lost reply",
    who: { a: { slots: 1, base: true }, b: { slots: 1, base: true } },
    bounds: { preemptions: IS_LONG ? 2 : 1, lostReplies: 1 },
  },
  {
    name: "two owners with bases and a taker",
    who: { a: { slots: 1, base: true }, b: { slots: 1, base: true }, c: { slots: 1, base: false } },
    bounds: { preemptions: IS_LONG ? 2 : 1, lostReplies: 0 },
  },
];
for (const { name, who, bounds } of CASES) {
  test(`all schedules: ${name}`, async (t) => {
    const runs = await exploreAll(() => {
      const acked = new Map<bigint, number>();
      const processes = Object.fromEntries(
        Object.entries(who).map(([each, work]) => [each, streamer(each, work, acked)]),
      );
      return { processes, check: checkWith(acked) };
    }, bounds);
    t.diagnostic(`${runs} schedules`);
    assert.ok(runs > 100);
  });
}
