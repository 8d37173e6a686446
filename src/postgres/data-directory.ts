// What a volume holds, and the marks that prove it. PGDATA existing proves nothing; the mark of completion does.

import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError, messageOf } from "../base/errors.ts";
import { removeDurably, writeDurably } from "../base/durable-file.ts";
import { type ControlFile, parseControlFile } from "./control-file.ts";

/** Where things stand on the volume. */
export interface VolumePaths {
  /** The volume, `/data`. */
  readonly volume: string;
  /** `/data/pgdata`. */
  readonly dataDirectory: string;
  /** `/data/holdfast`: marks, spool, secrets. */
  readonly marks: string;
}

/** The usual layout below a volume. */
export function volumePaths(volume: string, dataDirectory: string = join(volume, "pgdata")): VolumePaths {
  return { volume, dataDirectory, marks: join(volume, "holdfast") };
}

/** Work that fills or rewrites PGDATA; until it is finished the directory must not be started. */
type UnfinishedWork = "initdb" | "seed" | "clone" | "restore" | "rewind";

export interface UnfinishedMark {
  readonly work: UnfinishedWork;
  /** Milliseconds since 1970. */
  readonly beganMs: number;
  /** Free words for people and for the one who resumes, such as the backup's name. */
  readonly detail: string;
}

/** The proof that PGDATA is whole, and what it was last. */
export interface CompletionMark {
  readonly systemId: bigint;
  readonly role: "primary" | "standby";
  /** Drawn before a promotion (G4); null where timeline 1 was never promoted. */
  readonly promotionId: string | null;
  /** How it came to be: initdb, seed, restore, clone, adopted. */
  readonly origin: string;
  readonly writtenMs: number;
}

/** What a volume holds. */
export type VolumeState =
  /** Nothing but `lost+found`, or nothing but our own folder without marks. */
  | { readonly kind: "empty" }
  /** Work was cut short: clear it, then look again. */
  | { readonly kind: "unfinished"; readonly mark: UnfinishedMark }
  /** PGDATA holds something without a mark of completion. `control` when it could be read: a directory that another image or WAL-G filled. */
  | {
      readonly kind: "unmarked";
      readonly control: ControlFile | null;
      readonly major: number | null;
      readonly because: string;
    }
  | { readonly kind: "wrong-version"; readonly major: number }
  /** The mark and the control file do not belong together. */
  | { readonly kind: "foreign"; readonly because: string }
  | { readonly kind: "was-primary"; readonly mark: CompletionMark; readonly control: ControlFile }
  | { readonly kind: "was-standby"; readonly mark: CompletionMark; readonly control: ControlFile };

/** Looks at the volume, changes nothing. `major` is the version of the programs here. Throws when the volume cannot be read. */
export async function inspectVolume(paths: VolumePaths, major: number): Promise<VolumeState> {
  const unfinished = await readUnfinished(paths);
  if (unfinished !== null) return { kind: "unfinished", mark: unfinished };
  const complete = await readCompletion(paths);
  const names = await namesIn(paths.dataDirectory);
  if (names.length === 0) {
    // A mark without data: the data directory was moved away or deleted.
    return { kind: "empty" };
  }
  const found = await readMajor(paths.dataDirectory);
  const control = await readControlFile(paths.dataDirectory).catch((error: unknown) => messageOf(error));
  if (complete === null) {
    const because = typeof control === "string" ? control : "it has no mark of completion";
    return { kind: "unmarked", control: typeof control === "string" ? null : control, major: found, because };
  }
  if (found !== null && found !== major) return { kind: "wrong-version", major: found };
  if (typeof control === "string") return { kind: "foreign", because: control };
  if (control.systemId !== complete.systemId) {
    return {
      kind: "foreign",
      because: `the mark belongs to system ${complete.systemId}, the data to system ${control.systemId}`,
    };
  }
  return { kind: complete.role === "primary" ? "was-primary" : "was-standby", mark: complete, control };
}

