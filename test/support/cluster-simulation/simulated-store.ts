// The store in virtual time: the log as an atomic object after the protocol's rules, the roster by compare-and-swap, a hint.
// What the log does inside is tested by the tail's own simulation; here it fences, grows, and accepts histories.

import type { LogLook } from "../../../src/cluster/mind-types.ts";
import type { Roster } from "../../../src/cluster/roster.ts";
import { lsnOf } from "../../../src/wal/lsn.ts";
import { type Branch, type Position, timelineOf } from "./history.ts";

const WINDOW = 16;

export class SimulatedStore {
  #next = 0;
  #owner: { readonly epoch: number; readonly token: string } | null = null;
  #promotionPending = false;
  #hint = 0;
  tip: Branch;
  end = 0;
  roster: Roster | null = null;
  rosterTag = 0;
  onFence: () => void = () => undefined;

  constructor(root: Branch) {
    this.tip = root;
  }

  get position(): Position {
    return { branch: this.tip, lsn: this.end };
  }

  /** T1 to T3. The same token again finds its own fence. */
  fence(token: string, purpose: "start" | "promote"): { epoch: number; isOwner: boolean } {
    if (this.#owner?.token === token) return { epoch: this.#owner.epoch, isOwner: true };
    const epoch = this.#next;
    this.#next += WINDOW + 1;
    this.#owner = { epoch, token };
    this.#promotionPending = purpose === "promote";
    this.onFence();
    return { epoch, isOwner: true };
  }

  isOwner(epoch: number): boolean {
    return this.#owner?.epoch === epoch;
  }

  /** False: fenced. */
  append(epoch: number, branch: Branch, lsn: number): boolean {
    if (!this.isOwner(epoch)) return false;
    if (branch.id !== this.tip.id) throw new Error("the log got data of a branch that it did not accept");
    if (lsn > this.end) {
      this.end = lsn;
      this.#next += 1;
    }
    return true;
  }

  /** The parent's bytes up to the fork, then the history slot. False: fenced. */
  accept(epoch: number, branch: Branch): boolean {
    if (!this.isOwner(epoch)) return false;
    if (this.tip.id === branch.id) return true;
    if (branch.parent?.id !== this.tip.id || branch.fork < this.end)
      throw new Error("the log got a history that does not continue it");
    this.tip = branch;
    this.end = branch.fork;
    this.#next += 2;
    this.#promotionPending = false;
    return true;
  }

  sign(): void {
    this.#hint += 1;
  }

  swapRoster(tag: number, roster: Roster): boolean {
    if (tag !== this.rosterTag) return false;
    this.roster = roster;
    this.rosterTag += 1;
    return true;
  }

  look(begunMs: number): LogLook {
    return {
      begunMs,
      mark: `${this.#next}/${this.#hint}`,
      storeEnd: { timeline: timelineOf(this.tip), end: lsnOf(BigInt(this.end)) },
      promotionPending: this.#promotionPending,
      roster: this.roster,
    };
  }
}
