// Walks a folder in the order of keys, and knows the names of unfinished files.

import type { BigIntStats, Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { compareKeys } from "../base/bytes.ts";
import { hasCode } from "./folder-error.ts";

const STATS_AT_ONCE = 32;

/** `<path>.tmp.<UTC>-<16 hex>`, as WAL-G names them; both programs ignore each other's. */
export function temporaryName(path: string, nowMs: number, hex: string): string {
  const utc = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  return `${path}.tmp.${utc}-${hex}`;
}

export const isTemporaryName = (name: string): boolean => /\.tmp\.\d{8}T\d{6}Z-[0-9a-f]{16}$/.test(name);

export interface FoundFile {
  readonly key: string;
  readonly stat: BigIntStats;
}

/**
 * Files below `root` whose key begins with `prefix` and is greater than `after`, in byte order of keys. A file that vanishes
 * meanwhile is left out. Throws ENOENT when the root is missing.
 */
export async function* walkFolder(
  root: string,
  range: KeyRange,
  signal: AbortSignal,
): AsyncGenerator<FoundFile> {
  yield* walk(root, "", range, signal);
}

export interface KeyRange {
  readonly prefix: string;
  /** Exclusive; empty for all. */
  readonly after: string;
  /** Names to report; unfinished files are left out without it. */
  readonly wanted?: (key: string) => boolean;
}

async function* walk(
  root: string,
  folderKey: string,
  range: KeyRange,
  signal: AbortSignal,
): AsyncGenerator<FoundFile> {
  signal.throwIfAborted();
  const entries = await entriesOf(join(root, folderKey), folderKey === "");
  const keys = entries
    .map((entry) => folderKey + entry)
    .filter((key) => (key.endsWith("/") ? mayHold(key, range) : holds(key, range)))
    .sort(compareKeys);
  for (let at = 0; at < keys.length;) {
    const key = keys[at]!;
    if (key.endsWith("/")) {
      yield* walk(root, key, range, signal);
      at += 1;
      continue;
    }
    signal.throwIfAborted();
    const batch = filesFrom(keys, at);
    at += batch.length;
    const found = await Promise.all(batch.map((file) => look(root, file)));
    for (const file of found) if (file !== null) yield file;
  }
}

function holds(key: string, { prefix, after, wanted = isFinished }: KeyRange): boolean {
  return key.startsWith(prefix) && (after === "" || compareKeys(key, after) > 0) && wanted(key);
}

/** Whether keys in the range can begin with `folderKey`. */
function mayHold(folderKey: string, { prefix, after }: KeyRange): boolean {
  if (!folderKey.startsWith(prefix) && !prefix.startsWith(folderKey)) return false;
  return after === "" || after.startsWith(folderKey) || compareKeys(folderKey, after) > 0;
}

const isFinished = (key: string): boolean => !isTemporaryName(key);

/** Names in a folder; those of folders end with a slash, because that is how their keys sort. */
async function entriesOf(path: string, isRoot: boolean): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    const names = await Promise.all(entries.map((entry) => nameOf(path, entry)));
    return names.filter((name) => name !== null && !(isRoot && name === "lost+found/")) as string[];
  } catch (error) {
    if (!isRoot && hasCode(error, "ENOENT")) return []; // removed since its parent was read
    throw error;
  }
}

async function nameOf(path: string, entry: Dirent): Promise<string | null> {
  if (entry.isDirectory()) return `${entry.name}/`;
  if (entry.isFile()) return entry.name;
  if (!entry.isSymbolicLink()) return null;
  const target = await stat(join(path, entry.name)).catch(() => null);
  if (target?.isDirectory() === true) return `${entry.name}/`;
  return target?.isFile() === true ? entry.name : null;
}

function filesFrom(keys: readonly string[], start: number): string[] {
  const batch: string[] = [];
  for (
    let at = start;
    at < keys.length && batch.length < STATS_AT_ONCE && !keys[at]!.endsWith("/");
    at += 1
  ) {
    batch.push(keys[at]!);
  }
  return batch;
}

async function look(root: string, key: string): Promise<FoundFile | null> {
  try {
    return { key, stat: await stat(join(root, key), { bigint: true }) };
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return null;
    throw error;
  }
}
