// Is a copy of a segment what the archive lacks? It counts only when its records go on from the stored WAL before it, or into the stored
// WAL behind it, without a break and up to their ends: a recycled file, one that was not written to its end, another server's are none.

import type { PathReader } from "../../archive/path-reader.ts";
import { messageOf } from "../../base/errors.ts";
import { WalGapError } from "../../tail/errors.ts";
import { sha256 } from "../../tail/slot.ts";
import { addBytes, bytesBetween, formatLsn, type Lsn, ZERO_LSN } from "../../wal/lsn.ts";
import { decodePageHeader, identifySegment, LONG_HEADER_BYTES, PAGE_BYTES } from "../../wal/page.ts";
import { RecordWalk } from "../../wal/record.ts";
import { type Segment, segmentEnd, segmentStart } from "../../wal/segment-name.ts";
import { ownerAt, type TimelinePath } from "../../wal/timeline-path.ts";
import type { SegmentSource } from "./segment-copies.ts";
import { faultOf } from "./verify-wal.ts";

/** A sound copy: `source` gave bytes with this hash. */
export interface ProvenSegment {
  readonly segment: Segment;
  readonly source: SegmentSource;
  readonly sha256: string;
}

export interface RefusedSegment {
  readonly segment: Segment;
  readonly because: string;
}

export interface Proof {
  readonly proven: readonly ProvenSegment[];
  readonly refused: readonly RefusedSegment[];
}

/** A chosen copy, and the walk as it stood before it. */
interface Step extends ProvenSegment {
  readonly before: RecordWalk;
  /** False: up to its end no record was seen to begin, so nothing in it was checked. */
  readonly isChecked: boolean;
}

type Choice =
  | { readonly kind: "goes-on"; readonly step: Step; readonly walk: RecordWalk }
  /** `contradicts`: there is a copy of the right position that does not go on from what is before it. */
  | { readonly kind: "nobody"; readonly contradicts: boolean; readonly because: string };

/**
 * How a walk meets the WAL behind the last copy. `incomplete`: nothing contradicts, and the record at the border has no end there.
 * `unreadable`: there is or was something, and it shows nothing.
 */
type Junction = "joined" | "different" | "nothing-there" | "incomplete" | "unreadable";

/**
 * Judges copies of segments that follow one another, under the names that the reader's path has for them. A copy is proven when the record walk comes
 * from stored WAL through it to the stored WAL behind it. Where that is missing too, what joins one side counts: the side behind, the end of the archive, or beside a log the side before.
 */
export class SegmentProver {
  readonly #chain: readonly Segment[];
  readonly #reader: PathReader;
  readonly #sources: readonly SegmentSource[];
  readonly #signal: AbortSignal;
  readonly #proven: ProvenSegment[] = [];
  readonly #refused: RefusedSegment[] = [];
  /** Copies that nothing goes on from, and why. */
  readonly #dropped = new Map<string, string>();

  /** `chain`: segments with consecutive numbers, all of them missing or damaged. */
  constructor(
    chain: readonly Segment[],
    reader: PathReader,
    sources: readonly SegmentSource[],
    signal: AbortSignal,
  ) {
    this.#chain = chain;
    this.#reader = reader;
    this.#sources = sources;
    this.#signal = signal;
  }

