// The tablespaces of a backup as the sentinel's `Spec` states them. Storage format, section 3.2.

import type { Json } from "../base/lossless-json.ts";
import { BackupFormatError } from "./format-error.ts";
import { formatGoJson } from "./go-json.ts";

export interface Tablespace {
  /** Name of the link in pg_tblspc: the tablespace's OID. */
  readonly name: string;
  /** Absolute directory that the link leads to. */
  readonly location: string;
  /** `pg_tblspc/<name>`, relative to the data directory. */
  readonly link: string;
}

export interface TablespaceSpec {
  /** The data directory of the source. */
  readonly basePrefix: string;
  readonly tablespaces: readonly Tablespace[];
}

/** Reads a `Spec`; null when absent. Throws BackupFormatError when a listed tablespace has no entry. */
export function parseSpec(value: Json | undefined, object: string): TablespaceSpec | null {
  if (value === undefined || value === null) return null;
  const spec = membersOf(value, object, "Spec");
  const basePrefix = spec["base_prefix"];
  if (typeof basePrefix !== "string") throw new BackupFormatError(object, '"Spec" has no base_prefix');
  const names = spec["tablespaces"] ?? [];
  if (!Array.isArray(names)) throw new BackupFormatError(object, '"Spec" has no list of tablespaces');
  return { basePrefix, tablespaces: names.map((name: Json) => parseOne(spec, name, object)) };
}

/** Prints with keys in byte order, as Go prints a map. */
export function formatSpec(spec: TablespaceSpec): string {
  const members = new Map<string, string>([
    ["base_prefix", formatGoJson(spec.basePrefix)],
    ["tablespaces", formatGoJson(spec.tablespaces.map(({ name }) => name))],
  ]);
  for (const { name, location, link } of spec.tablespaces)
    members.set(name, formatGoJson({ loc: location, link }));
  const sorted = [...members].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([key, text]) => `${formatGoJson(key)}:${text}`).join(",")}}`;
}

function parseOne(spec: Readonly<Record<string, Json>>, name: Json, object: string): Tablespace {
  if (typeof name !== "string" || !/^[0-9]+$/.test(name))
    throw new BackupFormatError(object, `"Spec" lists a tablespace that is no OID: ${formatGoJson(name)}`);
  const entry = membersOf(spec[name] ?? null, object, `Spec.${name}`);
  const { loc, link } = entry;
  if (typeof loc !== "string" || !loc.startsWith("/"))
    throw new BackupFormatError(object, `tablespace ${name} has no absolute location`);
  if (link !== `pg_tblspc/${name}`)
    throw new BackupFormatError(object, `the link of tablespace ${name} is not pg_tblspc/${name}`);
  return { name, location: loc, link };
}

function membersOf(value: Json, object: string, what: string): Readonly<Record<string, Json>> {
  if (value === null || typeof value !== "object" || Array.isArray(value))
    throw new BackupFormatError(object, `"${what}" is not an object`);
  return value as Readonly<Record<string, Json>>;
}
