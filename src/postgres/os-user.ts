// The user that Postgres programs run as: never root.

import { readFile } from "node:fs/promises";
import { AppError } from "../base/errors.ts";

export interface OsUser {
  readonly uid: number;
  readonly gid: number;
}

/** null: run programs as we are. As root: the user `postgres` of /etc/passwd. Throws when root has none to drop to. */
export async function postgresUser(
  ownUid: number | undefined,
  passwd: string = "/etc/passwd",
): Promise<OsUser | null> {
  if (ownUid !== 0) return null;
  for (const line of (await readFile(passwd, "utf8")).split("\n")) {
    const [name, , uid, gid] = line.split(":");
    if (name === "postgres") return { uid: Number(uid), gid: Number(gid) };
  }
  throw new AppError(`there is no user "postgres" in ${passwd}, and Postgres refuses to run as root`, {
    code: "NO_POSTGRES_USER",
    hint: "install the Debian package postgresql, which makes the user",
  });
}
