// Names of users and groups by number, from /etc/passwd and /etc/group; read once.

import { readFileSync } from "node:fs";

/** Empty names where the number is not known. */
export function ownerNames(
  uid: number,
  gid: number,
): { readonly userName: string; readonly groupName: string } {
  users ??= namesIn("/etc/passwd");
  groups ??= namesIn("/etc/group");
  return { userName: users.get(uid) ?? "", groupName: groups.get(gid) ?? "" };
}

let users: ReadonlyMap<number, string> | null = null;
let groups: ReadonlyMap<number, string> | null = null;

/** Both files have the name first and the number third. */
function namesIn(path: string): ReadonlyMap<number, string> {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return new Map(); // names are a courtesy: restores go by numbers, or by neither
  }
  const fields = text.split("\n").map((line) => line.split(":"));
  return new Map(
    fields.filter(({ length }) => length > 2).map(([name = "", , number]) => [Number(number), name]),
  );
}
