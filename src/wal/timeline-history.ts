// Timeline history files. timeline.c: readTimeLineHistory, writeTimeLineHistory.

import { type Lsn, formatLsn, parseLsn } from "./lsn.ts";
import type { TimelineId } from "./segment-name.ts";

/** A `.history` file: where each ancestor was left. */
export interface TimelineHistory {
  readonly timeline: TimelineId;
  /** Oldest first; empty only in the empty file that stands for a hole among the numbers. */
  readonly switches: readonly TimelineSwitch[];
}

export interface TimelineSwitch {
  readonly parent: TimelineId;
  /** First byte that is not the parent's. */
  readonly at: Lsn;
  readonly reason: string;
}

export class HistoryFileError extends Error {
  override readonly name = "HistoryFileError";
}

/** Reads the `.history` file of `timeline`. Throws HistoryFileError with the line's number. */
export function parseHistory(timeline: TimelineId, text: string): TimelineHistory {
  const switches: TimelineSwitch[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const match = /^(\d{1,10})\s+([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})(?:\s+(.*))?$/.exec(trimmed);
    const where = `line ${index + 1} of the history of timeline ${timeline}`;
    if (match === null)
      throw new HistoryFileError(`${where} is not "parent, switch point, reason": "${trimmed}"`);
    const entry = { parent: Number(match[1]), at: parseLsn(match[2]!), reason: match[3] ?? "" };
    const before = switches.at(-1);
    if (
      entry.parent === 0 ||
      entry.parent >= timeline ||
      (before !== undefined && entry.parent <= before.parent)
    ) {
      throw new HistoryFileError(`${where}: timeline ${entry.parent} is out of order`);
    }
    if (before !== undefined && entry.at < before.at) {
      throw new HistoryFileError(`${where}: switch point ${match[2]} lies before the one above it`);
    }
    switches.push(entry);
  }
  return { timeline, switches };
}

/** Prints a `.history` file as Postgres does. */
export function formatHistory(history: TimelineHistory): string {
  return history.switches
    .map(({ parent, at, reason }) => `${parent}\t${formatLsn(at)}\t${reason}\n`)
    .join("\n");
}
