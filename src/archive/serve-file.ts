// Puts a file where Postgres asked for it, so that it is there whole or not at all: write, fsync, rename, fsync of the folder.

import { dirname, join } from "node:path";
import { renameDurably, writeDurably } from "../base/durable-file.ts";

/** Bytes in memory to `path` (R3: fsynced, renamed, folder fsynced). */
export async function serveBytes(bytes: Uint8Array, path: string): Promise<void> {
  await writeDurably(path, bytes);
}

/** A finished file of the spool, already synced, to `path`; both must be on one file system. */
export async function serveSpooled(spooled: string, path: string): Promise<void> {
  await renameDurably(spooled, path);
}

/** `%p` is relative to the data directory, in which Postgres runs its commands. */
export const absolutePath = (path: string, dataDirectory: string): string =>
  path.startsWith("/") ? path : join(dataDirectory, path);

/** The same file system can be renamed into: the spool must not be in pg_wal, but beside PGDATA. */
export const spoolBeside = (dataDirectory: string): string =>
  join(dirname(dataDirectory), "holdfast", "prefetch");
