// Times as WAL-G prints and parses them: Go's RFC 3339, RFC 850 and default layouts, to the nanosecond, in UTC.

/** Nanoseconds since 1970. */
export type Nanoseconds = bigint;

const SECOND = 1_000_000_000n;

/** Nanoseconds of a time in milliseconds. */
export const nanosecondsOf = (ms: number): Nanoseconds => BigInt(Math.round(ms * 1000)) * 1000n;

/** `2026-11-23T11:19:01Z`. */
export function formatRfc3339(time: Nanoseconds): string {
  return `${date(time).toISOString().slice(0, 19)}Z`;
}

/** `2026-11-23T11:19:01.218345153Z`, trailing zeros of the fraction left out. */
export function formatRfc3339Nano(time: Nanoseconds): string {
  return `${date(time).toISOString().slice(0, 19)}${fraction(time)}Z`;
}

/** `Monday, 23-Nov-26 11:19:01 UTC`. */
export function formatRfc850(time: Nanoseconds): string {
  const at = date(time);
  const day = String(at.getUTCDate()).padStart(2, "0");
  const year = String(at.getUTCFullYear() % 100).padStart(2, "0");
  return `${WEEKDAYS[at.getUTCDay()]}, ${day}-${MONTHS[at.getUTCMonth()]}-${year} ${at.toISOString().slice(11, 19)} UTC`;
}

/** `2026-11-23 11:19:01.218345153 +0000 UTC`, as Go prints a time by default. */
export function formatGoTime(time: Nanoseconds): string {
  return `${date(time).toISOString().slice(0, 19).replace("T", " ")}${fraction(time)} +0000 UTC`;
}

/** `2026/11/23 11:19:01.218345`, the time of a log line. */
export function formatLogTime(ms: number): string {
  const iso = new Date(ms).toISOString();
  return `${iso.slice(0, 10).replaceAll("-", "/")} ${iso.slice(11, 23)}000`;
}

/** Parses RFC 3339 with its zone; null for anything else, also for a time without zone. */
export function parseRfc3339(text: string): Nanoseconds | null {
  const match = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  if (match === null) return null;
  const seconds = Date.parse(`${match[1]!.toUpperCase()}${match[3]!.toUpperCase()}`);
  if (Number.isNaN(seconds)) return null;
  return BigInt(seconds) * 1_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
}

const date = (time: Nanoseconds): Date => new Date(Number(time / 1_000_000n));

function fraction(time: Nanoseconds): string {
  const digits = (time % SECOND).toString().padStart(9, "0").replace(/0+$/, "");
  return digits === "" ? "" : `.${digits}`;
}

const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"] as const;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;
