// The socket that programs in the container look for. Postgres's own lies in a folder of ours; the usual names are links to it, and they are there
// only while the doors are open: `psql` beside a server that is still being founded or restored would be cut, or believed.

import { lstat, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";

export interface PublicSocket {
  /** `/run/postgresql`. */
  readonly folder: string;
  /** Where Postgres's own socket is. */
  readonly from: string;
  readonly port: number;
}

/** Links `.s.PGSQL.<port>`, and 5432 as in the official image, to the server's socket. What somebody else put there stays. */
export async function linkSocket(socket: PublicSocket, log: Log): Promise<void> {
  for (const path of namesOf(socket)) {
    if (!(await removeLink(path))) {
      log.warn("another server's socket is in the way; it is left alone", { path });
      continue;
    }
    await symlink(join(socket.from, `.s.PGSQL.${socket.port}`), path);
  }
}

export async function unlinkSocket(socket: PublicSocket): Promise<void> {
  for (const path of namesOf(socket)) await removeLink(path);
}

/** True when nothing stands there any more. */
async function removeLink(path: string): Promise<boolean> {
  const there = await lstat(path).catch(() => null);
  if (there === null) return true;
  if (!there.isSymbolicLink()) return false;
  await rm(path, { force: true });
  return true;
}

const namesOf = ({ folder, port }: PublicSocket): readonly string[] =>
  [...new Set([port, USUAL_PORT])].map((number) => join(folder, `.s.PGSQL.${number}`));
const USUAL_PORT = 5432;
