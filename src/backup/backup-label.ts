// backup_label, as pg_backup_stop gives it: what a restore begins with. xlogbackup.c: build_backup_content.

import { isLsnText, type Lsn, parseLsn } from "../wal/lsn.ts";

/** The position in `START WAL LOCATION: X/X (file …)`, where the replay of the backup begins; null when the label names none. */
export function startOfLabel(label: string): Lsn | null {
  const text = /^START WAL LOCATION: (\S+) /m.exec(label)?.[1];
  return text === undefined || !isLsnText(text) ? null : parseLsn(text);
}
