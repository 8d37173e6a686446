// files_metadata.json: every file of a backup, how it is stored, and which tar holds it. Storage format, section 5.

import { messageOf } from "../base/errors.ts";
import type { Json } from "../base/lossless-json.ts";
import { BackupFormatError } from "./format-error.ts";
import { type Nanoseconds, formatInstant, parseInstant } from "./go-json.ts";
import { splitJsonEntries } from "./json-entries.ts";

/** How one file stands in a backup. */
export interface FileEntry {
  /** The file's time when it was looked at; 0n when unknown. A delta skips a file whose time is equal. */
  readonly mtime: Nanoseconds;
  /** The tar member is an increment over the parent backup's file. */
  readonly isIncremented: boolean;
  /** Not stored here: unchanged since the parent backup. */
  readonly isSkipped: boolean;
}

/** Pages whose checksum was wrong when they were read. */
export interface CorruptBlocks {
  readonly count: number;
  /** The first few block numbers, relative to the file. */
  readonly some: readonly number[];
}

export interface DatabaseNames {
  readonly oid: number;
  /** `schema.table` to its numbers; kept as WAL-G wrote it. */
  readonly tables: Json;
}

/** Member name to entry, held compactly: a cluster may have millions of files. */
export class FileTable {
  readonly #rows = new Map<string, number>();
  #mtimes = new BigInt64Array(64);
  #flags = new Uint8Array(64);

  get size(): number {
    return this.#rows.size;
  }

  has(name: string): boolean {
    return this.#rows.has(name);
  }

  get(name: string): FileEntry | undefined {
    const row = this.#rows.get(name);
    return row === undefined ? undefined : this.#entry(row);
  }

