// Where each tablespace of a restore goes: the place it had, or another one.

import { formatGoJson } from "./go-json.ts";
import { AppError, unreachable } from "../base/errors.ts";
import type { Tablespace, TablespaceSpec } from "./tablespace-spec.ts";

export type TablespacePlacement =
  /** Where they were on the source. */
  | { readonly kind: "as-they-were" }
  /** Each in a folder of its own, `<root>/<oid>`. */
  | { readonly kind: "below"; readonly root: string }
  /** As a restore spec says (`--restore-spec`). */
  | { readonly kind: "spec"; readonly spec: TablespaceSpec };

/** The places for the tablespaces that the backup has. Throws AppError when a restore spec leaves one out. */
export function placeTablespaces(
  spec: TablespaceSpec | null,
  placement: TablespacePlacement,
): readonly Tablespace[] {
  const tablespaces = spec?.tablespaces ?? [];
  switch (placement.kind) {
    case "as-they-were":
      return tablespaces;
    case "below":
      return tablespaces.map((tablespace) => ({
        ...tablespace,
        location: `${placement.root}/${tablespace.name}`,
      }));
    case "spec":
      return tablespaces.map((tablespace) => {
        const found = placement.spec.tablespaces.find(({ name }) => name === tablespace.name);
        if (found === undefined)
          throw new AppError(`the restore spec has no place for tablespace ${tablespace.name}`, {
            code: "BACKUP_TABLESPACE_UNPLACED",
            hint: `add ${formatGoJson({ [tablespace.name]: { loc: "/…", link: tablespace.link } })} and its name to "tablespaces"`,
          });
        return found;
      });
    default:
      return unreachable(placement);
  }
}

/**
 * tablespace_map for these places: Postgres makes the links anew from it when it starts from a backup. One line each,
 * `<oid> <path>`, where a backslash quotes line ends and itself. xlog.c: do_pg_backup_start, read_tablespace_map.
 */
export function formatTablespaceMap(tablespaces: readonly Tablespace[]): string {
  return tablespaces
    .map(({ name, location }) => `${name} ${location.replaceAll(/[\n\r\\]/g, "\\$&")}\n`)
    .join("");
}
