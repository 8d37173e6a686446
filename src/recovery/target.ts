// What a restore is asked for: parsed from settings or flags, printed for people and for postgresql.conf. Pure.

import { AppError, EXIT, unreachable } from "../base/errors.ts";
import { formatLsn, type Lsn, parseLsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";

/** Microseconds since 1970-01-01 UTC, as finely as Postgres keeps time. */
export type Microseconds = bigint;

/** Where recovery is to end. `inclusive`: the record that matches is replayed too. */
export type RestoreTarget =
  | { readonly kind: "latest" }
  /** As soon as the backup is consistent. */
  | { readonly kind: "immediate" }
  | { readonly kind: "time"; readonly us: Microseconds; readonly inclusive: boolean }
  | { readonly kind: "lsn"; readonly lsn: Lsn; readonly inclusive: boolean }
  | { readonly kind: "xid"; readonly xid: number; readonly inclusive: boolean }
  /** A restore point, made with pg_create_restore_point. */
  | { readonly kind: "name"; readonly name: string };

export interface RestoreRequest {
  readonly target: RestoreTarget;
  /** `latest`: T*, the winner's history. A number: that timeline, an abandoned one too. */
  readonly timeline: "latest" | TimelineId;
  /** A backup's name, or `LATEST`: the newest from which the target can be reached. */
  readonly backup: string;
}

/** As RESTORE_TARGET_* and the flags of `holdfast restore` give them; undefined and "" are not given. */
export interface TargetFields {
  readonly time?: string | undefined;
  readonly lsn?: string | undefined;
  readonly xid?: string | undefined;
  readonly name?: string | undefined;
  readonly immediate?: boolean | undefined;
  readonly inclusive?: boolean | undefined;
  readonly timeline?: string | undefined;
  readonly backup?: string | undefined;
}

/** What was asked for makes no sense, whatever the archive holds. `problems` has a sentence for each fault. */
export class TargetError extends AppError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("; "), {
      code: "RESTORE_TARGET_INVALID",
      hint: "give at most one of time, LSN, xid, name and immediate",
      exitStatus: EXIT.usage,
    });
    this.problems = problems;
  }
}

export const LATEST: RestoreRequest = { target: { kind: "latest" }, timeline: "latest", backup: "LATEST" };

/** Reads a request; throws TargetError with every problem at once. */
export function parseRequest(fields: TargetFields): RestoreRequest {
  const problems: string[] = [];
  const given = (["time", "lsn", "xid", "name"] as const).filter((key) => isGiven(fields[key]));
  const all = [...given, ...(fields.immediate === true ? ["immediate"] : [])];
  if (all.length > 1) problems.push(`more than one target was given: ${all.join(", ")}`);
  const inclusive = fields.inclusive ?? true;
  if (!inclusive && (given.length === 0 || given[0] === "name")) {
    problems.push("an exclusive target needs a time, an LSN or an xid");
  }
  const target = attempt(() => targetOf(fields, inclusive), problems);
  const timeline = attempt(() => parseTimeline(fields.timeline), problems);
  if (target === null || timeline === null || problems.length > 0) throw new TargetError(problems);
  return { target, timeline, backup: isGiven(fields.backup) ? fields.backup : "LATEST" };
}

/** For logs and refusals: `time 2026-11-24 12:00:00+00 (exclusive)`. */
export function describeTarget(target: RestoreTarget): string {
  switch (target.kind) {
    case "latest":
      return "the end of the archive";
    case "immediate":
      return "the end of the backup";
    case "time":
      return `time ${formatTime(target.us)}${exclusive(target.inclusive)}`;
    case "lsn":
      return `LSN ${formatLsn(target.lsn)}${exclusive(target.inclusive)}`;
    case "xid":
      return `transaction ${target.xid}${exclusive(target.inclusive)}`;
    case "name":
      return `restore point "${target.name}"`;
    default:
      return unreachable(target);
  }
}