/** Reads pg_control; read again when a running server was just writing it. */
export async function readControlFile(dataDirectory: string): Promise<ControlFile> {
  const path = join(dataDirectory, "global", "pg_control");
  try {
    return parseControlFile(await readFile(path));
  } catch {
    return parseControlFile(await readFile(path));
  }
}

/** PG_VERSION's number; null when there is none. */
async function readMajor(dataDirectory: string): Promise<number | null> {
  const text = await readFile(join(dataDirectory, "PG_VERSION"), "utf8").catch(absent);
  const major = Number.parseInt(text ?? "", 10);
  return Number.isInteger(major) ? major : null;
}

/** Before the first change to PGDATA. Takes the mark of completion away. */
export async function markUnfinished(paths: VolumePaths, mark: UnfinishedMark): Promise<void> {
  await mkdir(paths.marks, { recursive: true, mode: 0o755 });
  await writeDurably(join(paths.marks, UNFINISHED), `${JSON.stringify(mark)}\n`);
  await removeDurably(join(paths.marks, COMPLETE));
}

/** After the last change, when everything is on the disk: now the directory may be started. */
export async function markComplete(paths: VolumePaths, mark: CompletionMark): Promise<void> {
  await mkdir(paths.marks, { recursive: true, mode: 0o755 });
  await writeDurably(
    join(paths.marks, COMPLETE),
    `${JSON.stringify({ ...mark, systemId: mark.systemId.toString() })}\n`,
  );
  await removeDurably(join(paths.marks, UNFINISHED));
}

/** Writes the role or promotion id anew; the rest of the mark stays. Throws when there is no mark. */
export async function updateCompletion(
  paths: VolumePaths,
  change: Partial<Pick<CompletionMark, "role" | "promotionId" | "writtenMs">>,
): Promise<CompletionMark> {
  const mark = await readCompletion(paths);
  if (mark === null) throw new VolumeError(`"${paths.marks}" holds no mark of completion to change`);
  const changed = { ...mark, ...change };
  await markComplete(paths, changed);
  return changed;
}

/** Removes PGDATA and then the mark of unfinished work. Can itself be cut short and repeated. */
export async function clearUnfinished(paths: VolumePaths): Promise<void> {
  await removeDurably(join(paths.marks, COMPLETE)).catch(ignoreAbsent);
  await removeDurably(paths.dataDirectory);
  await removeDurably(join(paths.marks, UNFINISHED)).catch(ignoreAbsent);
}

export async function readUnfinished(paths: VolumePaths): Promise<UnfinishedMark | null> {
  const text = await readFile(join(paths.marks, UNFINISHED), "utf8").catch(absent);
  return text === null ? null : (JSON.parse(text) as UnfinishedMark);
}

export async function readCompletion(paths: VolumePaths): Promise<CompletionMark | null> {
  const text = await readFile(join(paths.marks, COMPLETE), "utf8").catch(absent);
  if (text === null) return null;
  const stored = JSON.parse(text) as Omit<CompletionMark, "systemId"> & { systemId: string };
  return { ...stored, systemId: BigInt(stored.systemId) };
}

export class VolumeError extends AppError {
  constructor(message: string, cause?: unknown) {
    super(message, { code: "VOLUME", hint: "look at the folder and its owner", cause });
  }
}

/** Names in a folder, without what a fresh file system brings; none when there is no such folder. */
async function namesIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (isAbsence(error)) return [];
    throw new VolumeError(`could not read "${folder}"`, error);
  });
  return names.filter((name) => name !== "lost+found");
}

function absent(error: unknown): null {
  if (isAbsence(error)) return null;
  throw error;
}

function ignoreAbsent(error: unknown): void {
  if (!isAbsence(error)) throw error;
}

const isAbsence = (error: unknown): boolean =>
  typeof error === "object" &&
  error !== null &&
  "code" in error &&
  (error.code === "ENOENT" || error.code === "ENOTDIR");

const UNFINISHED = "unfinished.json";
const COMPLETE = "complete.json";
