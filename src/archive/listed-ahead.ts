// Which of the next segments wal_005 holds, by one listing for up to a thousand of them: nothing is fetched ahead that is not there.

import { parseSegmentName, type Segment, segmentName } from "../wal/segment-name.ts";
import type { ArchiveSource } from "./archive-source.ts";
import { SegmentSet } from "./gaps.ts";
import { listWal } from "./wal-catalog.ts";

export class ListedAhead {
  readonly #source: ArchiveSource;
  #names = new SegmentSet();
  /** The listing answers for this timeline, from `first` on, up to `last`. */
  #range: { readonly timeline: number; readonly first: bigint; readonly last: bigint } | null = null;

  constructor(source: ArchiveSource) {
    this.#source = source;
  }

  /** True when the last listing showed it complete. */
  has(segment: Segment): boolean {
    return this.#names.has(segment);
  }

  /** Makes sure that a listing answers for `segment` and what follows; lists again only past the end of the last one. */
  async cover(segment: Segment, signal: AbortSignal): Promise<void> {
    const range = this.#range;
    const { timeline, number } = segment;
    if (range?.timeline === timeline && range.first <= number && number <= range.last) return;
    const { segmentBytes } = this.#source;
    const name = segmentName(segment, segmentBytes);
    const names = new SegmentSet();
    let last = number - 1n;
    let listed = 0;
    const before = segmentName({ timeline, number: number > 0n ? number - 1n : 0n }, segmentBytes);
    const options = { prefix: name.slice(0, 8), after: `${before}~` };
    for await (const object of listWal(this.#source.store, segmentBytes, signal, options)) {
      if (object.meaning.kind !== "segment") continue;
      names.add(object.meaning.segment);
      ({ number: last } = parseSegmentName(object.name, segmentBytes)!);
      listed += 1;
      if (listed >= NAMES_MOST) break;
    }
    this.#names = names;
    this.#range = { timeline, first: number, last };
  }
}

/** A page of every store's listing. */
const NAMES_MOST = 1000;
