// A file system of its own that a test may fill to the last byte.

import { existsSync } from "node:fs";
import { mkdtemp, open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { own } from "./backup-source.ts";

/** Mounted by scripts/run-tests.ts: `docker run --tmpfs /small-disk:size=192m,mode=1777`. */
const SMALL_DISK = "/small-disk";

/** A new folder on it that Postgres owns. Throws when it is not mounted. */
export async function smallDisk(): Promise<AsyncDisposable & { readonly path: string }> {
  if (!existsSync(SMALL_DISK))
    throw new Error(`${SMALL_DISK} is missing: run this with ./scripts/test, or docker --tmpfs`);
  const path = await mkdtemp(join(SMALL_DISK, "holdfast-"));
  await own(path);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Takes all room of the file system but for some `leaveBytes`, until it is disposed of. Others may take room meanwhile. */
export async function fillDisk(leaveBytes: number): Promise<AsyncDisposable> {
  const folder = await mkdtemp(join(SMALL_DISK, "filler-"));
  const { bavail, bsize } = await statfs(folder);
  const bytes = bavail * bsize - leaveBytes;
  await using file = await open(join(folder, "filler"), "w");
  const piece = Buffer.alloc(1 << 20);
  try {
    for (let at = 0; at < bytes; at += piece.length)
      await file.write(piece, 0, Math.min(piece.length, bytes - at));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  }
  return { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}