  /** Each segment of the chain is in one of the two lists. Throws StoreError when the store does not answer. */
  async prove(): Promise<Proof> {
    let before = await this.#walkBefore();
    for (let at = 0; at < this.#chain.length; before = null) at = await this.#stretch(at, before);
    return { proven: this.#proven, refused: this.#refused };
  }

  /** A walk over the stored WAL that stands at the chain's start; null when there is none, or when its records end before. */
  async #walkBefore(): Promise<RecordWalk | null> {
    const start = segmentStart(this.#chain[0]!, this.#segmentBytes);
    const found = await this.#orAbsent(this.#reader.recordEnd(start, ZERO_LSN, this.#signal));
    return found === null || found.walk.stopped !== null ? null : found.walk;
  }

  /** Judges from `first` on as far as copies follow one another; where to begin anew. */
  async #stretch(first: number, before: RecordWalk | null): Promise<number> {
    const steps: Step[] = [];
    let walk = before ?? this.#freshWalk(this.#chain[first]!);
    let trouble: string | null = null;
    for (let drops = 0; ;) {
      const segment = this.#chain[first + steps.length];
      const choice = segment === undefined ? null : await this.#choose(segment, walk);
      if (choice?.kind === "goes-on") {
        steps.push(choice.step);
        walk = choice.walk;
        trouble = null;
        continue;
      }
      const junction = choice === null ? await this.#meet(walk) : null;
      const last = steps.at(-1);
      const isContradicted = junction === "different" || choice?.contradicts === true;
      if (isContradicted && last !== undefined && drops < DROPS_MOST) {
        // One of the copies is of another history, or ends in old bytes: other places may have better ones.
        trouble ??= choice?.because ?? "the stored segment behind it";
        this.#dropped.set(
          copyKey(last.source, last.segment),
          `what follows does not go on from it: ${trouble}`,
        );
        steps.pop();
        walk = last.before;
        drops += 1;
        continue;
      }
      const sure = junction === "joined" ? walk.position : (walk.recordEnd ?? ZERO_LSN);
      this.#settle(steps, sure, this.#doubtOf(junction, isContradicted, before !== null));
      if (choice !== null) this.#refused.push({ segment: segment!, because: choice.because });
      return first + steps.length + 1;
    }
  }

  /** Why copies that follow one another are not what the archive lacks, or null. */
  #doubtOf(junction: Junction | null, isContradicted: boolean, joinsBefore: boolean): string | null {
    if (isContradicted) return "too many copies around it contradict one another";
    if (junction === "joined") return null;
    if (!joinsBefore) return "no stored segment next to it shows that it belongs there";
    // Beside a log only nodes are asked that are known to be on its history. Elsewhere a stray server may have gone on by itself from here.
    const isEnd = junction === "nothing-there" || junction === "incomplete";
    if (isEnd || this.#reader.view !== null) return null;
    return "nothing shows that it leads to the stored WAL behind it";
  }

