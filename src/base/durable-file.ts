// The one way to write a file: temporary name, fsync, rename, fsync of the folder.

import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** Writes `body` to `path` so that after a crash the file is whole, old or new. Nobody but `owner` ever sees it with other rights. */
export async function writeDurably(
  path: string,
  body: Uint8Array | string,
  mode = 0o600,
  owner?: { readonly uid: number; readonly gid: number },
): Promise<void> {
  const temporary = `${path}.tmp`;
  {
    await using file = await open(temporary, "w", mode);
    if (owner !== undefined) await file.chown(owner.uid, owner.gid);
    await file.writeFile(body);
    await file.sync();
  }
  await renameDurably(temporary, path);
}

/** Renames and makes the rename durable; `from` must already be synced. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
  if (dirname(from) !== dirname(to)) await syncFolder(dirname(from));
}

/** Removes a file or folder, present or not, and makes the removal durable. */
export async function removeDurably(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await syncFolder(dirname(path));
}

/** Without this a crash may forget a rename or a new file. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
