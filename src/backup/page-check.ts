// Checksums of pages while a server runs: a wrong one is read again before it is believed.

import { readSync } from "node:fs";
import { isNewPage, pageChecksum, pageLsn, storedChecksum, verifyPages } from "../postgres/data-page.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { CorruptBlocks } from "./files-metadata.ts";
import { PAGE_BYTES } from "./increment.ts";

/** What the pages of one file showed. */
export interface PageFindings {
  readonly corrupt: CorruptBlocks | null;
  /** Latest LSN of a page that is torn because it is being written: replay mends it. */
  readonly tornLsn: Lsn | null;
}

/** Checks the pages of one file after another. */
export class PageChecker {
  readonly #verifyFrom: Lsn;
  readonly #segmentBlocks: number;
  readonly #mostKept: number;
  #fd = -1;
  #firstBlock = 0;
  #corrupt: number[] = [];
  #corruptCount = 0;
  #tornLsn: Lsn | null = null;

  /** `verifyFrom`: a page written since then may be torn, and is in the WAL whole. */
  constructor(verifyFrom: Lsn, segmentBlocks: number, keepAll: boolean) {
    this.#verifyFrom = verifyFrom;
    this.#segmentBlocks = segmentBlocks;
    this.#mostKept = keepAll ? Infinity : FEW;
  }

  /** null when the file has no page checksums. */
  begin(name: string, fd: number, bytes: number): this | null {
    [this.#corrupt, this.#corruptCount, this.#tornLsn, this.#fd] = [[], 0, null, fd];
    const match = CHECKED.exec(name);
    if (match === null || bytes % PAGE_BYTES !== 0) return null;
    this.#firstBlock = Number(match[1] ?? 0) * this.#segmentBlocks;
    return this;
  }

  /** Whole pages that were read from `position`; a page that was torn is replaced by what a second look gave. */
  check(pages: Uint8Array, position: number): void {
    const first = position / PAGE_BYTES;
    for (const index of verifyPages(pages, this.#firstBlock + first)) {
      const page = pages.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
      if (this.#isMended(page, first + index)) continue;
      this.#corruptCount += 1;
      if (this.#corrupt.length < this.#mostKept) this.#corrupt.push(first + index);
    }
  }

  end(): PageFindings {
    const corrupt = this.#corruptCount === 0 ? null : { count: this.#corruptCount, some: this.#corrupt };
    return { corrupt, tornLsn: this.#tornLsn };
  }

  /** Reads the page again until it is whole, or newer than the backup's start. */
  #isMended(page: Uint8Array, block: number): boolean {
    for (let look = 0; look < LOOKS; look += 1) {
      const lsn = pageLsn(page);
      if (lsn >= this.#verifyFrom) {
        if (this.#tornLsn === null || lsn > this.#tornLsn) this.#tornLsn = lsn;
        return true;
      }
      pauseThread(PAUSE_MS);
      const read = readSync(this.#fd, page, 0, PAGE_BYTES, block * PAGE_BYTES);
      if (read < PAGE_BYTES) {
        page.fill(0); // truncated meanwhile; replay knows
        return true;
      }
      if (isNewPage(page) || pageChecksum(page, this.#firstBlock + block) === storedChecksum(page))
        return true;
    }
    return false;
  }
}

function pauseThread(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Every fork of a relation has page checksums. */
const CHECKED = /^\/(?:global|base\/\d+|pg_tblspc\/\d+\/[^/]+\/\d+)\/\d+(?:_(?:fsm|vm|init))?(?:\.(\d+))?$/;
const FEW = 10;
const LOOKS = 10;
const PAUSE_MS = 10;
