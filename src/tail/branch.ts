// Which object stands at a position where the store has no conditional writes and branches lie side by side (rules U1, U2).

import type { LogName } from "./keys.ts";
import type { LogState } from "./run.ts";
import { type BaseHeader, type ObjectHeader, type SlotHeader, WINDOW } from "./slot.ts";

/** One object at a position with what its name says. */
export interface Contender<H extends ObjectHeader = ObjectHeader> {
  readonly name: LogName;
  readonly header: H;
}

/**
 * The object of the winning branch at the first free position, or null when the run ends there. A fence that follows the run beats data, of
 * two fences the smaller token wins, then only the owner's own names count. (U2)
 */
export function chooseSlot<C extends Contender<SlotHeader>>(
  state: LogState,
  contenders: readonly C[],
): C | null {
  const fences = contenders
    .filter(({ header }) => header.kind === "fence" && header.previous === state.previous)
    .sort((a, b) => (a.header.token < b.header.token ? -1 : 1));
  if (fences[0] !== undefined) return fences[0];
  return (
    contenders.find(
      ({ header }) =>
        header.kind !== "fence" && header.token === state.owner?.token && header.previous === state.previous,
    ) ?? null
  );
}

/** The base of the winning branch; the highest one when all are of one branch. */
export function chooseBase<C extends Contender<BaseHeader>>(contenders: readonly C[]): C | null {
  return contenders.reduce<C | null>((best, each) => (best === null || wins(each, best) ? each : best), null);
}

/** Where their fences part, the lower fence stands where the other branch has data or its dead zone, so it wins (U2). */
function wins(a: Contender<BaseHeader>, b: Contender<BaseHeader>): boolean {
  const fencesA = new Set(a.header.fences);
  const fencesB = new Set(b.header.fences);
  const onlyA = a.header.fences.find((at) => !fencesB.has(at) && at < b.header.seq);
  const onlyB = b.header.fences.find((at) => !fencesA.has(at) && at < a.header.seq);
  if (onlyA !== onlyB) {
    if (onlyB === undefined) return true;
    if (onlyA === undefined) return false;
    return onlyA < onlyB;
  }
  if (a.header.epoch === b.header.epoch && a.header.token !== b.header.token) {
    return a.header.token < b.header.token;
  }
  return a.header.seq > b.header.seq;
}

/** A foreign fence on the run of the owner of `epoch`: the owner is over (U3). */
export function foreignFence(
  owner: { readonly epoch: number; readonly token: string; readonly firstFree: number },
  contenders: readonly Contender<SlotHeader>[],
): Contender<SlotHeader> | null {
  return (
    contenders.find(
      ({ header }) =>
        header.kind === "fence" &&
        header.token !== owner.token &&
        (header.seq === owner.epoch
          ? header.token < owner.token
          : header.seq >= owner.epoch + WINDOW && header.seq <= owner.firstFree),
    ) ?? null
  );
}
