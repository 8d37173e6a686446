// From a tar member's name to a place below the target directory, and never elsewhere.

import { BackupFormatError } from "./format-error.ts";

/**
 * `/base/1/112`, `base/1/112` and `./base/1/112` give `base/1/112`; the root itself gives "". Throws BackupFormatError
 * for a name that leads out of the target, or that no tar of a data directory holds.
 */
export function memberPath(name: string, object: string): string {
  const steps = name.split("/").filter((step) => step !== "" && step !== ".");
  if (steps.includes(".."))
    throw new BackupFormatError(object, `holds the member "${name}", which leads out of the target`);
  if (name.includes("\0")) throw new BackupFormatError(object, "holds a member whose name has a zero byte");
  return steps.join("/");
}

/** The control file comes last of all: a data directory without it cannot be started. */
export const CONTROL_PATH = "global/pg_control";

/** Where the control file waits until everything else is durable. */
export const CONTROL_WAITS_AT = "global/pg_control.restoring";

/** Members of backup_label.tar, or of a remote backup's first part. */
export const LABEL_PATH = "backup_label";
export const TABLESPACE_MAP_PATH = "tablespace_map";

/** Names that no list of files has, and that every restore takes. */
export const isUtilityPath = (path: string): boolean =>
  path === CONTROL_PATH || path === LABEL_PATH || path === TABLESPACE_MAP_PATH;
