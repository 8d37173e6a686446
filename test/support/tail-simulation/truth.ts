// What the store really holds, followed effect by effect, and the invariants I1 to I5 on it. Written apart from the code under test: it shares
// with it only the record walk, which is checked against Postgres.

import { createHash } from "node:crypto";
import { type Lsn, formatLsn, lsnOf, parseLsn } from "../../../src/wal/lsn.ts";
import { RecordWalk } from "../../../src/wal/record.ts";
import { parseSegmentName } from "../../../src/wal/segment-name.ts";
import type { StoreWatcher } from "./simulated-store.ts";

const WINDOW = 16;

interface Header {
  readonly kind: "fence" | "data" | "history" | "gap" | "base";
  readonly seq: number;
  readonly epoch: number;
  readonly token: string;
  readonly previous: string;
  readonly timeline: number;
  readonly start: string;
  readonly end: string;
  readonly parent: number;
  readonly fork: string;
  readonly promotion: string;
  readonly cut: boolean;
  readonly line: readonly [number, string][];
  readonly published: string;
}

interface Decoded {
  readonly header: Header;
  readonly hash: string;
  readonly body: Uint8Array;
}

export interface Step {
  readonly timeline: number;
  readonly begin: Lsn;
}

/** The log's state behind one accepted position. */
interface State {
  readonly timeline: number;
  readonly promotion: string;
  readonly path: readonly Step[];
  readonly end: Lsn;
}

export class Truth implements StoreWatcher {
  readonly #objects: () => ReadonlyMap<string, Uint8Array>;
  readonly #fail: (message: string) => void;
  readonly #start: Lsn;
  readonly #segmentBytes: number;
  readonly #decoded = new WeakMap<Uint8Array, Decoded | null>();
  readonly #accepted = new Map<number, string>();
  readonly #states = new Map<number, State | null>();
  readonly #bytes = new Map<number, TimelineBytes>();
  readonly #histories = new Map<
    number,
    { body: Uint8Array; path: readonly Step[]; seq: number; cut: boolean }
  >();
  #next = 0;
  #owner: { epoch: number; token: string } | null = null;
  #state: State | null = null;
  #ackedEnd: Lsn;
  /** Highest position that an owner has told of as settled, plus one. */
  ackedNext = 0;

  constructor(
    objects: () => ReadonlyMap<string, Uint8Array>,
    start: Lsn,
    segmentBytes: number,
    fail: (message: string) => void,
  ) {
    this.#objects = objects;
    this.#fail = fail;
    this.#start = start;
    this.#segmentBytes = segmentBytes;
    this.#ackedEnd = start;
  }

  /** First position nobody took. */
  get firstFree(): number {
    return this.#next;
  }

  get tip(): State | null {
    return this.#state;
  }

  get ackedEnd(): Lsn {
    return this.#ackedEnd;
  }

  hashAt(seq: number): string | undefined {
    return this.#accepted.get(seq);
  }

  /** The state behind position `next - 1`. */
  stateAt(next: number): State | null {
    return this.#states.get(next) ?? null;
  }

  /** The winner's history up to End. */
  winner(): Buffer {
    return this.#state === null ? Buffer.alloc(0) : this.compose(this.#state.path, this.#state.end)!;
  }

  /** RE(End) of the winner's history. */
  winnerRecordEnd(): Lsn {
    return this.recordEnd(this.winner());
  }

