// pgBackRest's own files: sections of `key=JSON`. Read only; written by 2.x (backrest-format 5).

import { AppError } from "../../base/errors.ts";
import { formatLossless, type Json, parseLossless } from "../../base/lossless-json.ts";
import { isLsnText, type Lsn, parseLsn } from "../../wal/lsn.ts";

export type Sections = ReadonlyMap<string, ReadonlyMap<string, Json>>;

/** What is wrong with a repository, and at which object. */
export class PgBackRestError extends AppError {
  constructor(object: string, problem: string, hint = "look with `pgbackrest info` and `pgbackrest verify`") {
    super(`"${object}": ${problem}`, { code: "PGBACKREST", hint });
  }
}

/** Parses an info file or a manifest. Throws PgBackRestError. */
export function parseSections(text: string, object: string): Sections {
  if (text.startsWith("Salted__")) {
    throw new PgBackRestError(
      object,
      "is encrypted",
      "encrypted repositories are not read: restore with pgBackRest itself",
    );
  }
  const sections = new Map<string, Map<string, Json>>();
  let open: Map<string, Json> | null = null;
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "") continue;
    const section = /^\[(.+)\]$/.exec(line);
    if (section !== null) {
      // A section may come in two pieces.
      open = sections.get(section[1]!) ?? new Map<string, Json>();
      sections.set(section[1]!, open);
      continue;
    }
    // A file's name may hold "=": the value of a file is an object.
    const cut = line.includes("={") ? line.indexOf("={") : line.indexOf("=");
    if (open === null || cut < 0) throw new PgBackRestError(object, `line ${index + 1} is not "key=value"`);
    open.set(line.slice(0, cut), jsonOf(line.slice(cut + 1), object, index));
  }
  const format = sections.get("backrest")?.get("backrest-format");
  if (format !== 5) throw new PgBackRestError(object, `is of format ${textOf(format)}, and 5 is known here`);
  return sections;
}

function jsonOf(text: string, object: string, index: number): Json {
  try {
    return parseLossless(text);
  } catch {
    throw new PgBackRestError(object, `line ${index + 1} holds no JSON`);
  }
}

/** One backup of backup.info. */
export interface InfoBackup {
  readonly label: string;
  readonly type: "full" | "diff" | "incr";
  readonly archiveStart: string | null;
  readonly startLsn: Lsn | null;
  readonly stopLsn: Lsn | null;
  readonly startedMs: number;
  readonly stoppedMs: number;
  readonly bytes: number;
  readonly storedBytes: number;
  readonly databaseId: number;
  /** Checksums failed when it was taken. */
  readonly hasErrors: boolean;
}

export interface BackupInfo {
  readonly backups: readonly InfoBackup[];
  /** By db-id: the version (`15`, `9.6`) and the system. */
  readonly databases: ReadonlyMap<number, { readonly version: string; readonly systemId: bigint }>;
}

export function readBackupInfo(text: string, object: string): BackupInfo {
  const sections = parseSections(text, object);
  const backups = [...(sections.get("backup:current") ?? [])].map(([label, value]) =>
    infoBackup(label, value, object),
  );
  return {
    backups: backups.toSorted((a, b) => a.stoppedMs - b.stoppedMs || (a.label < b.label ? -1 : 1)),
    databases: databasesOf(sections, object),
  };
}

/** `db:history` of backup.info and of archive.info, which is `object`. Throws PgBackRestError. */
export function databasesOf(sections: Sections, object: string): BackupInfo["databases"] {
  const found = new Map<number, { readonly version: string; readonly systemId: bigint }>();
  for (const [id, value] of sections.get("db:history") ?? []) {
    const members = membersOf(value);
    const systemId = members["db-system-id"] ?? members["db-id"] ?? 0;
    if (typeof systemId !== "bigint" && !Number.isSafeInteger(systemId))
      throw new PgBackRestError(object, `database ${id} has the system identifier ${textOf(systemId)}`);
    found.set(wholeNumber(id, `the database "${id}"`, object), {
      version: textOf(members["db-version"]),
      systemId: BigInt(systemId as bigint | number),
    });
  }
  return found;
}

function infoBackup(label: string, value: Json, object: string): InfoBackup {
  const members = membersOf(value);
  const type = members["backup-type"];
  if (type !== "full" && type !== "diff" && type !== "incr")
    throw new PgBackRestError(object, `"${label}" has the type ${textOf(type)}`);
  const number = (key: string, most?: number): number =>
    wholeNumber(members[key] ?? 0, `"${key}" of "${label}"`, object, most);
  const lsn = (key: string): Lsn | null => {
    const text = members[key];
    if (typeof text !== "string") return null;
    if (!isLsnText(text)) throw new PgBackRestError(object, `"${key}" of "${label}" is "${text}"`);
    return parseLsn(text);
  };
  return {
    label,
    type,
    archiveStart:
      typeof members["backup-archive-start"] === "string" ? members["backup-archive-start"] : null,
    startLsn: lsn("backup-lsn-start"),
    stopLsn: lsn("backup-lsn-stop"),
    startedMs: number("backup-timestamp-start", SECONDS_MOST) * 1000,
    stoppedMs: number("backup-timestamp-stop", SECONDS_MOST) * 1000,
    bytes: number("backup-info-size"),
    storedBytes: number("backup-info-repo-size"),
    databaseId: number("db-id"),
    hasErrors: members["backup-error"] === true,
  };
}

/** A number that counts something, or text that holds one. Throws PgBackRestError, with `what` and the value. */
export function wholeNumber(
  value: Json,
  what: string,
  object: string,
  most = Number.MAX_SAFE_INTEGER,
): number {
  const number = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0 && number <= most)
    return number;
  throw new PgBackRestError(object, `${what} is ${textOf(value).slice(0, 60)}, and no count`);
}

/** A member as text; empty when it is not there. */
export function textOf(value: Json | undefined): string {
  if (typeof value === "string") return value;
  return value === undefined ? "" : formatLossless(value);
}

export function membersOf(value: Json | undefined): Readonly<Record<string, Json>> {
  return value !== null && typeof value === "object" && !Array.isArray(value)
    ? (value as Readonly<Record<string, Json>>)
    : {};
}

/** The end of the year 9999, in seconds since 1970. */
const SECONDS_MOST = 253_402_300_799;