  /** Adds or replaces. */
  set(name: string, entry: FileEntry): void {
    const row = this.#rows.get(name) ?? this.#rows.size;
    if (row === this.#mtimes.length) this.#grow();
    this.#rows.set(name, row);
    this.#mtimes[row] = entry.mtime;
    this.#flags[row] = (entry.isIncremented ? INCREMENTED : 0) | (entry.isSkipped ? SKIPPED : 0);
  }

  names(): IterableIterator<string> {
    return this.#rows.keys();
  }

  *[Symbol.iterator](): Generator<[string, FileEntry]> {
    for (const [name, row] of this.#rows) yield [name, this.#entry(row)];
  }

  #entry(row: number): FileEntry {
    const flags = this.#flags[row]!;
    return {
      mtime: this.#mtimes[row]!,
      isIncremented: (flags & INCREMENTED) !== 0,
      isSkipped: (flags & SKIPPED) !== 0,
    };
  }

  #grow(): void {
    const mtimes = new BigInt64Array(this.#mtimes.length * 2);
    mtimes.set(this.#mtimes);
    const flags = new Uint8Array(this.#flags.length * 2);
    flags.set(this.#flags);
    this.#mtimes = mtimes;
    this.#flags = flags;
  }
}

export interface FilesMetadata {
  readonly files: FileTable;
  /** Tar file name (with extension) to the members that were meant for it; empty in remote backups. */
  readonly tarFileSets: ReadonlyMap<string, readonly string[]>;
  readonly databases: ReadonlyMap<string, DatabaseNames>;
  readonly corrupt: ReadonlyMap<string, CorruptBlocks>;
}

/** What a missing or empty files_metadata.json means: restore everything in every tar. */
export const noFilesMetadata = (): FilesMetadata => ({
  files: new FileTable(),
  tarFileSets: new Map(),
  databases: new Map(),
  corrupt: new Map(),
});

/** Reads the object as it arrives. Unknown keys are ignored. Throws BackupFormatError. */
export async function readFilesMetadata(
  body: AsyncIterable<Uint8Array>,
  object: string,
): Promise<FilesMetadata> {
  const builder = new Builder(object);
  for await (const { section, key, text } of splitJsonEntries(body, object)) {
    if (key === null && text !== "null" && isSection(section))
      throw new BackupFormatError(object, `"${section}" is not an object`);
    if (key !== null && isSection(section)) builder.add(section, key, parseEntry(text, object, key));
  }
  return builder.result;
}

/** The same from parsed JSON with lower-case section names, as version 1 sentinels hold it. */
export function filesMetadataOfJson(sections: Readonly<Record<string, Json>>, object: string): FilesMetadata {
  const builder = new Builder(object);
  for (const [section, members] of Object.entries(sections)) {
    if (!isSection(section) || members === null || typeof members !== "object") continue;
    for (const [key, value] of Object.entries(members)) builder.add(section, key, value);
  }
  return builder.result;
}

/** Prints in pieces of some 64 KiB. Key order: Files, TarFileSets, DatabasesByNames, each left out when empty. */
export function* formatFilesMetadata(metadata: FilesMetadata): Generator<Uint8Array> {
  const sections = [
    { name: "Files", members: fileMembers(metadata) },
    { name: "TarFileSets", members: tarMembers(metadata) },
    { name: "DatabasesByNames", members: databaseMembers(metadata) },
  ];
  let text = "{";
  let isFirstSection = true;
  for (const { name, members } of sections) {
    let isFirst = true;
    for (const member of members) {
      if (isFirst) text += `${isFirstSection ? "" : ","}"${name}":{`;
      text += isFirst ? member : `,${member}`;
      isFirst = false;
      if (text.length < PIECE_CHARACTERS) continue;
      yield Buffer.from(text, "utf8");
      text = "";
    }
    if (isFirst) continue;
    text += "}";
    isFirstSection = false;
  }
  yield Buffer.from(`${text}}`, "utf8");
}

function* fileMembers({ files, corrupt }: FilesMetadata): Generator<string> {
  for (const [name, { mtime, isIncremented, isSkipped }] of files) {
    const bad = corrupt.get(name);
    const blocks =
      bad === undefined
        ? ""
        : `"CorruptBlocks":{"CorruptBlocksCount":${bad.count},"SomeCorruptBlocks":[${bad.some.join(",")}]},`;
    yield (
      `${JSON.stringify(name)}:{"IsIncremented":${isIncremented},"IsSkipped":${isSkipped},` +
      `"MTime":"${formatInstant(mtime)}",${blocks}"UpdatesCount":0}`
    );
  }
}

function* tarMembers({ tarFileSets }: FilesMetadata): Generator<string> {
  for (const [tar, members] of tarFileSets) yield `${JSON.stringify(tar)}:${JSON.stringify(members)}`;
}

function* databaseMembers({ databases }: FilesMetadata): Generator<string> {
  for (const [name, { oid, tables }] of databases)
    yield `${JSON.stringify(name)}:{"oid":${oid},"tables_new":${JSON.stringify(tables)}}`;
}

/** Takes entries of either form into the maps. */
class Builder {
  readonly #object: string;
  readonly #files = new FileTable();
  readonly #tarFileSets = new Map<string, readonly string[]>();
  readonly #databases = new Map<string, DatabaseNames>();
  readonly #corrupt = new Map<string, CorruptBlocks>();

  constructor(object: string) {
    this.#object = object;
  }

  get result(): FilesMetadata {
    return {
      files: this.#files,
      tarFileSets: this.#tarFileSets,
      databases: this.#databases,
      corrupt: this.#corrupt,
    };
  }

  add(section: string, key: string, value: Json): void {
    switch (section.toLowerCase()) {
      case "files":
        return this.#addFile(key, value);
      case "tarfilesets":
        return this.#addTar(key, value);
      default:
        return this.#addDatabase(key, value);
    }
  }

  #addFile(name: string, value: Json): void {
    const fields = lowerCaseFields(value);
    if (fields === null) return this.#refuse(`the entry of "${name}" is not an object`);
    const time = fields.get("mtime");
    const mtime = typeof time === "string" ? parseInstant(time) : 0n;
    if (mtime === null || mtime < MIN_MTIME || mtime > MAX_MTIME)
      return this.#refuse(`the time of "${name}" is not a time`);
    const [isIncremented, isSkipped] = [
      fields.get("isincremented") === true,
      fields.get("isskipped") === true,
    ];
    if (isIncremented && isSkipped) return this.#refuse(`"${name}" is both skipped and incremented`);
    this.#files.set(name, { mtime, isIncremented, isSkipped });
    const blocks = corruptOf(fields.get("corruptblocks") ?? null);
    if (blocks !== null) this.#corrupt.set(name, blocks);
  }

  #addTar(tar: string, value: Json): void {
    if (!Array.isArray(value) || !value.every((name: Json) => typeof name === "string"))
      return this.#refuse(`the members of "${tar}" are not a list of names`);
    this.#tarFileSets.set(tar, value);
  }

  #addDatabase(name: string, value: Json): void {
    const fields = lowerCaseFields(value);
    const oid = fields?.get("oid");
    if (typeof oid !== "number") return this.#refuse(`database "${name}" has no oid`);
    this.#databases.set(name, { oid, tables: fields?.get("tables_new") ?? fields?.get("tables") ?? {} });
  }

  #refuse(problem: string): never {
    throw new BackupFormatError(this.#object, problem);
  }
}

/** The documented array form and the form that is really written. */
function corruptOf(value: Json): CorruptBlocks | null {
  const numbers = (list: Json): number[] =>
    Array.isArray(list) ? list.filter((n: Json) => typeof n === "number") : [];
  if (Array.isArray(value)) return { count: value.length, some: numbers(value) };
  const fields = lowerCaseFields(value);
  const count = fields?.get("corruptblockscount");
  return typeof count === "number"
    ? { count, some: numbers(fields?.get("somecorruptblocks") ?? null) }
    : null;
}

function lowerCaseFields(value: Json): Map<string, Json> | null {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
  return new Map(Object.entries(value).map(([key, member]) => [key.toLowerCase(), member]));
}

function parseEntry(text: string, object: string, key: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new BackupFormatError(object, `the entry of "${key}" is not JSON`, { cause: messageOf(error) });
  }
}

const isSection = (section: string): boolean =>
  ["files", "tarfilesets", "databasesbynames"].includes(section.toLowerCase());

const INCREMENTED = 1;
const SKIPPED = 2;
const PIECE_CHARACTERS = 64 * 1024;
const MIN_MTIME = -(1n << 63n);
const MAX_MTIME = (1n << 63n) - 1n;