  /** RE of bytes that begin where all WAL begins. */
  recordEnd(bytes: Uint8Array): Lsn {
    const walk = new RecordWalk(this.#start, { segmentBytes: this.#segmentBytes });
    walk.push(bytes);
    return walk.recordEndWithZeros() ?? this.#start;
  }

  created(key: string, bytes: Uint8Array, old: Uint8Array | null): void {
    if (old !== null && Buffer.compare(old, bytes) !== 0) this.#fail(`I4: "${key}" was overwritten`);
    if (key.startsWith("tail_v1/log/") || key.startsWith("tail_v1/base/")) this.#follow();
    if (key.startsWith("wal_005/")) this.#published(key.slice("wal_005/".length), bytes);
  }

  deleted(key: string): void {
    if (key.startsWith("tail_v1/")) this.#follow();
    else this.#fail(`"${key}" was deleted`);
  }

  /** An owner of `epoch` told its server that `lsn` is flushed; `recordsEnd` is the end of the last record complete below
   * it, what lies below `from` was compared before. */
  acknowledged(
    epoch: number,
    settledNext: number,
    { from, recordsEnd }: { readonly from: Lsn; readonly recordsEnd: Lsn },
    bytes: (from: Lsn, to: Lsn) => Buffer,
  ): void {
    this.ackedNext = Math.max(this.ackedNext, settledNext);
    let end = recordsEnd;
    for (const { seq, cut, path } of this.#histories.values()) {
      const fork = path.at(-1)!.begin;
      if (cut && seq > epoch && fork < end) end = fork; // the operator gave up what lies behind
    }
    if (this.#state === null || this.#state.end < end) {
      this.#fail(
        `I1: ${formatLsn(end)} was acknowledged, the log ends at ${formatLsn(this.#state?.end ?? this.#start)}`,
      );
      return;
    }
    if (end > from && Buffer.compare(this.compose(this.#state.path, end, from)!, bytes(from, end)) !== 0) {
      this.#fail(`I1: what was acknowledged up to ${formatLsn(end)} is not what the log holds`);
    }
    if (end > this.#ackedEnd) this.#ackedEnd = end;
  }

  /** The accepted bytes of a path up to `end`, from the beginning of all WAL or from `first`; null when they are not all accepted. */
  compose(path: readonly Step[], end: Lsn, first: Lsn = this.#start): Buffer | null {
    const out = Buffer.alloc(Number(end - first));
    for (const [i, { timeline, begin }] of path.entries()) {
      const from = begin < first ? first : begin;
      const next = path[i + 1]?.begin ?? end;
      const to = next < end ? next : end;
      if (to <= from) continue;
      const part = this.#bytes.get(timeline)?.read(from, to) ?? null;
      if (part === null) return null;
      part.copy(out, Number(from - first));
    }
    return out;
  }

  #follow(): void {
    const base = this.#highestBase();
    let at = base?.header.seq ?? 0;
    if (base !== null) this.#checkBase(base);
    let previous = base?.header.previous ?? "0".repeat(64);
    for (;;) {
      const decoded = this.#at(`tail_v1/log/${String(at).padStart(20, "0")}`);
      if (decoded === undefined) break;
      if (decoded === null) return this.#fail(`damage: position ${at} holds rubbish`);
      if (at >= this.#next) this.#accept(at, decoded);
      else if (this.#accepted.get(at) !== decoded.hash) return this.#fail(`I3: position ${at} has changed`);
      if (decoded.header.previous !== previous) return this.#fail(`damage: position ${at} does not follow`);
      previous = decoded.hash;
      at += decoded.header.kind === "fence" ? WINDOW : 1;
    }
    if (at < this.#next) this.#fail(`I3: the log reads up to ${at}, it was accepted up to ${this.#next}`);
  }

  #accept(seq: number, { header, hash, body }: Decoded): void {
    if (seq !== this.#next) return this.#fail(`damage: position ${seq} where ${this.#next} is free`);
    if (header.seq !== seq) return this.#fail(`damage: position ${seq} says ${header.seq}`);
    if (header.kind === "base") return this.#fail(`damage: position ${seq} is a base`);
    if (header.kind === "fence") this.#owner = { epoch: seq, token: header.token };
    else if (header.token !== this.#owner?.token || header.epoch !== this.#owner.epoch) {
      return this.#fail(`damage: position ${seq} was not written by the owner`);
    }
    if (header.kind === "data") this.#acceptData(header, body);
    if (header.kind === "history") this.#acceptHistory(header, body);
    this.#accepted.set(seq, hash);
    this.#next = seq + (header.kind === "fence" ? WINDOW : 1);
    this.#states.set(this.#next, this.#state);
  }

  #acceptData(header: Header, body: Uint8Array): void {
    const start = parseLsn(header.start);
    if (this.#state === null) return this.#fail("damage: data before the log was founded");
    if (header.timeline !== this.#state.timeline || start !== this.#state.end) {
      return this.#fail(
        `L5: timeline ${header.timeline} at ${header.start} behind ${formatLsn(this.#state.end)}`,
      );
    }
    this.#timeline(header.timeline, start).append(body);
    this.#state = { ...this.#state, end: parseLsn(header.end) };
  }

  #acceptHistory(header: Header, body: Uint8Array): void {
    const state = this.#state;
    if (state === null) return this.#fail("damage: a history before the log was founded");
    const fork = parseLsn(header.fork);
    if (this.#histories.has(header.timeline) || header.timeline === 1) {
      return this.#fail(`I2: timeline ${header.timeline} stands twice in the log`);
    }
    if (!header.cut) {
      const end = this.recordEnd(this.compose(state.path, state.end)!);
      if (fork !== end)
        this.#fail(`L6: timeline ${header.timeline} forks at ${header.fork}, RE is ${formatLsn(end)}`);
      if (fork < this.#ackedEnd) {
        this.#fail(
          `I1: timeline ${header.timeline} forks at ${header.fork}, acknowledged ${formatLsn(this.#ackedEnd)}`,
        );
      }
    } else if (fork < this.#ackedEnd) this.#ackedEnd = fork;
    const parent = state.path.findIndex(({ timeline }) => timeline === header.parent);
    if (parent < 0) return this.#fail(`L6: timeline ${header.timeline} leaves ${header.parent}`);
    const path = [...state.path.slice(0, parent + 1), { timeline: header.timeline, begin: fork }];
    this.#histories.set(header.timeline, { body, path, seq: header.seq, cut: header.cut });
    this.#timeline(header.timeline, fork);
    this.#state = { timeline: header.timeline, promotion: header.promotion, path, end: fork };
  }

  #checkBase({ header, body }: Decoded): void {
    if (header.seq > this.#next)
      return this.#fail(`X9b: base ${header.seq} above what was accepted, ${this.#next}`);
    const path = header.line.map(([timeline, begin]) => ({ timeline, begin: parseLsn(begin) }));
    const end = parseLsn(header.end);
    if (this.#state === null) {
      // The founder's base: it says where the log begins.
      this.#state = { timeline: header.timeline, promotion: header.promotion, path, end };
      this.#states.set(header.seq, this.#state);
      this.#timeline(header.timeline, end);
      return;
    }
    const state = this.#states.get(header.seq) ?? null;
    if (state === null) return this.#fail(`base ${header.seq} at a position that was never a first free one`);
    const from = parseLsn(header.published);
    const isRight =
      state.end === end &&
      state.timeline === header.timeline &&
      state.promotion === header.promotion &&
      JSON.stringify(state.path.map(({ timeline, begin }) => [timeline, formatLsn(begin)])) ===
        JSON.stringify(header.line);
    if (!isRight) return this.#fail(`base ${header.seq} says something else than the log below it`);
    const bytes = this.compose(path, end, from)!;
    if (Buffer.compare(bytes, body) !== 0)
      this.#fail(`base ${header.seq} holds other bytes than the log below it`);
  }

  /** I5 and I4 once more for all that stands in wal_005. */
  checkPublished(): void {
    for (const [key, bytes] of this.#objects()) {
      if (key.startsWith("wal_005/")) this.#published(key.slice("wal_005/".length), bytes);
    }
  }

  /** I5, when an object of wal_005 comes into being. */
  #published(name: string, bytes: Uint8Array): void {
    const history = /^([0-9A-F]{8})\.history$/.exec(name);
    if (history !== null) {
      const accepted = this.#histories.get(Number.parseInt(history[1]!, 16));
      if (accepted === undefined || Buffer.compare(accepted.body, bytes) !== 0) {
        this.#fail(`I5: ${name} was published, the log does not have it so`);
      }
      return;
    }
    const isPartial = name.endsWith(".partial");
    const segment = parseSegmentName(isPartial ? name.slice(0, 24) : name, this.#segmentBytes);
    if (segment === null) return this.#fail(`"${name}" in wal_005`);
    const path = this.#histories.get(segment.timeline)?.path ?? [
      { timeline: segment.timeline, begin: lsnOf(0n) },
    ];
    const start = lsnOf(segment.number * BigInt(this.#segmentBytes));
    const whole = lsnOf(start + BigInt(this.#segmentBytes));
    const has = this.#bytes.get(segment.timeline)?.end ?? this.#start;
    const end = isPartial && has < whole ? has : whole;
    const accepted = this.compose(path, end, start);
    const isRight =
      accepted !== null &&
      Buffer.compare(accepted, bytes.subarray(0, accepted.length)) === 0 &&
      bytes.subarray(accepted.length).every((byte) => byte === 0);
    if (!isRight) this.#fail(`I5: ${name} was published, the log did not accept it so`);
  }

  #timeline(timeline: number, begin: Lsn): TimelineBytes {
    const there = this.#bytes.get(timeline);
    if (there !== undefined) return there;
    const made = new TimelineBytes(begin);
    this.#bytes.set(timeline, made);
    return made;
  }

  #highestBase(): Decoded | null {
    let highest = "";
    for (const key of this.#objects().keys())
      if (key.startsWith("tail_v1/base/") && key > highest) highest = key;
    return highest === "" ? null : (this.#at(highest) ?? null);
  }

  #at(key: string): Decoded | null | undefined {
    const bytes = this.#objects().get(key);
    if (bytes === undefined) return undefined;
    if (!this.#decoded.has(bytes)) this.#decoded.set(bytes, decode(bytes));
    return this.#decoded.get(bytes)!;
  }
}

/** The accepted bytes of one timeline, from its begin on. */
class TimelineBytes {
  readonly #begin: Lsn;
  #buffer = Buffer.alloc(1 << 16);
  #length = 0;

  constructor(begin: Lsn) {
    this.#begin = begin;
  }

  get end(): Lsn {
    return lsnOf(this.#begin + BigInt(this.#length));
  }

  append(bytes: Uint8Array): void {
    while (this.#length + bytes.byteLength > this.#buffer.byteLength) {
      this.#buffer = Buffer.concat([this.#buffer, Buffer.alloc(this.#buffer.byteLength)]);
    }
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  read(from: Lsn, to: Lsn): Buffer | null {
    if (from < this.#begin || to > this.end) return null;
    return this.#buffer.subarray(Number(from - this.#begin), Number(to - this.#begin));
  }
}

function decode(bytes: Uint8Array): Decoded | null {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = view.getUint32(8, true);
    const headerBytes = bytes.subarray(12, 12 + length);
    const header = JSON.parse(Buffer.from(headerBytes).toString("utf8")) as Header;
    return {
      header,
      hash: createHash("sha256").update(headerBytes).digest("hex"),
      body: bytes.subarray(12 + length),
    };
  } catch {
    return null;
  }
}