/**
 * Reads a time as Postgres prints it or as ISO 8601 does, with up to six digits of a second. A zone is `Z`, `UTC`, `±HH`, `±HHMM` or
 * `±HH:MM`; without one it is UTC. Throws RangeError.
 */
export function parseTime(text: string): Microseconds {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?$/i.exec(
      text.trim(),
    );
  if (match === null) throw new RangeError(`not a time: "${text}" (write 2026-11-24 12:00:00+00)`);
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", zone = "Z"] = match;
  const parts = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const ms = Date.UTC(parts[0], parts[1] - 1, ...(parts.slice(2) as [number, number, number, number]));
  const back = new Date(ms);
  if (
    back.getUTCMonth() !== parts[1] - 1 ||
    back.getUTCDate() !== parts[2] ||
    parts[4] > 59 ||
    parts[5] > 59
  ) {
    throw new RangeError(`no such time: "${text}"`);
  }
  return BigInt(ms) * 1000n + BigInt(fraction.padEnd(6, "0")) - zoneMicroseconds(zone);
}

/** `2026-11-24 12:00:00.123456+00`: what Postgres reads whatever its settings of time zone and date style are. */
export function formatTime(us: Microseconds): string {
  const ms = us / 1000n;
  const iso = new Date(Number(ms)).toISOString();
  const fraction = `${iso.slice(20, 23)}${(us % 1000n).toString().padStart(3, "0")}`.replace(/0+$/, "");
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}${fraction === "" ? "" : `.${fraction}`}+00`;
}

const isGiven = (value: string | undefined): value is string => value !== undefined && value !== "";
const exclusive = (inclusive: boolean): string => (inclusive ? "" : " (exclusive)");

function targetOf({ time, lsn, xid, name, immediate }: TargetFields, inclusive: boolean): RestoreTarget {
  if (isGiven(time)) return { kind: "time", us: parseTime(time), inclusive };
  if (isGiven(lsn)) return { kind: "lsn", lsn: parseLsn(lsn), inclusive };
  if (isGiven(xid)) return { kind: "xid", xid: parseXid(xid), inclusive };
  if (isGiven(name)) return { kind: "name", name: parseName(name) };
  return immediate === true ? { kind: "immediate" } : { kind: "latest" };
}

/** The 32-bit number that WAL carries; a 64-bit one (epoch and number) is cut to it, as Postgres does. */
function parseXid(text: string): number {
  if (!/^\d{1,20}$/.test(text)) throw new RangeError(`not a transaction: "${text}"`);
  const xid = Number(BigInt(text) & 0xffff_ffffn);
  if (xid < FIRST_NORMAL_XID) throw new RangeError(`not a transaction that writes: "${text}"`);
  return xid;
}

function parseName(text: string): string {
  if (Buffer.byteLength(text) >= RESTORE_POINT_BYTES) {
    throw new RangeError(`a restore point's name has at most ${RESTORE_POINT_BYTES - 1} bytes: "${text}"`);
  }
  return text;
}

function parseTimeline(text: string | undefined): "latest" | TimelineId {
  if (!isGiven(text) || text === "latest") return "latest";
  const timeline = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (timeline < 1 || timeline > 0xffff_ffff) throw new RangeError(`not a timeline: "${text}"`);
  return timeline;
}

function zoneMicroseconds(zone: string): Microseconds {
  const match = /^([+-])(\d\d):?(\d\d)?$/.exec(zone);
  if (match === null) return 0n;
  const minutes = Number(match[2]) * 60 + Number(match[3] ?? 0);
  return BigInt(match[1] === "-" ? -minutes : minutes) * 60_000_000n;
}

function attempt<T>(read: () => T, problems: string[]): T | null {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problems.push(error.message);
    return null;
  }
}

const FIRST_NORMAL_XID = 3; // transam.h: FirstNormalTransactionId
const RESTORE_POINT_BYTES = 64; // MAXFNAMELEN
