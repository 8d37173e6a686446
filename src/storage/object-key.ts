// Which strings may be keys, the same for every driver.

import { StoreError } from "./object-store.ts";

/** Throws StoreError `refused` for keys with empty, `.` or `..` parts or a NUL: they would leave the prefix on some way. */
export function assertKey(key: string, store: string): void {
  const bad = key
    .split("/")
    .some((part) => part === "" || part === "." || part === ".." || part.includes("\0"));
  if (!bad) return;
  throw new StoreError("refused", `${JSON.stringify(key)} cannot be a key in ${store}`, {
    hint: "use keys without empty, `.` or `..` parts",
  });
}
