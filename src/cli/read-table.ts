// Reads the rows of a settings table from an environment, gathering every problem and every notice. Pure but for the files it is handed.

import { messageOf } from "../base/errors.ts";
import { EMPTY_VALUE, mangledBy, readDifferently } from "./env-file-traces.ts";
import type { Setting } from "./setting-kinds.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The little that reading settings needs of the machine. */
export interface SettingsWorld {
  /** The text of a file; throws when it cannot be read. */
  readonly readFile: (path: string) => string;
  /** True when there is a folder of this name. */
  readonly isFolder: (path: string) => boolean;
  readonly hostname: string;
}

/** What is wrong, and what should be said; both as whole sentences that begin with the name. */
export interface Findings {
  readonly problems: string[];
  readonly notices: string[];
}

// oxlint-disable-next-line typescript/no-explicit-any -- a table holds settings of every type; their values are typed by ValuesOf
export type Table = Readonly<Record<string, Setting<any>>>;

/** The values of a table: the fallback's absence shows as null. */
export type ValuesOf<T extends Table> = {
  readonly [K in keyof T]: T[K] extends Setting<infer V> ? V | null : never;
};

/** Reads all rows. A row with a problem reads as its fallback, so that the others can be read too. */
export function readTable<T extends Table>(
  table: T,
  env: Environment,
  world: SettingsWorld,
  findings: Findings,
): ValuesOf<T> {
  const values: Record<string, unknown> = {};
  for (const [name, row] of Object.entries(table)) values[name] = readRow(name, row, env, world, findings);
  return values as ValuesOf<T>;
}

/** The names under which a row may be given, its files' names included. */
export function namesOf(name: string, row: Setting<unknown>): readonly string[] {
  const names = [name, ...row.aliases];
  return row.file ? names.flatMap((each) => [each, `${each}_FILE`]) : names;
}

interface Found {
  readonly name: string;
  readonly raw: string;
}

function readRow<T>(
  name: string,
  row: Setting<T>,
  env: Environment,
  world: SettingsWorld,
  findings: Findings,
): T | null {
  const found = findAll(name, row, env, world, findings);
  const [chosen] = found;
  if (chosen === undefined) return row.fallback;
  for (const other of found.slice(1)) {
    if (other.raw.trim() !== chosen.raw.trim()) disagree(chosen.name, other.name, row, findings);
  }
  const mangled = mangledBy(chosen.raw, row);
  if (mangled !== null) {
    findings.problems.push(`${chosen.name} ${mangled}`);
    return row.fallback;
  }
  if (row.secret && chosen.raw !== chosen.raw.trim()) {
    findings.problems.push(
      `${chosen.name} begins or ends with white space: \`docker run --env-file\` keeps it, other readers do not`,
    );
  }
  const different = row.secret ? readDifferently(chosen.raw) : null;
  if (different !== null) findings.notices.push(`${chosen.name} ${different}`);
  try {
    return row.parse(chosen.raw.trim());
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    findings.problems.push(`${chosen.name} ${error.message}`);
    return row.fallback;
  }
}

function findAll(
  name: string,
  row: Setting<unknown>,
  env: Environment,
  world: SettingsWorld,
  findings: Findings,
): Found[] {
  const found: Found[] = [];
  for (const each of [name, ...row.aliases]) {
    const direct = env[each];
    const path = row.file ? env[`${each}_FILE`] : undefined;
    if (direct !== undefined && direct.trim() === "") findings.notices.push(`${each} ${EMPTY_VALUE}`);
    const given = direct !== undefined && direct.trim() !== "";
    if (given && path !== undefined && path !== "") {
      findings.problems.push(`${each} and ${each}_FILE are both set; keep one`);
    } else if (given) {
      found.push({ name: each, raw: direct });
    } else if (path !== undefined && path !== "") {
      const raw = fromFile(`${each}_FILE`, path, world, findings);
      if (raw !== null) found.push({ name: `${each}_FILE`, raw });
    }
  }
  return found;
}

function fromFile(name: string, path: string, world: SettingsWorld, findings: Findings): string | null {
  try {
    const text = world.readFile(path).replace(/\r?\n$/, "");
    if (text !== "") return text;
    findings.problems.push(`${name} names "${path}", which is empty`);
  } catch (error) {
    findings.problems.push(`${name} names "${path}", which cannot be read: ${messageOf(error)}`);
  }
  return null;
}

function disagree(
  chosen: string,
  other: string,
  row: Setting<unknown>,
  { problems, notices }: Findings,
): void {
  if (row.secret) problems.push(`${chosen} and ${other} mean the same and differ; keep one`);
  else notices.push(`${chosen} and ${other} mean the same and differ; ${chosen} counts`);
}
