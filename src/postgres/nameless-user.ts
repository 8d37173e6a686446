// initdb refuses a user without a name: for `docker run --user 12345` one is lent by libnss_wrapper.

import { access, mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";

/** More environment for a program that asks for its user's name; empty when the user has one, or nobody can lend it. */
export async function lentName(
  uid: number | undefined,
  gid: number | undefined,
  passwdPath = "/etc/passwd",
): Promise<Readonly<Record<string, string>>> {
  if (uid === undefined || gid === undefined || hasName(await readFile(passwdPath, "utf8"), uid)) return {};
  const library = await findWrapper();
  if (library === null) return {};
  const folder = await mkdtemp(join(tmpdir(), "holdfast-user-"));
  const [passwd, group] = [join(folder, "passwd"), join(folder, "group")];
  await writeDurably(passwd, `postgres:x:${uid}:${gid}:postgres:/nonexistent:/bin/false\n`);
  await writeDurably(group, `postgres:x:${gid}:\n`);
  return { LD_PRELOAD: library, NSS_WRAPPER_PASSWD: passwd, NSS_WRAPPER_GROUP: group };
}

/** passwd(5): the third field is the user's number. Pure. */
export const hasName = (passwd: string, uid: number): boolean =>
  passwd.split("\n").some((line) => line.split(":")[2] === String(uid));

async function findWrapper(): Promise<string | null> {
  for (const folder of await readdir("/usr/lib").catch(() => [])) {
    const path = join("/usr/lib", folder, "libnss_wrapper.so");
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  return null;
}
