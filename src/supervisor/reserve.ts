// Room that is set aside while there is plenty: on a full volume a hand-over must still write its doors and marks.

import { open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { VolumePaths } from "../postgres/data-directory.ts";

/** Configuration, marks and the last WAL of a hand-over fit into it with ease. */
export const RESERVE_BYTES = 32 * 1024 * 1024;

/** Makes the reserve unless it is there. Rejects when the volume does not take it; what was written then is removed. */
export async function keepReserve(paths: Pick<VolumePaths, "marks">): Promise<void> {
  const path = pathOf(paths);
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  if (size >= RESERVE_BYTES) return;
  try {
    await using file = await open(path, "w", 0o600);
    const zeros = Buffer.alloc(1024 * 1024);
    for (let at = 0; at < RESERVE_BYTES; at += zeros.byteLength)
      await file.write(zeros, 0, zeros.byteLength, at);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/** Gives the room back; nothing when there is no reserve. */
export async function releaseReserve(paths: Pick<VolumePaths, "marks">): Promise<void> {
  await rm(pathOf(paths), { force: true });
}

const pathOf = ({ marks }: Pick<VolumePaths, "marks">): string => join(marks, "reserve");
