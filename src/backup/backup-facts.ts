// What deletion, marking and retention must know of a backup.

import type { Lsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";

export interface BackupFacts {
  readonly name: string;
  /** From the first 24 hex digits of the name: where the backup starts. */
  readonly timeline: TimelineId;
  /** Number of the segment it starts in. */
  readonly segment: bigint;
  /** When its sentinel was written, nanoseconds by the store's clock. */
  readonly modifiedNs: bigint;
  /** From metadata.json or the sentinel; null when neither tells. Nanoseconds since 1970. */
  readonly startedNs: bigint | null;
  /** The same for its end. */
  readonly finishedNs: bigint | null;
  readonly startLsn: Lsn | null;
  readonly finishLsn: Lsn | null;
  readonly permanent: boolean;
  /** Name of the backup it is a delta of; null for a full one. */
  readonly base: string | null;
  /** Name of the full backup under its chain; null for a full one. */
  readonly full: string | null;
  /** Parsed JSON; null when there is none. */
  readonly userData: unknown;
}

/** A place in the WAL as WAL-G reads it from a name: the first run of 24 upper-case hex digits. */
export interface WalPlace {
  readonly timeline: TimelineId;
  readonly segment: bigint;
}

/** The place in a name or key, or null. `segmentBytes`: see isSegmentSize. */
export function placeIn(text: string, segmentBytes: number): WalPlace | null {
  const match = /[0-9A-F]{24}/.exec(text);
  if (match === null) return null;
  const [digits] = match;
  const perId = 0x1_0000_0000n / BigInt(segmentBytes);
  return {
    timeline: Number.parseInt(digits.slice(0, 8), 16),
    segment: BigInt(`0x${digits.slice(8, 16)}`) * perId + BigInt(`0x${digits.slice(16)}`),
  };
}

/** Order of WAL-G: older timelines first, then by segment. */
export function comparePlaces(a: WalPlace, b: WalPlace): number {
  if (a.timeline !== b.timeline) return a.timeline - b.timeline;
  return a.segment < b.segment ? -1 : a.segment > b.segment ? 1 : 0;
}

/** Ascending by place, or by start time where `byTime` and every backup has one. */
export function inOrder(backups: readonly BackupFacts[], byTime: boolean): readonly BackupFacts[] {
  const timed = byTime && backups.every((backup) => backup.startedNs !== null);
  return [...backups].sort((a, b) => {
    const difference = timed ? compareNs(a.startedNs!, b.startedNs!) : comparePlaces(a, b);
    return difference === 0 ? compareText(a.name, b.name) : difference;
  });
}

/** `names` and every backup that one of them is built on. A base that is missing is left out. */
export function withBases(names: Iterable<string>, backups: readonly BackupFacts[]): ReadonlySet<string> {
  const byName = new Map(backups.map((backup) => [backup.name, backup]));
  const all = new Set<string>();
  for (const name of names) {
    for (let at = byName.get(name); at !== undefined && !all.has(at.name);) {
      all.add(at.name);
      at = at.base === null ? undefined : byName.get(at.base);
    }
  }
  return all;
}

/** `names` and every delta that is built on one of them, however far. */
export function withDeltas(names: Iterable<string>, backups: readonly BackupFacts[]): ReadonlySet<string> {
  const all = new Set(names);
  for (let grew = true; grew;) {
    grew = false;
    for (const backup of backups) {
      if (all.has(backup.name) || backup.base === null || !all.has(backup.base)) continue;
      all.add(backup.name);
      grew = true;
    }
  }
  return all;
}

export const compareNs = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
