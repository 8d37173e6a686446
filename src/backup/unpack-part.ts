// Members of one tar part into files of the target directory. Runs in a worker thread.

import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  lchownSync,
  mkdirSync,
  openSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { ByteSource } from "../base/byte-source.ts";
import { AppError, messageOf, unreachable } from "../base/errors.ts";
import { type ReadMethod, decompress } from "../codec/compression.ts";
import type { Cipher, CipherKey } from "../codec/encryption.ts";
import { CipherError, CodecError } from "../codec/codec-error.ts";
import { BackupFormatError } from "./format-error.ts";
import {
  INCREMENT_HEADER_BYTES,
  IncrementError,
  PAGE_BYTES,
  parseIncrementBlocks,
  parseIncrementHeader,
} from "./increment.ts";
import { CONTROL_PATH, CONTROL_WAITS_AT, isUtilityPath, memberPath } from "./member-path.ts";
import { type TarEntry, TarError, readTar } from "./tar-part.ts";

/** What a worker needs to know; crosses threads, so plain data only. */
export interface UnpackJob {
  readonly root: string;
  /** Key of the part, for messages. */
  readonly object: string;
  readonly method: ReadMethod;
  /** Holds the key: never log a job. */
  readonly cipherKey: CipherKey;
  /** From the manifest; null when there is none. */
  readonly expected: { readonly bytes: number; readonly sha256: string } | null;
  /** What the backup's list says of the members to take; null: take everything. */
  readonly take: readonly WantedMember[] | null;
  /** Members that the part may hold besides; null: any. */
  readonly known: readonly string[] | null;
  /** Take backup_label, tablespace_map and the control file. */
  readonly takesUtilities: boolean;
  /** Owner of everything that is made; null: whoever runs this. */
  readonly owner: { readonly uid: number; readonly gid: number } | null;
}

export interface WantedMember {
  readonly name: string;
  readonly isIncremented: boolean;
  /** As the tar header must have it; null: not known. */
  readonly mtimeSeconds: number | null;
}

export interface UnpackNote {
  /** Names that arrived. */
  readonly arrived: readonly string[];
  readonly writtenBytes: number;
}

export interface UnpackResult {
  readonly warnings: readonly string[];
}

/** Unpacks the part whose stored bytes are `input`. Throws BackupFormatError and what the codec, the input and the disk throw. */
export async function unpackPart(
  job: UnpackJob,
  input: AsyncIterable<Uint8Array>,
  cipher: Cipher,
  note: (note: UnpackNote) => void,
): Promise<UnpackResult> {
  const unpacker = new PartUnpacker(job, note);
  const checked = checkedAgainst(job, input);
  try {
    for await (const entry of readTar(decompress(job.method, cipher.decrypt(checked), "here")))
      await unpacker.take(entry);
  } catch (error) {
    throw named(error, job.object);
  }
  unpacker.flushNotes();
  return { warnings: unpacker.warnings };
}

/** The error with the name of the part in it. */
function named(error: unknown, object: string): unknown {
  if (error instanceof TarError) return new BackupFormatError(object, `is no whole tar: ${error.message}`);
  if (error instanceof CodecError)
    return new BackupFormatError(object, `cannot be read: ${messageOf(error)}`);
  if (!(error instanceof CipherError)) return error;
  const { code, hint } = error;
  return new AppError(`"${object}": ${messageOf(error)}`, { code, hint });
}

/** The input, which must have the length and hash that the manifest states. */
async function* checkedAgainst(job: UnpackJob, input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { expected, object } = job;
  if (expected === null) {
    yield* input;
    return;
  }
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of input) {
    hash.update(piece);
    bytes += piece.byteLength;
    yield piece;
  }
  if (bytes !== expected.bytes)
    throw new BackupFormatError(object, `has ${bytes} bytes, and its manifest says ${expected.bytes}`);
  const actual = hash.digest("hex");
  if (actual !== expected.sha256)
    throw new BackupFormatError(
      object,
      `has the SHA-256 ${actual}, and its manifest says ${expected.sha256}`,
    );
}

class PartUnpacker {
  readonly warnings: string[] = [];
  readonly #job: UnpackJob;
  readonly #note: (note: UnpackNote) => void;
  readonly #wanted: ReadonlyMap<string, WantedMember> | null;
  readonly #known: ReadonlySet<string> | null;
  readonly #made = new Set<string>();
  #arrived: string[] = [];
  #writtenBytes = 0;

  constructor(job: UnpackJob, note: (note: UnpackNote) => void) {
    this.#job = job;
    this.#note = note;
    this.#wanted = job.take === null ? null : new Map(job.take.map((member) => [member.name, member]));
    this.#known = job.known === null ? null : new Set(job.known);
  }

