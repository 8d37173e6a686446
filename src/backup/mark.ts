// Marks backups as permanent, which no deletion touches, or takes the mark away. Storage format, section 28.

import { AppError } from "../base/errors.ts";
import { parseLossless } from "../base/lossless-json.ts";
import { type ObjectStore, readWhole } from "../storage/object-store.ts";
import type { BackupFacts } from "./backup-facts.ts";
import { metadataKey } from "./backup-name.ts";
import { formatGoJson } from "./go-json.ts";

/** The backups whose mark has to change. */
export interface MarkPlan {
  /** Oldest first. */
  readonly change: readonly string[];
  /** The named backup is marked so already. */
  readonly isAlready: boolean;
}

/** The named backup and, for permanent, all that it is built on. Throws AppError for an unknown name and for a base of a permanent delta. */
export function planMark(
  name: string,
  permanent: boolean,
  backups: readonly BackupFacts[],
  /** Where the store is, for the message. */
  place: string,
): MarkPlan {
  const byName = new Map(backups.map((backup) => [backup.name, backup]));
  const backup = byName.get(name);
  if (backup === undefined) {
    throw new AppError(
      `Failed to get previous backups: object '${place}${metadataKey(name)}' not found in storage`,
      {
        code: "BACKUP_MISSING",
        hint: "give a name from `backup-list`",
      },
    );
  }
  if (!permanent) {
    const child = backups.find((other) => other.base === name && other.permanent);
    if (child !== undefined) {
      throw new AppError(
        `Failed to get previous backups: Can't mark backup '${name}' as impermanent. There is permanent increment backup that depends on this backup.`,
        { code: "PERMANENT_BACKUP", hint: `first take the mark from "${child.name}"` },
      );
    }
  }
  const chain = permanent ? chainOf(backup, byName) : [backup];
  return {
    change: chain.filter((other) => other.permanent !== permanent).map((other) => other.name),
    isAlready: backup.permanent === permanent,
  };
}

function chainOf(backup: BackupFacts, byName: ReadonlyMap<string, BackupFacts>): readonly BackupFacts[] {
  const chain: BackupFacts[] = [];
  for (let at: BackupFacts | undefined = backup; at !== undefined && !chain.includes(at);) {
    chain.unshift(at);
    if (at.base === null) break;
    const base = byName.get(at.base);
    if (base === undefined) {
      throw new AppError(`"${at.name}" is built on "${at.base}", which is missing`, {
        code: "BACKUP_MISSING",
        hint: "such a delta cannot be restored: mark a backup whose chain is whole",
      });
    }
    at = base;
  }
  return chain;
}

/** Rewrites the one member of metadata.json; everything else in it stays as it was. */
export async function writeMark(
  name: string,
  permanent: boolean,
  store: Pick<ObjectStore, "get" | "put">,
  signal: AbortSignal,
): Promise<void> {
  const key = metadataKey(name);
  const object = await store.get(key, signal);
  if (object === null) {
    throw new AppError(`"${key}" is missing: there is nowhere to put the mark`, {
      code: "BACKUP_DAMAGED",
      hint: "take a new backup with --permanent",
    });
  }
  const text = new TextDecoder().decode(await readWhole(object, METADATA_BYTES_MOST));
  const metadata = parseLossless(text) as Record<string, unknown>;
  const marked = new TextEncoder().encode(formatGoJson({ ...metadata, is_permanent: permanent }));
  await store.put(key, marked, signal);
}

const METADATA_BYTES_MOST = 1 << 26;
