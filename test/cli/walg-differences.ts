// Where Holdfast answers otherwise than WAL-G 3.0.9 did, and why. docs/from-wal-g.md tells users the same.

import type { Recorded } from "../support/walg-buckets.ts";

export interface Difference {
  /** Which records: the bucket's name and the arguments joined by spaces. */
  readonly bucket: RegExp;
  readonly command: RegExp;
  readonly reason: string;
  /** What is printed instead, and the exit status. */
  readonly says: RegExp;
  readonly exit: number;
}

export const DIFFERENCES: readonly Difference[] = [
  {
    bucket: /^pg17-broken-missing-part$/,
    command: /^backup-fetch /,
    reason: "a missing part is noticed before anything is written; WAL-G restores without it",
    says: /ERROR: .*base_000000010000000000000007/,
    exit: 1,
  },
  {
    bucket: /^pg17-retention$/,
    command: /^delete target (?:FIND_FULL )?base_00000001000000000000000B/,
    reason: "deleting a permanent backup is refused; WAL-G deletes it (its issue 1768)",
    says: /ERROR: .*permanent backups=\[base_00000001000000000000000B\]/,
    exit: 1,
  },
  {
    bucket: /^pg17-retention$/,
    command: /^delete target --target-user-data \{"keep": true/,
    reason: "the same, selected by user data",
    says: /ERROR: .*permanent backups=\[base_00000001000000000000000B\]/,
    exit: 1,
  },
  {
    bucket: /^pg17-retention$/,
    command: /^delete everything force$/,
    reason: "words are taken in any case",
    says: /Dry run: objects would be deleted count=76/,
    exit: 0,
  },
  {
    bucket: /^pg17-retention$/,
    command: /^delete retain$/,
    reason: "a missing argument is a usage error; WAL-G panics",
    says: /requires at least 1 arg\(s\), only received 0/,
    exit: 1,
  },
];

export function differenceFor(bucket: string, { args }: Recorded): Difference | null {
  const command = args.join(" ");
  return DIFFERENCES.find((entry) => entry.bucket.test(bucket) && entry.command.test(command)) ?? null;
}
