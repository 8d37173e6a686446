// Names in the environment that mean something elsewhere, or that are a slip of the pen. Pure.

import { type Environment, type Findings, namesOf } from "./read-table.ts";
import type { Setting } from "./setting-kinds.ts";
import { foreignSetting } from "./settings-foreign.ts";
import { BACKUP_TABLE, NODE_TABLE, POSTGRES_TABLE } from "./settings-table.ts";
import { STORE_TABLE } from "./settings-table-store.ts";
import { BASE_BACKUP_TABLE, CODEC_TABLE, WAL_TABLE, WALG_COMMAND_TABLE } from "./settings-table-walg.ts";

/** Every row there is, by name, in the order of the documents. */
export const ALL_SETTINGS: Readonly<Record<string, Setting<unknown>>> = {
  ...STORE_TABLE,
  ...CODEC_TABLE,
  ...BACKUP_TABLE,
  ...WAL_TABLE,
  ...BASE_BACKUP_TABLE,
  ...POSTGRES_TABLE,
  ...NODE_TABLE,
  ...WALG_COMMAND_TABLE,
};

/** Says what foreign names do here, and names that nobody knows. */
export function lookForStrays(env: Environment, { problems, notices }: Findings): void {
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || value === "" || KNOWN.has(name) || name.startsWith("POSTGRES_CONFIG_"))
      continue;
    const foreign = foreignSetting(name);
    if (foreign !== null) {
      (foreign.refused === true ? problems : notices).push(
        `${name} ${foreign.refused === true ? "is refused: " : ""}${foreign.sentence}`,
      );
      continue;
    }
    // A misspelt target or retention must not pass for "none was given".
    if (/^(RESTORE|BACKUP)_/.test(name)) problems.push(`${name} is not a setting${nearest(name)}`);
    else if (/^(WALG|WALE|DURABILITY|POSTGRES|WAL)_/.test(name))
      notices.push(`${name} is not a setting and has no effect${nearest(name)}`);
  }
}

function nearest(name: string): string {
  let best: string | null = null;
  let distance = 3;
  for (const known of KNOWN) {
    const found = editDistance(name, known, distance);
    if (found < distance) [best, distance] = [known, found];
  }
  return best === null ? "" : `; did you mean ${best}?`;
}

/** Levenshtein's distance, or `limit` when it is not below. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return Math.min(row[b.length]!, limit);
}

const KNOWN: ReadonlySet<string> = new Set(
  Object.entries(ALL_SETTINGS).flatMap(([name, row]) => namesOf(name, row)),
);
