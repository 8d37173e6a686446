// How full the volume is, and what follows from it. Postgres that finds no room for WAL stops in a panic; one that takes no writes needs none.

import { formatBytes } from "../base/progress.ts";

/** The volume, as statfs has it for a user without the file system's reserve. */
export interface DiskUse {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** With less room than these, in bytes. */
export interface DiskLimits {
  /** New transactions are read-only. */
  readonly readOnlyBytes: number;
  /** Transactions that write are ended; the room that was set aside is given back if that lasts. */
  readonly cutBytes: number;
  /** Only with this much again writes are taken: no flapping. */
  readonly againBytes: number;
}

/** From weak to strong. `filling` and `nearly-full` only warn. */
export type Pressure = "none" | "filling" | "nearly-full" | "read-only" | "cut";

const MIB = 1024 * 1024;
/** Room for a few WAL segments, whatever the volume's size; and more than a writer fills until he is stopped. */
const LEAST_BYTES = 96 * MIB;
const MOST_BYTES = 1024 * MIB;
const SHARE = 0.05;

/** The limits of a volume. `askedBytes` is DISK_READ_ONLY_BELOW; null: 5 % of the volume, 96 MiB to 1 GiB. Null: it is switched off by 0. */
export function diskLimits(totalBytes: number, askedBytes: number | null): DiskLimits | null {
  if (askedBytes === 0) return null;
  const readOnlyBytes = askedBytes ?? Math.min(MOST_BYTES, Math.max(LEAST_BYTES, totalBytes * SHARE));
  return { readOnlyBytes, cutBytes: readOnlyBytes / 2, againBytes: readOnlyBytes * 1.5 };
}

/** The pressure now, from what it was. */
export function pressureOf(disk: DiskUse, limits: DiskLimits | null, was: Pressure): Pressure {
  const { totalBytes, freeBytes } = disk;
  if (limits !== null) {
    if (freeBytes < limits.cutBytes) return "cut";
    if (freeBytes < limits.readOnlyBytes) return "read-only";
    if (takesNoWrites(was) && freeBytes < limits.againBytes) return "read-only";
  }
  const used = 1 - freeBytes / Math.max(1, totalBytes);
  for (const { level, share } of WARNINGS)
    if (used >= share - (RANK[was] >= RANK[level] ? SLACK : 0)) return level;
  return "none";
}

export const takesNoWrites = (pressure: Pressure): boolean => RANK[pressure] >= RANK["read-only"];
export const isWorse = (pressure: Pressure, was: Pressure): boolean => RANK[pressure] > RANK[was];

/** What fills a volume. */
export interface DiskContents extends DiskUse {
  readonly walBytes: number;
  /** WAL that waits for archive_command. */
  readonly waitingBytes: number;
  /** WAL that the slot which is furthest behind holds back. */
  readonly slotBytes: number;
  readonly slotName: string | null;
}

/** Which of the three causes it is, in a sentence. */
export function causeOfPressure(contents: DiskContents): string {
  const { totalBytes, freeBytes, walBytes, waitingBytes, slotBytes, slotName } = contents;
  const used = totalBytes - freeBytes;
  const rest = `${formatBytes(Math.max(0, used - walBytes))} of data and other files`;
  const wal = `${formatBytes(walBytes)} of WAL`;
  if (walBytes < used / 3) return `${rest}, ${wal}`;
  if (waitingBytes >= walBytes / 2 && waitingBytes >= slotBytes)
    return `${wal}, of which ${formatBytes(waitingBytes)} wait for the archive; ${rest}`;
  if (slotBytes >= walBytes / 2)
    return `${wal}, of which the replication slot "${slotName ?? "unknown"}" holds back ${formatBytes(slotBytes)}; ${rest}`;
  return `${wal}; ${rest}`;
}

const RANK: Readonly<Record<Pressure, number>> = {
  none: 0,
  filling: 1,
  "nearly-full": 2,
  "read-only": 3,
  cut: 4,
};
const WARNINGS = [
  { level: "nearly-full", share: 0.9 },
  { level: "filling", share: 0.8 },
] as const;
const SLACK = 0.02;
