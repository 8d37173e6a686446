// Which physical slots a node should have, and where: the streamer's, and one per other member. Bounded, so that none fills a disk.

import type { Lsn } from "../wal/lsn.ts";

export interface SlotState {
  readonly name: string;
  readonly isActive: boolean;
  readonly isPhysical: boolean;
  /** `lost` slots cannot be used again: dropped and made anew. */
  readonly isLost: boolean;
  readonly restart: Lsn | null;
}

export interface WantedSlot {
  readonly name: string;
  /** Where it should stand; null: only the stream moves it (on a primary). */
  readonly at: Lsn | null;
}

export interface SlotsFacts {
  readonly isPrimary: boolean;
  /** On a standby a slot goes no further than this; beyond it Postgres clamps silently. */
  readonly replayed: Lsn;
  readonly slots: readonly SlotState[];
  /** The streamer's slot, kept at the log's position. */
  readonly streamer: WantedSlot;
  /** One per member of the roster besides this node. */
  readonly members: readonly WantedSlot[];
  /** Slots of ours begin with this; others are never touched. */
  readonly prefix: string;
}

export type SlotStep =
  | { readonly kind: "create"; readonly name: string }
  | { readonly kind: "advance"; readonly name: string; readonly to: Lsn }
  | { readonly kind: "drop"; readonly name: string; readonly because: string };

/** What to do, in order; nothing when all is right. Active slots are left alone. */
export function planSlots(facts: SlotsFacts): readonly SlotStep[] {
  const wanted = [facts.streamer, ...facts.members];
  const steps: SlotStep[] = [];
  for (const slot of facts.slots) {
    if (!slot.name.startsWith(facts.prefix) || !slot.isPhysical || slot.isActive) continue;
    const isWanted = wanted.some(({ name }) => name === slot.name);
    if (!isWanted) steps.push({ kind: "drop", name: slot.name, because: "its member left the roster" });
    else if (slot.isLost)
      steps.push({ kind: "drop", name: slot.name, because: "it was invalidated: its WAL is gone" });
  }
  for (const { name, at } of wanted) {
    const slot = facts.slots.find((candidate) => candidate.name === name);
    if (slot === undefined || (slot.isLost && !slot.isActive)) steps.push({ kind: "create", name });
    else if (!facts.isPrimary && !slot.isActive && !slot.isLost && at !== null) {
      const to = at < facts.replayed ? at : facts.replayed;
      // Going back is an error, and a fresh slot has no position until it is advanced.
      if (slot.restart === null || to > slot.restart) steps.push({ kind: "advance", name, to });
    }
  }
  return steps;
}
