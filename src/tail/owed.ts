// What wal_005 is owed for accepted slots: complete segments, histories, partial segments (P1 to P3). Pure.

import type { Lsn } from "../wal/lsn.ts";
import { type Segment, segmentAt } from "../wal/segment-name.ts";
import type { TimelinePath } from "../wal/timeline-path.ts";
import type { LogView } from "./read.ts";
import { type LogState, acceptSlot, stateAtBase } from "./run.ts";
import type { SlotHeader } from "./slot.ts";

/** One object that wal_005 must get. */
export type Owed =
  /** A complete segment as `path`, which ends in its timeline, composes it. */
  | { readonly kind: "segment"; readonly segment: Segment; readonly path: TimelinePath }
  /** The segment in which a timeline was left; its accepted bytes end at `end`. */
  | { readonly kind: "partial"; readonly segment: Segment; readonly path: TimelinePath; readonly end: Lsn }
  | { readonly kind: "history"; readonly timeline: number };

/** A debt with the log's state just before the slot that made it: a base there does not owe it yet. */
export interface Debt {
  readonly owed: Owed;
  readonly before: LogState;
}

/** What one accepted slot adds. */
export function owedBySlot(header: SlotHeader, before: LogState, after: LogState): Owed[] {
  const { segmentBytes } = before.identity;
  switch (header.kind) {
    case "data": {
      if (header.end % BigInt(segmentBytes) !== 0n) return [];
      const segment = segmentAt(header.timeline, header.start, segmentBytes);
      return [{ kind: "segment", segment, path: after.tip!.path }];
    }
    case "history": {
      const history: Owed = { kind: "history", timeline: header.timeline };
      const { timeline, end, path } = before.tip!;
      if (end % BigInt(segmentBytes) === 0n) return [history];
      return [{ kind: "partial", segment: segmentAt(timeline, end, segmentBytes), path, end }, history];
    }
    case "fence":
    case "gap":
      return []; // a segment with a gap is never complete
    default:
      return header satisfies never;
  }
}

/** What the slots of a view owe, oldest first: what a takeover publishes unless wal_005 has it (P2). */
export function owedByView(view: LogView): Debt[] {
  const debts: Debt[] = [];
  let state = stateAtBase(view.identity, view.base);
  for (const { key, header, headerHash } of view.slots) {
    const body = header.kind === "history" ? (view.histories.get(header.timeline)?.body ?? null) : null;
    const after = acceptSlot(state, { key, header, headerHash, body });
    for (const owed of owedBySlot(header, state, after)) debts.push({ owed, before: state });
    state = after;
  }
  return debts;
}
