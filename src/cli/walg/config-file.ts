// WAL-G's configuration files: JSON, YAML, TOML or env, flat names with values, and one level of nesting for failover storages.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError, messageOf } from "../../base/errors.ts";

/** A file's settings by name; nested maps (failover storages) as JSON text. */
export type ConfigValues = Readonly<Record<string, string>>;

export interface ConfigFile {
  readonly path: string;
  readonly values: ConfigValues;
}

/** The endings that are looked for in the home directory, in this order. */
const ENDINGS = ["json", "toml", "yaml", "yml", "properties", "props", "prop", "env", "dotenv"] as const;

/** The file named by `path` or, without one, the first `~/.walg.*` that exists; null when there is none. Throws AppError for one that cannot be read. */
export async function readConfigFile(
  path: string | undefined,
  home: string | undefined,
): Promise<ConfigFile | null> {
  if (path !== undefined) return { path, values: await parseFile(path) };
  if (home === undefined) return null;
  for (const ending of ENDINGS) {
    const candidate = join(home, `.walg.${ending}`);
    const text = await readFile(candidate, "utf8").catch(() => null);
    if (text !== null) return { path: candidate, values: parseConfig(text, candidate) };
  }
  return null;
}

async function parseFile(path: string): Promise<ConfigValues> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new AppError(`could not read the configuration file "${path}": ${messageOf(error)}`, {
      code: "CONFIG_FILE",
      hint: "check the path given by --config or WALG_CONFIG_PATH",
      exitStatus: 2,
    });
  }
  return parseConfig(text, path);
}

/** Parses by the file's ending; without a known one, JSON when it begins with `{`, else YAML. Throws AppError. */
export function parseConfig(text: string, path: string): ConfigValues {
  const ending = /\.([a-z]+)$/.exec(path)?.[1] ?? "";
  try {
    if (ending === "json" || text.trimStart().startsWith("{")) return ofJson(text);
    if (ending === "toml") return ofLines(text, /^\s*([\w.-]+)\s*=\s*(.*)$/);
    if (["env", "dotenv", "properties", "props", "prop"].includes(ending)) {
      return ofLines(text, /^\s*(?:export\s+)?([\w.-]+)\s*[=:]\s*(.*)$/);
    }
    return ofYaml(text);
  } catch (error) {
    throw new AppError(`the configuration file "${path}" cannot be read: ${messageOf(error)}`, {
      code: "CONFIG_FILE",
      hint: "a file is JSON, YAML, TOML or env lines by its ending; values are plain texts or numbers",
      exitStatus: 2,
    });
  }
}

function ofJson(text: string): ConfigValues {
  const parsed: unknown = JSON.parse(text);
  if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed))
    throw new Error("not an object");
  return flat(parsed as Record<string, unknown>);
}

function flat(map: Readonly<Record<string, unknown>>): ConfigValues {
  return Object.fromEntries(
    Object.entries(map).flatMap(([key, value]) => {
      if (value === null || value === undefined) return [];
      return [[key.toUpperCase(), typeof value === "string" ? value : JSON.stringify(value)]];
    }),
  );
}

function ofLines(text: string, shape: RegExp): ConfigValues {
  const values: Record<string, string> = {};
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(?:#.*)?$/.test(line)) continue;
    const match = shape.exec(line);
    if (match === null) throw new Error(`line ${index + 1} is not "NAME=value"`);
    values[match[1]!.toUpperCase()] = scalar(match[2]!);
  }
  return values;
}

/** Indented maps and scalars: all that WAL-G's settings need of YAML. */
function ofYaml(text: string): ConfigValues {
  const root: Record<string, unknown> = {};
  const open: { readonly indent: number; readonly map: Record<string, unknown> }[] = [
    { indent: -1, map: root },
  ];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(?:#.*|---|\.\.\.)?\s*$/.test(line)) continue;
    const match = /^( *)("[^"]+"|'[^']+'|[\w.-]+)\s*:(?:\s+(.*))?$/.exec(line);
    if (match === null) throw new Error(`line ${index + 1} is not "NAME: value"`);
    const indent = match[1]!.length;
    while (open.at(-1)!.indent >= indent) open.pop();
    const key = match[2]!.replace(/^(["'])(.*)\1$/, "$2");
    const value = scalar(match[3] ?? "");
    if ((match[3] ?? "").replace(/\s*#.*$/, "") === "") {
      const map: Record<string, unknown> = {};
      open.at(-1)!.map[key] = map;
      open.push({ indent, map });
    } else open.at(-1)!.map[key] = value;
  }
  return flat(root);
}

/** A value without its quotes, or up to a comment. */
function scalar(text: string): string {
  const trimmed = text.trim();
  const double = /^"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$/.exec(trimmed);
  if (double !== null) return JSON.parse(`"${double[1]}"`) as string;
  const single = /^'((?:[^']|'')*)'\s*(?:#.*)?$/.exec(trimmed);
  if (single !== null) return single[1]!.replaceAll("''", "'");
  return trimmed.replace(/\s+#.*$/, "");
}