  async take(entry: TarEntry): Promise<void> {
    const path = memberPath(entry.name, this.#job.object);
    const wanted = this.#wanted?.get(entry.name);
    if (isUtilityPath(path)) {
      if (this.#job.takesUtilities) await this.#write(entry, path === CONTROL_PATH ? CONTROL_WAITS_AT : path);
    } else if (wanted === undefined && this.#wanted !== null && !this.#isNewFolder(entry)) {
      if (entry.kind === "file" && this.#known?.has(entry.name) === false)
        throw this.#refuse(`holds "${entry.name}", which the backup does not list for it`);
      return;
    } else {
      this.#compareTime(entry, wanted);
      await this.#place(entry, path, wanted?.isIncremented === true);
    }
    this.#arrived.push(entry.name);
    if (this.#arrived.length >= NAMES_PER_NOTE || this.#writtenBytes >= BYTES_PER_NOTE) this.flushNotes();
  }

  flushNotes(): void {
    this.#note({ arrived: this.#arrived, writtenBytes: this.#writtenBytes });
    this.#arrived = [];
    this.#writtenBytes = 0;
  }

  /** Remote backups do not list their folders. */
  #isNewFolder({ name, kind }: TarEntry): boolean {
    return kind === "directory" && this.#job.takesUtilities && this.#known?.has(name) !== true;
  }

  /** A part of another backup has members of the same names, but hardly of the same times. */
  #compareTime({ name, kind, mtimeSeconds }: TarEntry, wanted: WantedMember | undefined): void {
    const listed = wanted?.mtimeSeconds ?? null;
    if (kind !== "file" || listed === null || Math.abs(listed - mtimeSeconds) <= 1) return;
    throw this.#refuse(
      `holds "${name}" as of ${secondsText(mtimeSeconds)}, and the backup lists it as of ${secondsText(listed)}`,
    );
  }

  async #place(entry: TarEntry, path: string, isIncremented: boolean): Promise<void> {
    switch (entry.kind) {
      case "directory":
        return this.#directory(path, entry.mode);
      case "file":
        return isIncremented ? this.#increment(entry, path) : this.#write(entry, path);
      case "symlink":
        // WAL-G stores such a link with its own name as target, so there is nothing that could be restored.
        this.warnings.push(`"${entry.name}" was a link, which the backup did not keep; make it anew`);
        return undefined;
      case "other":
        throw this.#refuse(`holds "${entry.name}", which is neither a file nor a directory`);
      default:
        return unreachable(entry.kind);
    }
  }

  #directory(path: string, mode: number): void {
    if (path === "") return; // the root's mode is set at the very end
    this.#makeFolders(path);
    const full = join(this.#job.root, path);
    chmodSync(full, (mode & 0o777) | 0o700);
  }

  async #write(entry: TarEntry, path: string): Promise<void> {
    this.#makeFolders(dirname(path));
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const fd = openSync(join(this.#job.root, path), flags, 0o600);
    try {
      let at = 0;
      for await (const piece of entry.body) {
        writeFully(fd, piece, at);
        at += piece.byteLength;
      }
      this.#writtenBytes += at;
      fchmodSync(fd, (entry.mode & 0o777) | 0o600);
      this.#own(fd);
    } finally {
      closeSync(fd);
    }
  }

  async #increment(entry: TarEntry, path: string): Promise<void> {
    const source = new ByteSource(entry.body);
    try {
      const head = await this.#exactly(source, entry, INCREMENT_HEADER_BYTES);
      const header = parseIncrementHeader(head, entry.bytes);
      const blocks = parseIncrementBlocks(await this.#exactly(source, entry, header.blockCount * 4), header);
      const fd = this.#openExisting(path, entry.name);
      try {
        ftruncateSync(fd, header.fileBytes);
        for (const block of blocks)
          writeFully(fd, await this.#exactly(source, entry, PAGE_BYTES), block * PAGE_BYTES);
      } finally {
        closeSync(fd);
      }
      this.#writtenBytes += entry.bytes;
    } catch (error) {
      if (!(error instanceof IncrementError)) throw error;
      throw this.#refuse(`the increment "${entry.name}" ${error.message}`);
    }
  }

  async #exactly(source: ByteSource, { name }: TarEntry, bytes: number): Promise<Uint8Array> {
    const piece = await source.take(bytes);
    if (piece === null) throw this.#refuse(`the increment "${name}" ends after ${source.consumed} bytes`);
    return piece;
  }

  #openExisting(path: string, name: string): number {
    try {
      return openSync(join(this.#job.root, path), constants.O_RDWR | constants.O_NOFOLLOW);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      throw this.#refuse(`has an increment for "${name}", which no base of the backup holds`);
    }
  }

  #makeFolders(path: string): void {
    if (path === "." || path === "" || this.#made.has(path)) return;
    this.#makeFolders(dirname(path));
    const full = join(this.#job.root, path);
    try {
      mkdirSync(full, 0o700);
      const { owner } = this.#job;
      if (owner !== null) lchownSync(full, owner.uid, owner.gid);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    this.#made.add(path);
  }

  #own(fd: number): void {
    const { owner } = this.#job;
    if (owner !== null) fchownSync(fd, owner.uid, owner.gid);
  }

  #refuse(problem: string): BackupFormatError {
    return new BackupFormatError(this.#job.object, problem);
  }
}

function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.byteLength;)
    done += writeSync(fd, bytes, done, bytes.byteLength - done, position + done);
}

function secondsText(seconds: number): string {
  try {
    return new Date(seconds * 1000).toISOString();
  } catch (error) {
    return `second ${seconds} (${messageOf(error)})`;
  }
}

const NAMES_PER_NOTE = 500;
const BYTES_PER_NOTE = 16 << 20;
