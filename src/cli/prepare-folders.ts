// Folders that a node needs before it does anything, and a plain sentence when the volume or the run directory cannot be written.

import { access, chown, constants, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { AppError, messageOf } from "../base/errors.ts";
import type { OsUser } from "../postgres/os-user.ts";

export interface NodeFolders {
  /** On the volume: marks and secrets. Postgres must reach its data below the volume. */
  readonly marks: string;
  readonly runDirectory: string;
  /** Of Postgres's sockets; they are given to its user. */
  readonly sockets: readonly string[];
}

/** Makes what is missing. Throws FolderError at the first that cannot be made or written. */
export async function prepareFolders(folders: NodeFolders, owner: OsUser | null): Promise<void> {
  await makeFolder(folders.marks, 0o711);
  await makeFolder(folders.runDirectory, 0o755);
  for (const path of folders.sockets) {
    await makeFolder(path, 0o2775);
    if (owner !== null) await chown(path, owner.uid, owner.gid);
  }
}

/** The volume, or the folder of the sockets, is of no use to this process. */
class FolderError extends AppError {
  constructor(path: string, because: string) {
    super(`cannot write to "${path}": ${because}`, {
      code: "FOLDER",
      hint: "mount a volume that can be written, and that the container's user may write to",
    });
  }
}

async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode });
    await access(path, constants.W_OK);
  } catch (error) {
    throw new FolderError(path, (await reasonAbove(path)) ?? messageOf(error));
  }
}

/** A recursive mkdir says ENOENT whatever is wrong: what the nearest folder that is there says of itself. */
async function reasonAbove(path: string): Promise<string | null> {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      await access(folder, constants.W_OK);
      return null;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) return messageOf(error);
      if (folder === dirname(folder)) return null;
    }
  }
}
