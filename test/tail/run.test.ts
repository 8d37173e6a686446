import assert from "node:assert/strict";
import { test } from "node:test";
import { ForeignLogError, LogDamagedError } from "../../src/tail/errors.ts";
import { type LogState, acceptSlot, faultOfSlot, stateAtBase } from "../../src/tail/run.ts";
import { NO_HASH, NO_PROMOTION, type SlotHeader } from "../../src/tail/slot.ts";
import { formatLsn, parseLsn } from "../../src/wal/lsn.ts";
import { extendPath, rootPath } from "../../src/wal/timeline-path.ts";

const identity = { systemId: 5n, segmentBytes: 1 << 20 };
const token = (n: number): string => String(n).padStart(32, "0");

/** Folds slots given in the words of the protocol; each follows the one before unless it says otherwise. */
class Run {
  state: LogState;
  #hash = 0;

  constructor(state: LogState = stateAtBase(identity, null)) {
    this.state = state;
  }

  header(part: Partial<SlotHeader> & Pick<SlotHeader, "kind">): SlotHeader {
    const { owner, firstFree, previous } = this.state;
    const chain = {
      systemId: 5n,
      seq: firstFree,
      epoch: owner?.epoch ?? 0,
      token: owner?.token ?? token(1),
      previous,
    };
    return {
      ...chain,
      node: "n",
      sha256: NO_HASH,
      length: 0,
      codec: "none",
      cipher: "none",
      ...part,
    } as SlotHeader;
  }

  add(part: Partial<SlotHeader> & Pick<SlotHeader, "kind">, body: Uint8Array | null = null): this {
    this.#hash += 1;
    const header = this.header(part);
    this.state = acceptSlot(this.state, {
      key: `slot ${header.seq}`,
      header,
      headerHash: `hash ${this.#hash}`,
      body,
    });
    return this;
  }

  fence(n: number): this {
    return this.add({ kind: "fence", epoch: this.state.firstFree, token: token(n), purpose: "start" });
  }

  data(start: string, end: string, more: Partial<SlotHeader> = {}): this {
    const timeline = this.state.tip?.timeline ?? 1;
    return this.add({
      kind: "data",
      timeline,
      start: parseLsn(start),
      end: parseLsn(end),
      newestCommit: null,
      ...more,
    } as SlotHeader);
  }

  history(timeline: number, parent: number, fork: string, cut = false): this {
    const body = Buffer.from(this.#bodyOf(parent, fork));
    return this.add(
      {
        kind: "history",
        timeline,
        parent,
        fork: parseLsn(fork),
        promotion: token(timeline),
        cut,
      } as SlotHeader,
      body,
    );
  }

  #bodyOf(parent: number, fork: string): string {
    const path = this.state.tip!.path;
    const upTo = path.slice(0, path.findIndex((step) => step.timeline === parent) + 1);
    const before = upTo
      .slice(0, -1)
      .map(({ timeline }, i) => `${timeline}\t${formatLsn(upTo[i + 1]!.begin)}\tx\n`);
    return `${before.join("")}${parent}\t${fork}\tx\n`;
  }
}

const started = (): Run => new Run().fence(1).data("0/1000000", "0/1000100");

test("an empty log is free at 0; a fence takes 16 positions", () => {
  assert.equal(new Run().state.firstFree, 0);
  const { state } = new Run().fence(1);
  assert.equal(state.firstFree, 16);
  assert.deepEqual(state.fences, [0]);
  assert.equal(state.owner?.token, token(1));
  assert.equal(state.tip, null);
});

test("data moves the end, a second fence changes the owner and nothing else", () => {
  const { state } = started().data("0/1000100", "0/1000200").fence(2);
  assert.equal(state.firstFree, 34);
  assert.equal(state.tip?.end, parseLsn("0/1000200"));
  assert.equal(state.owner?.epoch, 18);
  assert.deepEqual(state.fences, [0, 18]);
});

test("a history brings a new timeline at its fork, which may lie below the end", () => {
  const { state } = started()
    .data("0/1000100", "0/1100000")
    .data("0/1100000", "0/1100080")
    .history(3, 1, "0/10FFF00");
  assert.deepEqual(state.tip, {
    timeline: 3,
    promotion: token(3),
    path: extendPath(rootPath(1), 3, parseLsn("0/10FFF00")),
    begin: parseLsn("0/1000000"),
    end: parseLsn("0/10FFF00"),
    published: parseLsn("0/1000000"),
  });
  assert.equal(state.lastTimeline, 3);
  assert.equal(state.histories.get(3)?.header?.parent, 1);
});

test("behind a history only the new timeline is taken, from its fork exactly", () => {
  const { state } = started().history(2, 1, "0/1000100").data("0/1000100", "0/1000180");
  assert.equal(state.tip?.end, parseLsn("0/1000180"));
});

test("a gap moves the end too", () => {
  const gap = { kind: "gap", timeline: 1, start: parseLsn("0/1000100"), end: parseLsn("0/1100000") } as const;
  assert.equal(
    started().add(gap as Partial<SlotHeader> & { kind: "gap" }).state.tip?.end,
    parseLsn("0/1100000"),
  );
});

const cutFrom = (): Run =>
  started().history(2, 1, "0/1000100").data("0/1000100", "0/1000200").history(3, 2, "0/1000180");

test("with `cut` a history may leave any timeline of the path at any accepted point", () => {
  const { state } = cutFrom().history(4, 1, "0/1000080", true);
  assert.deepEqual(state.tip?.path, extendPath(rootPath(1), 4, parseLsn("0/1000080")));
});