  /** The first copy that goes on from `walk`. */
  async #choose(segment: Segment, walk: RecordWalk): Promise<Choice> {
    const reasons: string[] = [];
    const start = segmentStart(segment, this.#segmentBytes);
    let contradicts = false;
    for (const source of this.#sources) {
      const dropped = this.#dropped.get(copyKey(source, segment));
      if (dropped !== undefined) {
        contradicts = true;
        reasons.push(`${source.name}: ${dropped}`);
        continue;
      }
      let bytes: Uint8Array | null;
      try {
        bytes = await source.read(segment, this.#signal);
      } catch (error) {
        if (!(error instanceof WalGapError)) throw error;
        return { kind: "nobody", contradicts: false, because: messageOf(error) };
      }
      if (bytes === null) continue;
      const after = walk.clone();
      const fault = this.#push(after, bytes, segment);
      if (fault === null) {
        const isChecked = after.recordEnd !== null;
        const step = { segment, source, sha256: sha256(bytes), before: walk, isChecked };
        return { kind: "goes-on", step, walk: after };
      }
      // A copy whose records go wrong further in is bad by itself, and says nothing against the one before it.
      contradicts ||= after.stopped !== null && (after.recordEnd ?? start) <= start;
      reasons.push(`${source.name}: ${fault}`);
    }
    const because = reasons.length === 0 ? "nobody who could be asked has it any more" : reasons.join("; ");
    return { kind: "nobody", contradicts, because };
  }

  /** Walks a copy to its end; why it cannot be this segment, or null. */
  #push(walk: RecordWalk, bytes: Uint8Array, segment: Segment): string | null {
    const { source, path, view } = this.#reader;
    const start = segmentStart(segment, this.#segmentBytes);
    const identity =
      bytes.byteLength === this.#segmentBytes ? identifySegment(bytes.subarray(0, LONG_HEADER_BYTES)) : null;
    if (identity === null) return "it is no WAL segment";
    if (identity.start !== start) return `it holds WAL of ${formatLsn(identity.start)}: a recycled file`;
    const systemId = view?.identity.systemId ?? source.systemId;
    if (systemId !== null && identity.systemId !== systemId)
      return `it belongs to another cluster (system identifier ${identity.systemId})`;
    walk.push(bytes);
    if (walk.stopped !== null)
      return `its records end at ${formatLsn(walk.recordEnd ?? start)}: ${walk.stopped.because}`;
    const padded = walk.paddedFrom;
    const written = padded === null || padded < start ? bytes.byteLength : bytesBetween(start, padded);
    if (bytes.subarray(written).some((byte) => byte !== 0))
      return `old bytes stand behind its switch record at ${formatLsn(addBytes(start, written))}`;
    return wrongTimeline(bytes.subarray(0, written), start, path);
  }

  /** Goes on in the stored WAL behind the last copy until the record at the border, or the first one behind it, is complete. */
  async #meet(walk: RecordWalk): Promise<Junction> {
    const border = walk.position;
    const twin = walk.clone();
    for (let at = border; ;) {
      const segment = this.#reader.segmentFor(at);
      const found = await this.#orAbsent(this.#reader.segment(segment, this.#signal));
      if (found === null) return "unreadable";
      if (found.kind === "absent") return at === border ? "nothing-there" : "incomplete";
      twin.push(found.kind === "complete" ? found.bytes : found.bytes.subarray(0, found.filled));
      if (twin.recordEnd !== null && twin.recordEnd > border) return "joined";
      if (twin.stopped !== null) return "different";
      at = segmentEnd(segment, this.#segmentBytes);
      if (twin.position < at) return "incomplete";
    }
  }

  /** `sure`: the last record that begins in them was seen whole, or it ends here. */
  #settle(steps: readonly Step[], sure: Lsn, doubt: string | null): void {
    for (const { segment, source, sha256: hash, isChecked } of steps) {
      const because =
        doubt ??
        (!isChecked
          ? "no record begins in it"
          : sure < segmentEnd(segment, this.#segmentBytes)
            ? "its last record goes on behind it, and the rest cannot be found"
            : null);
      if (because === null) this.#proven.push({ segment, source, sha256: hash });
      else this.#refused.push({ segment, because: `${source.name} has it, but ${because}` });
    }
  }

  #freshWalk(segment: Segment): RecordWalk {
    const { view, source } = this.#reader;
    const systemId = view?.identity.systemId ?? source.systemId;
    return new RecordWalk(segmentStart(segment, this.#segmentBytes), {
      segmentBytes: this.#segmentBytes,
      systemId,
    });
  }

  /** Null for what is missing or damaged itself: it shows nothing. */
  async #orAbsent<T>(work: Promise<T>): Promise<T | null> {
    return work.catch((error: unknown) => {
      this.#signal.throwIfAborted();
      if (faultOf(error, "") === null) throw error;
      return null;
    });
  }

  get #segmentBytes(): number {
    return this.#reader.source.segmentBytes;
  }
}

const copyKey = (source: SegmentSource, { timeline, number }: Segment): string =>
  `${source.name}/${timeline}/${number}`;

/** Each page carries the number of the timeline that owns its first byte on the path. */
function wrongTimeline(bytes: Uint8Array, start: Lsn, path: TimelinePath): string | null {
  for (let at = 0; at < bytes.byteLength; at += PAGE_BYTES) {
    const found = decodePageHeader(bytes.subarray(at, at + LONG_HEADER_BYTES))?.timeline;
    const owner = ownerAt(path, addBytes(start, at));
    if (found !== undefined && found !== owner)
      return `its page at ${formatLsn(addBytes(start, at))} is of timeline ${found}, not ${owner}`;
  }
  return null;
}

/** Copies given up in favour of others, before a stretch is refused: each costs reading it again elsewhere. */
const DROPS_MOST = 32;
