// Times as WAL-G prints them: Go's RFC 3339, RFC 850 and default layouts, in UTC.

import { type Nanoseconds, formatInstant } from "../../backup/go-json.ts";
import type { ObjectInfo } from "../../storage/object-store.ts";

/** When an object was written, as finely as the store knows it. */
export const modifiedNsOf = (info: Pick<ObjectInfo, "modifiedMs" | "modifiedNs">): Nanoseconds =>
  info.modifiedNs ?? BigInt(Math.round(info.modifiedMs * 1000)) * 1000n;

/** `2026-11-23T11:19:01Z`: whole seconds, cut. */
export const formatSeconds = (time: Nanoseconds): string => `${isoOf(time)}Z`;

/** `Monday, 23-Nov-26 11:19:01 UTC`. */
export function formatRfc850(time: Nanoseconds): string {
  const at = new Date(`${isoOf(time)}Z`);
  const day = String(at.getUTCDate()).padStart(2, "0");
  const year = String(at.getUTCFullYear() % 100).padStart(2, "0");
  return `${WEEKDAYS[at.getUTCDay()]}, ${day}-${MONTHS[at.getUTCMonth()]}-${year} ${isoOf(time).slice(11)} UTC`;
}

/** `2026-11-23 11:19:01.218345153 +0000 UTC`, as Go prints a time by default. */
export const formatGoTime = (time: Nanoseconds): string =>
  `${formatInstant(time).slice(0, -1).replace("T", " ")} +0000 UTC`;

/** `2026/11/23 11:19:01.218000`, the time of a log line. */
export function formatLogTime(ms: number): string {
  const iso = new Date(ms).toISOString();
  return `${iso.slice(0, 10).replaceAll("-", "/")} ${iso.slice(11, 23)}000`;
}

const isoOf = (time: Nanoseconds): string => formatInstant(time).slice(0, 19);

const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"] as const;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;
