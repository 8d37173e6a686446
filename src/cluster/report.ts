// What a member says of itself when it is asked: the one message of the cluster, as a value and as JSON.

import type { AskFailure } from "./detection.ts";
import type { Roster } from "./roster.ts";
import { type Lsn, formatLsn, parseLsn } from "../wal/lsn.ts";

/** What a member is, as far as leading goes. */
export type Standing =
  /** Volume empty, seeding, restoring, rewinding: it has nothing to offer yet. */
  | "joining"
  | "standby"
  /** Its volume held a primary; it asks the log whether it still leads. */
  | "contender"
  /** It runs the gate. */
  | "candidate"
  | "primary"
  /** Its data left the winner's history: it rewinds or re-seeds. */
  | "suspect"
  /** It was asked to stop. */
  | "leaving";

/** One member's view of itself and of the primary. Times are ages, because no two clocks agree. */
export interface Report {
  readonly name: string;
  readonly region: string;
  readonly priority: number;
  /** By region and priority; `false` is never promoted automatically. */
  readonly eligible: boolean;
  /** Random per start of the supervisor: a new one means that it restarted. */
  readonly incarnation: string;
  /** Names the software: two members with different ones are in the middle of a roll. */
  readonly build: string;
  readonly upSeconds: number;
  readonly systemId: string | null;
  /** Names this copy of the data; another one after the volume was filled anew. */
  readonly volume: string;
  readonly standing: Standing;
  /** A primary whose doors are open, now. */
  readonly accepting: boolean;
  /** A primary: the position of its fence. */
  readonly epoch: number | null;
  readonly timeline: number;
  /** Record end of what is on the disk: greatest(receive, replay), or the flush position of a primary. */
  readonly recordEnd: Lsn;
  readonly replayed: Lsn;
  /** A primary: up to where the store has it; standbys keep the WAL from there on. */
  readonly durable: Lsn | null;
  readonly streaming: boolean;
  /** Room on its volume; null: not measured, or a member of a version that does not tell. */
  readonly freeBytes: number | null;
  /** The primary this member knows, and how long ago it heard from it itself. */
  readonly primary: { readonly name: string; readonly heardAgoMs: number } | null;
  /** A running gate, and for how long. */
  readonly gateForMs: number | null;
  /** The last good answer of the store. */
  readonly storeAgoMs: number | null;
}

/** The answer to an ask: the report, and whether the member promises the asking primary its licence. */
export interface Answer {
  readonly report: Report;
  /** "I will not open my doors within the doors' wait of this answer." Given only to the primary it follows, outside a gate. */
  readonly grants: boolean;
  /** From a primary: who counts, for members that do not read the store while all is well. */
  readonly roster: Roster | null;
}

export type AskOutcome =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "failure"; readonly failure: AskFailure; readonly closed: boolean };

/** JSON as it travels; LSNs as Postgres prints them. */
export function formatReport(report: Report): string {
  return JSON.stringify({
    ...report,
    recordEnd: formatLsn(report.recordEnd),
    replayed: formatLsn(report.replayed),
    durable: report.durable === null ? null : formatLsn(report.durable),
  });
}

/** Reads what `formatReport` wrote. Null for anything else: a stranger's answer is no answer. */
export function parseReport(text: string): Report | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(value)) return null;
  const field = value;
  const primary = isRecord(field["primary"]) ? field["primary"] : null;
  try {
    return {
      name: readText(field, "name"),
      region: readText(field, "region"),
      priority: readNumber(field, "priority"),
      eligible: field["eligible"] === true,
      incarnation: readText(field, "incarnation"),
      build: readText(field, "build"),
      upSeconds: readNumber(field, "upSeconds"),
      systemId: field["systemId"] === null ? null : readSystemId(field),
      volume: readText(field, "volume"),
      standing: readStanding(field["standing"]),
      accepting: field["accepting"] === true,
      epoch: readOptional(field, "epoch"),
      timeline: readNumber(field, "timeline"),
      recordEnd: parseLsn(readText(field, "recordEnd")),
      replayed: parseLsn(readText(field, "replayed")),
      durable: typeof field["durable"] === "string" ? parseLsn(field["durable"]) : null,
      streaming: field["streaming"] === true,
      freeBytes: readOptional(field, "freeBytes"),
      primary:
        primary === null
          ? null
          : { name: readText(primary, "name"), heardAgoMs: readNumber(primary, "heardAgoMs") },
      gateForMs: readOptional(field, "gateForMs"),
      storeAgoMs: readOptional(field, "storeAgoMs"),
    };
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

type Fields = Readonly<Record<string, unknown>>;

const STANDINGS: readonly Standing[] = [
  "joining",
  "standby",
  "contender",
  "candidate",
  "primary",
  "suspect",
  "leaving",
];

const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function readText(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string" || value.length > 200) throw new RangeError(`no text "${name}"`);
  return value;
}

function readSystemId(fields: Fields): string {
  const value = readText(fields, "systemId");
  if (!/^\d{1,20}$/.test(value)) throw new RangeError("no system identifier");
  return value;
}

function readNumber(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== "number" || !Number.isFinite(value)) throw new RangeError(`no number "${name}"`);
  return value;
}

const readOptional = (fields: Fields, name: string): number | null =>
  fields[name] === null || fields[name] === undefined ? null : readNumber(fields, name);

function readStanding(value: unknown): Standing {
  const found = STANDINGS.find((standing) => standing === value);
  if (found === undefined) throw new RangeError(`no standing: ${JSON.stringify(value)}`);
  return found;
}