const REFUSED: readonly { name: string; run: () => Run; says: RegExp }[] = [
  {
    name: "a wrong position",
    run: () => started().data("0/1000100", "0/1000200", { seq: 99 }),
    says: /says that it is position 99, not 17/,
  },
  {
    name: "a broken chain",
    run: () => started().data("0/1000100", "0/1000200", { previous: NO_HASH }),
    says: /does not follow the slot before it/,
  },
  {
    name: "another token",
    run: () => started().data("0/1000100", "0/1000200", { token: token(9) }),
    says: /not written by the owner/,
  },
  {
    name: "another epoch",
    run: () => started().data("0/1000100", "0/1000200", { epoch: 9 }),
    says: /not written by the owner/,
  },
  {
    name: "data before any fence",
    run: () => new Run().data("0/1000000", "0/1000100"),
    says: /not written by the owner/,
  },
  {
    name: "a hole in the WAL",
    run: () => started().data("0/1000180", "0/1000200"),
    says: /starts at 0\/1000180, the log ends at 0\/1000100/,
  },
  { name: "an overlap", run: () => started().data("0/1000000", "0/1000200"), says: /starts at 0\/1000000/ },
  {
    name: "data over two segments",
    run: () => started().data("0/1000100", "0/1100100"),
    says: /spans two segments/,
  },
  {
    name: "data of another timeline",
    run: () => started().data("0/1000100", "0/1000200", { timeline: 2 } as Partial<SlotHeader>),
    says: /is of timeline 2, the log is on 1/,
  },
  {
    name: "the parent's data behind a history",
    run: () =>
      started()
        .history(2, 1, "0/1000100")
        .data("0/1000100", "0/1000200", { timeline: 1 } as Partial<SlotHeader>),
    says: /is of timeline 1, the log is on 2/,
  },
  {
    name: "a timeline that was accepted",
    run: () => started().history(3, 1, "0/1000100").history(3, 3, "0/1000100"),
    says: /brings timeline 3, 3 was accepted/,
  },
  {
    name: "a lower timeline",
    run: () => started().history(3, 1, "0/1000100").history(2, 3, "0/1000100"),
    says: /brings timeline 2, 3 was accepted/,
  },
  {
    name: "a fork behind the end",
    run: () => started().history(2, 1, "0/1000180"),
    says: /forks at 0\/1000180, the log ends at 0\/1000100/,
  },
  {
    name: "an ancestor left without `cut`",
    run: () => cutFrom().history(4, 1, "0/1000080"),
    says: /leaves timeline 1, the log is on 3/,
  },
  {
    name: "a parent that was never accepted",
    run: () =>
      started().add(
        {
          kind: "history",
          timeline: 5,
          parent: 4,
          fork: parseLsn("0/1000080"),
          promotion: token(5),
          cut: true,
        } as SlotHeader,
        Buffer.from("1\t0/1000040\tx\n4\t0/1000080\tx\n"),
      ),
    says: /leaves timeline 4, which the log never accepted/,
  },
  {
    name: "a history file that says otherwise",
    run: () =>
      started().add(
        {
          kind: "history",
          timeline: 2,
          parent: 1,
          fork: parseLsn("0/1000100"),
          promotion: token(2),
          cut: false,
        } as SlotHeader,
        Buffer.from("1\t0/1000080\tx\n"),
      ),
    says: /does not agree with its .history file/,
  },
  {
    name: "a history without a file",
    run: () =>
      started().add(
        {
          kind: "history",
          timeline: 2,
          parent: 1,
          fork: parseLsn("0/1000100"),
          promotion: token(2),
          cut: false,
        } as SlotHeader,
        Buffer.from("nonsense"),
      ),
    says: /holds no .history file/,
  },
  {
    name: "a path that is not the parent's",
    run: () =>
      started()
        .history(2, 1, "0/1000100")
        .add(
          {
            kind: "history",
            timeline: 3,
            parent: 2,
            fork: parseLsn("0/1000100"),
            promotion: token(2),
            cut: false,
          } as SlotHeader,
          Buffer.from("1\t0/1000080\tx\n2\t0/1000100\tx\n"),
        ),
    says: /a path that is not its parent's/,
  },
  {
    name: "a log that begins on timeline 4 without a base",
    run: () => new Run().fence(1).data("0/1000000", "0/1000100", { timeline: 4 } as Partial<SlotHeader>),
    says: /begins a log on a timeline other than 1/,
  },
];
for (const { name, run, says } of REFUSED) {
  test(`damage: ${name}`, () =>
    assert.throws(run, (error) => error instanceof LogDamagedError && says.test(error.message)));
}

test("a slot of another system is refused as foreign, whatever else is wrong with it", () => {
  assert.throws(() => started().data("0/1", "0/2", { systemId: 6n }), ForeignLogError);
});

test("a founder on timeline 1 without a base: the log begins where its first slot does", () => {
  assert.deepEqual(new Run().fence(1).data("0/1000000", "0/1000100").state.tip, {
    timeline: 1,
    promotion: NO_PROMOTION,
    path: rootPath(1),
    begin: parseLsn("0/1000000"),
    end: parseLsn("0/1000100"),
    published: parseLsn("0/1000000"),
  });
});

test("asking is the same as accepting: a fault is told before a slot is put", () => {
  const run = started();
  const header = run.header({
    kind: "data",
    timeline: 1,
    start: parseLsn("0/1"),
    end: parseLsn("0/2"),
  } as SlotHeader);
  assert.match(faultOfSlot(run.state, { header, body: null })!, /starts at 0\/1/);
});
