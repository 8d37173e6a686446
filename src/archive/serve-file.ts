// Puts a file where Postgres asked for it, so that it is there whole or not at all: write, fsync, rename, fsync of the folder.

import { chown, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { renameDurably, writeDurably } from "../base/durable-file.ts";

/** Bytes in memory to `path` (R3: fsynced, renamed, folder fsynced). */
export async function serveBytes(bytes: Uint8Array, path: string): Promise<void> {
  await writeDurably(path, bytes, 0o600, await ownerFor(dirname(path)));
}

/** A finished file of the spool, already synced, to `path`; both must be on one file system. */
export async function serveSpooled(spooled: string, path: string): Promise<void> {
  const owner = await ownerFor(dirname(path));
  if (owner !== undefined) await chown(spooled, owner.uid, owner.gid);
  await renameDurably(spooled, path);
}

/** Postgres never runs as root, the supervisor may: what is put into its folder belongs to the folder's owner. */
export async function ownerFor(
  folder: string,
): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = await stat(folder);
  return uid === 0 ? undefined : { uid, gid };
}

/** `%p` is relative to the data directory, in which Postgres runs its commands. */
export const absolutePath = (path: string, dataDirectory: string): string =>
  path.startsWith("/") ? path : join(dataDirectory, path);
