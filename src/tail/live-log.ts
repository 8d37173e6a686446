// The owner's live part of the log: the base and the slots above it, and when the next base is due (D1, D2).

import { segmentFloor } from "../wal/segment-name.ts";
import { requireTip } from "./assemble.ts";
import { BASE_DUE, type BaseTools, deleteBelow, draftBase, putBase, sweepBelow } from "./bases.ts";
import { findForeign } from "./branch-watch.ts";
import { insist } from "./insist.ts";
import type { LiveBase, LiveSlot } from "./live-slot.ts";
import type { LogView } from "./read.ts";
import type { LogState } from "./run.ts";
import type { Claim } from "./take-over.ts";

export interface LiveLogOptions {
  readonly claim: Claim;
  readonly tools: BaseTools;
  readonly due: { readonly slots: number; readonly bytes: number } | undefined;
  /** Accepted bytes from the start of the segment of the state's end up to its end. */
  readonly readOpen: (state: LogState) => Promise<Uint8Array>;
}

export class LiveLog {
  readonly #options: LiveLogOptions;
  #base: LiveBase | null;
  #slots: LiveSlot[];
  #bytes = 0;

  constructor(options: LiveLogOptions) {
    this.#options = options;
    this.#base = options.claim.view.base;
    this.#slots = [...options.claim.view.slots];
  }

  get base(): LiveBase | null {
    return this.#base;
  }

  get count(): number {
    return this.#slots.length;
  }

  /** The whole view of a state that these slots lead to. */
  view(settled: LogState): LogView {
    return { ...settled, base: this.#base, slots: [...this.#slots] };
  }

  add(slot: LiveSlot): void {
    this.#slots.push(slot);
    this.#bytes += slot.header.length;
  }

  get isDue(): boolean {
    const { slots, bytes } = this.#options.due ?? BASE_DUE;
    return this.#slots.length >= slots || this.#bytes >= bytes;
  }

  /** D1: puts a base at `state`'s first free position, which owes nothing to wal_005, and reads it back. D2: then the slots below go. False when
   * none was made. */
  async makeBase(state: LogState): Promise<boolean> {
    const { claim, tools, readOpen } = this.#options;
    const least = Math.max(claim.view.firstFree, (this.#base?.header.seq ?? 0) + 1); // epoch + W ≤ p (X9b)
    if (state.tip === null || state.firstFree < least) return false;
    // U3: deleting is the one thing that a losing branch must not do.
    if (claim.fencing === "none" && (await findForeign(claim, state.firstFree, tools)) !== null) return false;
    const base = await putBase(draftBase(state, claim), await readOpen(state), claim, tools);
    if (base === null) return false;
    const older = this.#base;
    const below = this.#slots.filter(({ header }) => header.seq < base.header.seq);
    this.#base = base;
    this.#slots = this.#slots.filter(({ header }) => header.seq >= base.header.seq);
    this.#bytes = this.#slots.reduce((sum, { header }) => sum + header.length, 0);
    await deleteBelow(base, below, older, tools);
    return true;
  }

  /** L8: the base with which a founder begins. False when it is gone again. */
  async found(state: LogState, openBytes: Uint8Array): Promise<boolean> {
    const { claim, tools } = this.#options;
    const base = await putBase(draftBase(state, claim), openBytes, claim, tools);
    if (base === null) return false;
    this.#base = base;
    this.#slots = [];
    return true;
  }

  /** D3, in the background of a takeover. */
  async sweep(): Promise<void> {
    const base = this.#base;
    const { tools } = this.#options;
    if (base !== null) await insist("sweep below the base", () => sweepBelow(base, tools), tools);
  }
}

/** Start of the segment in which a state's log ends. */
export const openStart = (state: LogState): ReturnType<typeof segmentFloor> =>
  segmentFloor(requireTip(state).end, state.identity.segmentBytes);
