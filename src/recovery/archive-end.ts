// Where a path's WAL ends now: the log's End on the winner's path, else as far as wal_005 and the log go. With RE, where a replay ends.

import { type ArchiveSource, readSourceLog } from "../archive/archive-source.ts";
import { PathReader } from "../archive/path-reader.ts";
import type { LogView } from "../tail/read.ts";
import { type Lsn, lsnOf, maxLsn } from "../wal/lsn.ts";
import { segmentEnd, segmentStart } from "../wal/segment-name.ts";
import { samePath, type TimelinePath } from "../wal/timeline-path.ts";
import { ReplayError } from "./replay-error.ts";

export interface ArchiveEnd {
  readonly view: LogView | null;
  /** Behind the last byte. */
  readonly end: Lsn;
  /** RE(end). */
  readonly recordEnd: Lsn;
}

export interface EndOptions {
  readonly source: ArchiveSource;
  readonly path: TimelinePath;
  readonly isWinners: boolean;
  readonly floor: Lsn;
  /** Known to be there. */
  readonly end: Lsn;
}

/** Looks again and again; what did not change is not walked again. */
export class EndFinder {
  readonly #options: EndOptions;
  #last: ArchiveEnd | null = null;

  constructor(options: EndOptions) {
    this.#options = options;
  }

  /** The end now. Throws ReplayError when the winner's path is another one by now; StoreError and the log's errors. */
  async find(signal: AbortSignal): Promise<ArchiveEnd> {
    const view = await readSourceLog(this.#options.source, signal, this.#last?.view ?? null);
    return await this.at(view, signal);
  }

  /** The end as of this view. */
  async at(view: LogView | null, signal: AbortSignal): Promise<ArchiveEnd> {
    const { source, path, isWinners, floor } = this.#options;
    const tip = view?.tip ?? null;
    if (isWinners && tip !== null && !samePath(tip.path, path)) {
      throw new ReplayError(`another node brought timeline ${tip.timeline} while this one replayed`, {
        startOver: true,
      });
    }
    const reader = new PathReader(source, view, path);
    const end = isWinners && tip !== null ? tip.end : await this.#extend(reader, signal);
    const known = this.#last;
    const recordEnd = known?.end === end ? known.recordEnd : (await reader.recordEnd(end, floor, signal)).at;
    this.#last = { view, end, recordEnd };
    return this.#last;
  }

  /** From the end that was known on, segment by segment. */
  async #extend(reader: PathReader, signal: AbortSignal): Promise<Lsn> {
    const { segmentBytes } = this.#options.source;
    for (let end = this.#last?.end ?? this.#options.end; ;) {
      const segment = reader.segmentFor(end);
      const found = await reader.segment(segment, signal);
      if (found.kind === "absent") return end;
      const reaches =
        found.kind === "complete"
          ? segmentEnd(segment, segmentBytes)
          : lsnOf(segmentStart(segment, segmentBytes) + BigInt(found.filled));
      if (reaches <= end || found.kind === "partial") return maxLsn(end, reaches);
      end = reaches;
    }
  }
}
