// The two text forms that Go's encoders give WAL-G's objects: RFC 3339 times with nanoseconds, and JSON with HTML characters escaped.

import { formatLossless } from "../base/lossless-json.ts";

/** Nanoseconds since 1970; file times keep this precision because deltas compare them for equality. */
export type Nanoseconds = bigint;

/** Reads RFC 3339 with 0 to 9 fractional digits and any offset (`Z`, `+02:00`); null for anything else. */
export function parseInstant(text: string): Nanoseconds | null {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/.exec(
      text,
    );
  if (match === null) return null;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as SixNumbers;
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  const isInRange = month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour <= 24 && minute <= 59;
  if (!isInRange || second > 60 || Number.isNaN(ms)) return null;
  const offsetMinutes = match[8] === undefined ? 0 : Number(match[9]) * 60 + Number(match[10]);
  const utcMs = ms - (match[8] === "-" ? -offsetMinutes : offsetMinutes) * 60_000;
  return BigInt(utcMs) * 1_000_000n + BigInt((match[7] ?? "").padEnd(9, "0"));
}

/** Prints as Go's RFC3339Nano in UTC: trailing zeros of the fraction trimmed, `Z` at the end. */
export function formatInstant(at: Nanoseconds): string {
  const second = at / NS_PER_SECOND - (at % NS_PER_SECOND < 0n ? 1n : 0n);
  const fraction = (at - second * NS_PER_SECOND).toString().padStart(9, "0").replace(/0+$/, "");
  const whole = new Date(Number(second) * 1000).toISOString().slice(0, 19);
  return fraction === "" ? `${whole}Z` : `${whole}.${fraction}Z`;
}

/** `ms` since 1970 (fractions allowed) rounded up to microseconds, as WAL-G rounds StartTime. */
export function instantOfMs(ms: number): Nanoseconds {
  return BigInt(Math.ceil(ms * 1000)) * 1000n;
}

/** JSON as Go's Marshal prints it: one line, `< > &` and the two line separators escaped, bigints as integers. */
export function formatGoJson(value: unknown, space?: number): string {
  return formatLossless(value, space).replace(/[<>&\u2028\u2029]/g, escapeOne);
}

const escapeOne = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

type SixNumbers = [number, number, number, number, number, number];

const NS_PER_SECOND = 1_000_000_000n;
