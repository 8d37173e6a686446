// The restore that the environment asks for. Pure.

import { parseRequest, TargetError } from "../recovery/target.ts";
import type { Findings, ValuesOf } from "./read-table.ts";
import { readEndpoint, readSource, type StoreSettings, type StoreValues } from "./settings-store.ts";
import { BACKUP_TABLE } from "./settings-table.ts";
import type { RestoreSettings } from "./settings-types.ts";

/** null when nothing asks for one. `own` is the cluster's own store. */
export function assembleRestore(
  values: ValuesOf<typeof BACKUP_TABLE>,
  store: StoreValues,
  own: StoreSettings,
  findings: Findings,
): RestoreSettings | null {
  const asked = RESTORE_NAMES.some(
    (name) => values[name] !== null && values[name] !== BACKUP_TABLE[name].fallback,
  );
  if (!asked) return null;
  const from =
    values.RESTORE_FROM === null
      ? null
      : readSource(values.RESTORE_FROM, sourceValues(values, store, findings), findings);
  if (from !== null && isSamePlace(from, own)) {
    findings.problems.push(
      "RESTORE_FROM names the cluster's own archive; leave it out, or give the new cluster a prefix of its own",
    );
  }
  try {
    const request = parseRequest({
      time: values.RESTORE_TARGET_TIME ?? undefined,
      lsn: values.RESTORE_TARGET_LSN ?? undefined,
      xid: values.RESTORE_TARGET_XID ?? undefined,
      name: values.RESTORE_TARGET_NAME ?? undefined,
      immediate: values.RESTORE_TARGET_IMMEDIATE ?? undefined,
      inclusive: values.RESTORE_TARGET_INCLUSIVE ?? undefined,
      timeline: values.RESTORE_TARGET_TIMELINE ?? undefined,
      backup: values.RESTORE_BACKUP ?? undefined,
    });
    return { from, request };
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    findings.problems.push(...error.problems.map((problem) => `RESTORE_TARGET_…: ${problem}`));
    return null;
  }
}

/** The store's values with what is set for the source alone laid over them. */
function sourceValues(
  values: ValuesOf<typeof BACKUP_TABLE>,
  store: StoreValues,
  findings: Findings,
): StoreValues {
  const key = values.RESTORE_AWS_ACCESS_KEY_ID;
  return {
    ...store,
    AWS_ACCESS_KEY_ID: key ?? store.AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY: values.RESTORE_AWS_SECRET_ACCESS_KEY ?? store.AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN: key === null ? store.AWS_SESSION_TOKEN : null,
    AWS_ENDPOINT:
      readEndpoint(values.RESTORE_AWS_ENDPOINT, "RESTORE_AWS_ENDPOINT", findings) ?? store.AWS_ENDPOINT,
    AWS_REGION: values.RESTORE_AWS_REGION ?? store.AWS_REGION,
  };
}

function isSamePlace(a: StoreSettings, b: StoreSettings): boolean {
  if (a.kind === "folder") return b.kind === "folder" && a.path === b.path;
  return b.kind === "s3" && a.bucket === b.bucket && a.prefix === b.prefix && a.endpoint === b.endpoint;
}

/** Any of these given asks for a restore. */
const RESTORE_NAMES = [
  "RESTORE_FROM",
  "RESTORE_BACKUP",
  "RESTORE_TARGET_TIME",
  "RESTORE_TARGET_LSN",
  "RESTORE_TARGET_XID",
  "RESTORE_TARGET_NAME",
  "RESTORE_TARGET_IMMEDIATE",
  "RESTORE_TARGET_TIMELINE",
] as const;
