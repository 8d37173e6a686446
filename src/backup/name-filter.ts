// Which files a partial restore takes: by pattern (`--mask`) or by database and table (`--restore-only`). Storage format, sections 16 and 17.

import { AppError } from "../base/errors.ts";
import type { Json } from "../base/lossless-json.ts";
import type { DatabaseNames } from "./files-metadata.ts";

export type NameFilter = (name: string) => boolean;

/** Go's filepath.Match of `/<mask>`: `*` and `?` stop at a slash, `[a-c]` and `[^a]` are classes, `\` quotes. Throws AppError for a malformed mask. */
export function maskFilter(mask: string): NameFilter {
  const pattern = globPattern(`/${mask}`);
  if (pattern === null)
    throw new AppError(`the mask "${mask}" is malformed`, {
      code: "BACKUP_BAD_MASK",
      hint: "close every [ with a ], and end no mask with a backslash",
    });
  return (name) => pattern.test(name.startsWith("/") ? name : `/${name}`);
}

function globPattern(glob: string): RegExp | null {
  let text = "";
  for (let at = 0; at < glob.length; at += 1) {
    const character = glob[at]!;
    if (character === "*") text += "[^/]*";
    else if (character === "?") text += "[^/]";
    else if (character === "\\") {
      at += 1;
      if (at >= glob.length) return null;
      text += literal(glob[at]!);
    } else if (character === "[") {
      const end = classEnd(glob, at + 1);
      if (end < 0) return null;
      text += classPattern(glob.slice(at + 1, end));
      at = end;
    } else text += literal(character);
  }
  try {
    return new RegExp(`^${text}$`, "su");
  } catch {
    return null;
  }
}

/** Index of the bracket that closes a class; a class holds at least one character. */
function classEnd(glob: string, from: number): number {
  const first = glob[from] === "^" ? from + 1 : from;
  for (let at = first; at < glob.length; at += 1) {
    if (glob[at] === "\\") at += 1;
    else if (glob[at] === "]" && at > first) return at;
  }
  return -1;
}

function classPattern(body: string): string {
  const isNegated = body.startsWith("^");
  const members = (isNegated ? body.slice(1) : body).replaceAll(/\\(.)/gsu, "$1");
  return `(?!/)[${isNegated ? "^" : ""}${members.replaceAll(/[\\\]^[]/g, "\\$&")}]`;
}

const literal = (character: string): string => character.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/**
 * Keeps everything outside the databases' folders, system databases and system tables, and of the other databases what
 * `only` names, with indexes and TOAST tables as far as the backup tells them: `db`, `db/table` (schema public), `db/schema.table`; `*` stands for any characters. Throws AppError when
 * an entry names nothing that the backup knows.
 */
export function databaseFilter(
  only: readonly string[],
  databases: ReadonlyMap<string, DatabaseNames>,
): NameFilter {
  const chosen = new Map<number, ReadonlySet<number> | "all">();
  for (const entry of only) choose(entry, databases, chosen);
  const system = new Map([...databases.values()].map(({ oid, tables }) => [oid, systemFiles(tables)]));
  return (name) => {
    const match = /^\/?(?:base|pg_tblspc\/\d+\/[^/]+)\/(\d+)\/([^/]+)$/.exec(name);
    if (match === null) return true;
    const [oid, file] = [Number(match[1]), match[2]!];
    if (oid < FIRST_USER_OID) return true;
    const number = /^(\d+)/.exec(file)?.[1];
    if (number === undefined || Number(number) < FIRST_USER_OID) return true;
    if (system.get(oid)?.has(Number(number)) === true) return true;
    const tables = chosen.get(oid);
    return tables === "all" || tables?.has(Number(number)) === true;
  };
}

function choose(
  entry: string,
  databases: ReadonlyMap<string, DatabaseNames>,
  chosen: Map<number, ReadonlySet<number> | "all">,
): void {
  const [database = "", table] = entry.split("/", 2);
  const matching = [...databases].filter(([name]) => wildcard(database).test(name));
  let found = matching.length > 0 && table === undefined;
  for (const [, { oid, tables }] of matching) {
    if (table === undefined) chosen.set(oid, "all");
    else {
      const files = filesOf(table.includes(".") ? table : `public.${table}`, tables);
      found ||= files.length > 0;
      const before = chosen.get(oid);
      if (before !== "all") chosen.set(oid, new Set([...(before ?? []), ...files]));
    }
  }
  if (!found)
    throw new AppError(
      `"${entry}" names nothing in the backup, which knows the databases ${[...databases.keys()].join(", ")}`,
      {
        code: "BACKUP_UNKNOWN_TABLE",
        hint: "write db, db/table or db/schema.table; a backup without names of its tables cannot be restored in part",
      },
    );
}

/** File numbers of the tables that match, with what the backup lists under them, and their TOAST tables, whose names tell. */
function filesOf(pattern: string, tables: Json): number[] {
  const wanted = wildcard(pattern);
  const all = new Map(membersOf(tables));
  const found = [...all].filter(([name]) => wanted.test(name)).map(([, table]) => table);
  const toast = found.flatMap((table) => {
    const name = `pg_toast.pg_toast_${Number(field(table, "oid"))}`;
    return [all.get(name) ?? null, all.get(`${name}_index`) ?? null];
  });
  return [...found, ...toast]
    .flatMap((table) => [table, ...membersOf(field(table, "subtables")).map(([, sub]) => sub)])
    .map((table) => field(table, "relfilenode"))
    .filter((node) => typeof node === "number");
}

/** Files of system tables: VACUUM FULL and the like give them numbers of the user's. */
function systemFiles(tables: Json): ReadonlySet<number> {
  const files = membersOf(tables)
    .filter(([, table]) => Number(field(table, "oid")) < FIRST_USER_OID)
    .map(([, table]) => Number(field(table, "relfilenode")));
  return new Set(files);
}

const membersOf = (value: Json): [string, Json][] =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? Object.entries(value) : [];
const field = (value: Json, key: string): Json => new Map(membersOf(value)).get(key) ?? null;

const wildcard = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .split("*")
      .map((text) => text.replaceAll(/[^\w]/g, "\\$&"))
      .join(".*")}$`,
    "s",
  );

/** FirstNormalObjectId of Postgres. */
const FIRST_USER_OID = 16_384;
