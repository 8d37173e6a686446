// What a failed file operation means for a store in a folder.

import { StoreError, type StoreErrorKind } from "./object-store.ts";

/** Codes that are a clear no; all others (EIO, EMFILE, ESTALE, …) prove nothing. */
const REFUSALS: Readonly<Record<string, string>> = {
  EACCES: "check the owner and the mode of the folder",
  EPERM: "check the owner and the mode of the folder",
  EROFS: "the file system is mounted read-only: check the kernel's log for the reason",
  ENOTDIR: "a part of the key's path is an object already",
  EEXIST: "a part of the key's path is an object already",
  EISDIR: "a folder has this key's name already",
  ENOTEMPTY: "a folder has this key's name already",
  ENAMETOOLONG: "a part of a key may have 255 bytes in a folder",
  EINVAL: "check the key for characters that the file system refuses",
  ENOSPC: "free space on the volume of the archive",
  EDQUOT: "free space or raise the quota on the volume of the archive",
  ENOENT: "check that the folder exists and is mounted",
};

/** A StoreError that says what was attempted; what did not come from the file system is returned as it is. */
export function folderError(error: unknown, what: string, store: string, key: string): unknown {
  const code = codeOf(error);
  if (error instanceof StoreError || code === null) return error;
  const hint = REFUSALS[code];
  const kind: StoreErrorKind = hint === undefined ? "unknown" : "refused";
  return new StoreError(kind, `could not ${what} "${key}" in ${store}`, {
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  const code = codeOf(error);
  return code !== null && codes.includes(code);
}

function codeOf(error: unknown): string | null {
  const code: unknown = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" ? code : null;
}
