// Which files the server's warnings about page checksums are about, whatever language they are in.

import type { BaseTablespace } from "../postgres/base-backup.ts";

/** Tar names of the files that the warnings name, and how many name each. `isFile` knows the backup's files. */
export function filesNamedIn(
  warnings: readonly string[],
  tablespaces: readonly BaseTablespace[],
  isFile: (name: string) => boolean,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const warning of warnings) {
    const named = new Set(candidatesIn(warning, tablespaces).filter((name) => isFile(name)));
    for (const name of named) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** Paths within the text, as tar names: the server names files below its data directory, or by a tablespace's location. */
function candidatesIn(text: string, tablespaces: readonly BaseTablespace[]): string[] {
  const names = [...text.matchAll(/(?:\.\/)?((?:base|global|pg_tblspc)\/[\w./]*\w)/g)].map(
    (match) => `/${match[1]!}`,
  );
  for (const { oid, location } of tablespaces) {
    if (oid === null || location === null) continue;
    for (let at = text.indexOf(`${location}/`); at >= 0; at = text.indexOf(`${location}/`, at + 1)) {
      const rest = /^\/[\w./]*\w/.exec(text.slice(at + location.length))?.[0] ?? "";
      names.push(`/pg_tblspc/${oid}${rest}`);
    }
  }
  return names;
}
