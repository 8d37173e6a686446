// What went into a backup while it is being taken.

import type { Log } from "../base/log.ts";
import type { BackupStop } from "../postgres/backup-session.ts";
import { type CorruptBlocks, FileTable } from "./files-metadata.ts";
import type { ManifestPart } from "./manifest.ts";
import type { PackedMember } from "./pack-part.ts";

/** What went into the backup. */
export class PushBook {
  readonly files = new FileTable();
  readonly tarFileSets = new Map<string, readonly string[]>();
  readonly corrupt = new Map<string, CorruptBlocks>();
  readonly parts: ManifestPart[] = [];
  memberBytes = 0;
  readonly #torn: { readonly name: string; readonly lsn: bigint }[] = [];
  add({ part, members }: { readonly part: ManifestPart; readonly members: readonly PackedMember[] }): void {
    this.parts.push(part);
    this.tarFileSets.set(
      part.name,
      members.map(({ name }) => name),
    );
    for (const { name, mtime, isIncremented, bytes, corrupt, tornLsn } of members) {
      this.files.set(name, { mtime, isIncremented, isSkipped: false });
      this.memberBytes += bytes;
      if (corrupt !== null) this.corrupt.set(name, corrupt);
      if (tornLsn !== null) this.#torn.push({ name, lsn: tornLsn });
    }
  }

  labels(tar: string): void {
    this.tarFileSets.set(tar, ["tablespace_map", "backup_label"]);
  }

  /** A page that claims to be newer than the whole backup was not torn: it is damaged. */
  judgeTorn({ stop }: BackupStop, log: Log): void {
    for (const { name, lsn } of this.#torn)
      if (lsn > stop && !this.corrupt.has(name)) this.corrupt.set(name, { count: 1, some: [] });
    for (const [name, { count, some }] of this.corrupt)
      log.error("pages with a wrong checksum are in the backup as they are", {
        file: name,
        pages: count,
        some,
      });
  }
}
