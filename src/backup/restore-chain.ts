// The order of a full backup and its deltas, and which files come from which of them. Storage format, section 16.

import { BackupFormatError, BackupMissingError } from "./format-error.ts";
import type { FileTable } from "./files-metadata.ts";
import type { Sentinel } from "./sentinel.ts";
import { formatLsn } from "../wal/lsn.ts";

export interface ChainLink {
  readonly name: string;
  readonly sentinel: Sentinel;
}

/**
 * The backups to restore, full first, `newest` last. `read` gives a sentinel, or null when there is none.
 * A missing base is named at once (BackupMissingError); a chain that contradicts itself is a BackupFormatError.
 */
export async function readChain(
  newest: string,
  read: (name: string) => Promise<Sentinel | null>,
): Promise<ChainLink[]> {
  const links: ChainLink[] = [];
  const seen = new Set<string>();
  for (let name = newest; ;) {
    if (seen.has(name))
      throw new BackupFormatError(newest, `its chain of deltas runs in a circle at "${name}"`);
    seen.add(name);
    const sentinel = await read(name);
    if (sentinel === null) throw missingBase(newest, name, links.at(-1)?.name);
    const child = links.at(-1);
    if (child !== undefined) checkLink(child, { name, sentinel });
    links.push({ name, sentinel });
    if (sentinel.delta === null) return links.toReversed();
    if (sentinel.delta.from === "")
      throw new BackupFormatError(name, "is a catchup backup, which has no base");
    name = sentinel.delta.from;
  }
}

function missingBase(newest: string, missing: string, neededBy: string | undefined): BackupMissingError {
  if (neededBy === undefined)
    return new BackupMissingError(`backup "${newest}" is not there: it has no sentinel`);
  return new BackupMissingError(
    `backup "${newest}" cannot be restored: "${neededBy}" is a delta of "${missing}", which is not there`,
    "choose a full backup or a delta whose bases are all there",
  );
}

function checkLink(child: ChainLink, parent: ChainLink): void {
  const delta = child.sentinel.delta;
  const { startLsn, systemIdentifier } = parent.sentinel;
  if (delta === null) return;
  if (startLsn === null || startLsn !== delta.lsn)
    throw new BackupFormatError(
      child.name,
      `is a delta from ${formatLsn(delta.lsn)}, but its base "${parent.name}" starts at ` +
        (startLsn === null ? "no known position" : formatLsn(startLsn)),
    );
  const own = child.sentinel.systemIdentifier;
  if (own !== null && systemIdentifier !== null && own !== systemIdentifier)
    throw new BackupFormatError(child.name, `its base "${parent.name}" is of another database system`);
}

/** What to take from one backup of a chain. */
export interface Extraction {
  readonly backup: string;
  /** Names to take; null means everything in every tar: a full backup without a list of files. */
  readonly wanted: ReadonlySet<string> | null;
  /** True: also backup_label, tablespace_map and pg_control, which come from the newest only. */
  readonly isNewest: boolean;
}

/**
 * Which files each backup of the chain must give, in chain order. A file comes whole from the newest backup that
 * holds it whole; increments of later ones follow. `keep` narrows the newest backup's names (mask, partial restore).
 * Throws BackupFormatError when a file is skipped or incremented in a backup and unknown to its base.
 */
export function planExtraction(
  chain: readonly { readonly name: string; readonly files: FileTable }[],
  keep: (name: string) => boolean = () => true,
): Extraction[] {
  const plan: Extraction[] = [];
  let wanted: Set<string> | null = null;
  for (const [above, { name: backup, files }] of chain.toReversed().entries()) {
    const isNewest = above === 0;
    const isFull = above === chain.length - 1;
    if (files.size === 0) {
      if (!isFull) throw new BackupFormatError(backup, "is a delta without a list of its files");
      return [{ backup, wanted, isNewest }, ...plan.toReversed()];
    }
    const here = new Set<string>();
    const below = new Set<string>();
    for (const name of wanted ?? files.names()) {
      if (isNewest && !keep(name)) continue;
      const entry = files.get(name);
      if (entry === undefined)
        throw new BackupFormatError(backup, `does not know the file "${name}", which a delta takes from it`);
      if (!entry.isSkipped) here.add(name);
      if (entry.isSkipped || entry.isIncremented) below.add(name);
    }
    plan.push({ backup, wanted: here, isNewest });
    wanted = below;
  }
  const [lost] = wanted ?? [];
  if (lost !== undefined)
    throw new BackupFormatError(
      chain[0]!.name,
      `is a full backup, but does not hold the file "${lost}" whole`,
    );
  return plan.toReversed();
}
