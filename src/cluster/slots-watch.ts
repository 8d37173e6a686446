// What is worth saying about a primary's slots: WAL that is held back, a slot about to be invalidated, slots that no failover carries over.

import { unreachable } from "../base/errors.ts";

export interface WatchedSlot {
  readonly name: string;
  /** The streamer's, or a member's. */
  readonly isOurs: boolean;
  readonly kind: "physical" | "logical";
  readonly isActive: boolean;
  /** As in pg_replication_slots; null: it never held WAL. */
  readonly walStatus: "reserved" | "extended" | "unreserved" | "lost" | null;
  /** Bytes that may still be written before the slot is lost; null without a limit. */
  readonly safeBytes: bigint | null;
}

export interface SlotWarning {
  /** The same while nothing changed but figures: said once. */
  readonly key: string;
  readonly sentence: string;
}

/** In the order given; empty when all is well. */
export function judgeSlots(slots: readonly WatchedSlot[]): readonly SlotWarning[] {
  return slots.flatMap((slot) => {
    const said = [sayHeld(slot)];
    if (!slot.isOurs) said.push(sayForeign(slot));
    return said.flatMap((sentence, index) =>
      sentence === null ? [] : { key: `${slot.name} ${index} ${slot.walStatus}`, sentence },
    );
  });
}

function sayHeld({ name, isActive, walStatus, safeBytes }: WatchedSlot): string | null {
  const who = `replication slot "${name}"${isActive ? "" : ", which nobody reads,"}`;
  switch (walStatus) {
    case "extended":
      return safeBytes === null
        ? `${who} holds back more WAL than max_wal_size`
        : `${who} holds back more WAL than max_wal_size; after ${safeBytes} bytes more it is invalidated`;
    case "unreserved":
      return `${who} is invalidated at the next checkpoint: max_slot_wal_keep_size is exceeded`;
    case "lost":
      return `${who} was invalidated: who used it fetches what it lacks from the archive`;
    case "reserved":
    case null:
      return null;
    default:
      return unreachable(walStatus);
  }
}

const sayForeign = ({ name, kind }: WatchedSlot): string =>
  `${kind} replication slot "${name}" is not one of ours: a failover does not carry it over, and it can hold back WAL`;
