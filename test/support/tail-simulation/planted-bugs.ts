// Bugs planted into the production modules while they are loaded, by replacing text that must be there. Each breaks one rule of the protocol;
// the simulation must catch every one. No switch for them exists in the production code.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Action } from "./world.ts";

export interface PlantedBug {
  readonly name: string;
  /** The rule it breaks, and the trace of the protocol's section 11 that shows why it is one. */
  readonly breaks: string;
  /** Below src/. */
  readonly file: string;
  /** Must stand there exactly once. */
  readonly find: string;
  readonly replace: string;
  /** Actions of the simulation that lead to it. */
  readonly favour?: readonly Action[];
}

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: "the second look is skipped",
    breaks: "T3, X2",
    file: "tail/take-over.ts",
    find: "if (name !== null && name.seq > fence) return true;",
    replace: "",
    favour: ["promote", "restore", "pause", "resume", "stop"],
  },
  {
    name: "an unknown fence is a success",
    breaks: "T2, X4",
    file: "tail/take-over.ts",
    find: 'if (options.fencing === "conditional") return store.create(key, fence.bytes, signal);',
    replace: 'return store.create(key, fence.bytes, signal).catch(() => "created" as const);',
  },
  {
    name: "an existing fence is ours",
    breaks: "T2, X7",
    file: "tail/take-over.ts",
    find: "return there !== null && Buffer.compare(there, fence.bytes) === 0;",
    replace: "return true;",
  },
  {
    name: "the token is the node's name",
    breaks: "section 1, X5",
    file: "tail/take-over.ts",
    find: "token: drawToken(),",
    replace: 'token: Buffer.from(node.padEnd(16)).toString("hex"),',
    favour: ["twin", "start"],
  },
  {
    name: "no dead zone",
    breaks: "L3, X1",
    file: "tail/run.ts",
    find: 'const step = header.kind === "fence" ? WINDOW : 1;',
    replace: "const step = 1;",
  },
  {
    name: "more slots in flight than the dead zone is wide",
    breaks: "W1, X1",
    file: "tail/slot-queue.ts",
    find: "for (const slot of this.#slots.slice(0, this.#options.inFlight)) {",
    replace: "for (const slot of this.#slots) {",
  },
  {
    name: "an existing slot is ours",
    breaks: "W2, X7",
    file: "tail/slot-queue.ts",
    find: "if (!isSameHeader(slot, there)) throw",
    replace: "if (false) throw",
  },
  {
    name: "a slot is rebuilt on every attempt",
    breaks: "W4, X6",
    file: "tail/slot-queue.ts",
    find: "() => this.#put(slot.key, bytes), tools);",
    replace:
      '() => this.#put(slot.key, Buffer.from(Buffer.from(bytes).toString("latin1").replace(/"node":"../, () => `"node":"${String.fromCharCode(65 + (this.#times.tries = (this.#times.tries ?? 0) + 1) % 26)}0`), "latin1")), tools);',
  },
  {
    name: "the durable position jumps over holes",
    breaks: "W3, X9",
    file: "tail/slot-queue.ts",
    find: "while (this.#slots[0]?.isSettled === true) {",
    replace: "while (this.#slots.some((each) => each.isSettled)) {",
  },
  {
    name: "what was taken counts as durable",
    breaks: "W3",
    file: "tail/owner.ts",
    find: "return this.#reports ? requireTip(this.#queue.settled).end : null;",
    replace: "return this.#reports ? requireTip(this.#queue.planned).end : null;",
  },
  {
    name: "a new timeline reports before its history is accepted",
    breaks: "S2, G5",
    file: "tail/owner.ts",
    find: 'this.#reports = beginning.kind !== "bring";',
    replace: "this.#reports = true;",
  },
  {
    name: "bases are listed before the slots",
    breaks: "R1, X8",
    file: "tail/read.ts",
    find: "const fetched = await reader.fetchSlots(start);\n  const base = await reader.fetchBase();",
    replace: "const base = await reader.fetchBase();\n  const fetched = await reader.fetchSlots(start);",
  },
  {
    name: "slots are deleted before the base exists",
    breaks: "D2, X9c",
    file: "tail/live-log.ts",
    find: "const base = await putBase(draftBase(state, claim), await readOpen(state), claim, tools);",
    replace:
      "const early = draftBase(state, claim); const open = await readOpen(state); await deleteBelow({ key: '', header: early } as any, this.#slots, null, tools); const base = await putBase(early, open, claim, tools);",
  },
  {
    name: "fences are deleted with the slots",
    breaks: "T4, X3",
    file: "tail/bases.ts",
    find: '.filter(({ header }) => header.kind !== "fence" && header.seq < base.header.seq)',
    replace: ".filter(({ header }) => header.seq < base.header.seq)",
    favour: ["promote", "restore", "pause", "resume"],
  },
  {
    name: "a base says more is published than the log ends at",
    breaks: "D1, P2",
    file: "tail/owner.ts",
    find: "return this.#live.makeBase(this.#publisher.oldestDebt?.before ?? this.#queue.settled);",
    replace: "return this.#live.makeBase(this.#queue.settled);",
  },
  {
    name: "a base does not wait for what is being published beside others",
    breaks: "D1, P2",
    file: "tail/publisher.ts",
    find: "return this.#debts[0] ?? null;",
    replace: "return this.#debts.find((debt) => !this.#taken.has(debt)) ?? null;",
  },
  {
    name: "a segment is published when it is full, not when it is settled",
    breaks: "P1, P4",
    file: "tail/owner.ts",
    find: "this.#publisher.keep(requireTip(this.#queue.planned).timeline, segment),",
    replace:
      "{ const { timeline, path } = requireTip(this.#queue.planned); this.#publisher.keep(timeline, segment); this.#publisher.owe([{ owed: { kind: 'segment', segment: { timeline, number: segment.start / BigInt(this.#queue.planned.identity.segmentBytes) }, path }, before: this.#queue.settled }]); },",
  },
  {
    name: "a child's run begins at its segment's start",
    breaks: "L5, X15",
    file: "tail/run.ts",
    find: "tip: { timeline, promotion, path, begin: tip!.begin, end: fork, published },",
    replace:
      "tip: { timeline, promotion, path, begin: tip!.begin, end: segmentFloor(fork, identity.segmentBytes), published },",
  },
  {
    name: "the parent's published segments count for the child",
    breaks: "P2, X21",
    file: "tail/bases.ts",
    find: "published: segmentFloor(tip.end, identity.segmentBytes),",
    replace: "published: tip.published,",
  },
  {
    name: "the child's copy of the fork's segment lacks the parent's bytes",
    breaks: "R3 b",
    file: "tail/publisher.ts",
    find: "await fillAccepted(this.#options.view(), path, start, end, plain, this.#options.assemble);",
    replace:
      "const { begin } = path.at(-1)!; const from = owed.kind === 'segment' && begin > start ? begin : start; await fillAccepted(this.#options.view(), path, from, end, plain.subarray(Number(from - start)), this.#options.assemble);",
  },
  {
    name: "a segment that the path leaves is served whole",
    breaks: "R3 c, X14",
    file: "tail/assemble.ts",
    find: "if (left === null || left >= segmentEnd(segment, segmentBytes)) return bytes;",
    replace: "if (left === null || left !== null) return bytes;",
  },
  {
    name: "slots are assembled past the fork",
    breaks: "R3 c, L7",
    file: "wal/timeline-path.ts",
    find: "for (const step of path) if (step.begin <= lsn) owner = step;",
    replace:
      "for (const step of path.slice(0, Math.max(1, path.length - 1))) if (step.begin <= lsn) owner = step;",
  },
  {
    name: "any fork is accepted",
    breaks: "L6, X13, X21",
    file: "tail/writer.ts",
    find: "if (fork === recordEnd) return;",
    replace: "if (fork === recordEnd || fork !== recordEnd) return;",
    favour: ["short", "lose"],
  },
  {
    name: "the parent's bytes up to the fork are not brought",
    breaks: "S2, X13",
    file: "tail/junction.ts",
    find: "backfill: own.begin > tip.end ? { from: tip.end, to: own.begin } : null,",
    replace: "backfill: null,",
    favour: ["blind", "start", "follow"],
  },
  {
    name: "pg_wal is not compared with the log",
    breaks: "S1, X20",
    file: "tail/junction.ts",
    find: 'if (local.bytes === "different") return suspect("pg_wal has other bytes than the log");',
    replace: "",
    favour: ["snapshot", "roll back", "blind", "start", "kill"],
  },
  {
    name: "a volume that is short of the log continues it",
    breaks: "S1, X10",
    file: "tail/junction.ts",
    find: "if (local.walkedTo < recordEnd) {",
    replace: "if (false) {",
    favour: ["damage", "start", "kill"],
  },
];

const SOURCE = resolve(import.meta.dirname, "../../../src");

/** Throws unless every bug can still be planted: the text it replaces must stand in its file exactly once. */
export function checkPlantedBugs(): void {
  for (const { name, file, find } of PLANTED_BUGS) {
    const count = readFileSync(join(SOURCE, file), "utf8").split(find).length - 1;
    if (count !== 1)
      throw new Error(`the bug "${name}" cannot be planted: its text stands ${count} times in src/${file}`);
  }
}

/** The source of a module with the bug in it; null for the other modules. */
export function plant(bug: PlantedBug, url: string, source: string): string | null {
  return url.endsWith(`/src/${bug.file}`) ? source.replace(bug.find, () => bug.replace) : null;
}
