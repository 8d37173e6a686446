// Members of one tar part into files of the target directory. Runs in a worker thread.

import { createHash } from "node:crypto";
import { chmodSync, lchownSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { AppError, messageOf, unreachable } from "../base/errors.ts";
import { CipherError, CodecError } from "../codec/codec-error.ts";
import { type ReadMethod, decompress } from "../codec/compression.ts";
import type { Cipher, CipherKey } from "../codec/encryption.ts";
import { BackupFormatError } from "./format-error.ts";
import { IncrementError } from "./increment.ts";
import { CONTROL_PATH, CONTROL_WAITS_AT, isUtilityPath, memberPath } from "./member-path.ts";
import { type MemberSink, TarError, type TarMemberHead, TarSink } from "./tar-sink.ts";
import { type FileOwner, FileSink, IncrementSink } from "./unpack-sinks.ts";

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
  readonly owner: FileOwner | null;
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
  const tar = new TarSink((head) => unpacker.open(head));
  try {
    for await (const piece of decompress(job.method, cipher.decrypt(checkedAgainst(job, input)), "here"))
      tar.push(piece);
    tar.end();
  } catch (error) {
    throw named(error, job.object);
  } finally {
    tar.abandon();
  }
  unpacker.flushNotes();
  return { warnings: unpacker.warnings };
}

/** The error with the name of the part in it. */
function named(error: unknown, object: string): unknown {
  if (error instanceof TarError) return new BackupFormatError(object, `is no whole tar: ${error.message}`);
  if (error instanceof CodecError)
    return new BackupFormatError(object, `cannot be read: ${messageOf(error)}`);
  if (isImpossibleName(error))
    return new BackupFormatError(object, `holds a member that no disk can hold: ${messageOf(error)}`);
  if (!(error instanceof CipherError)) return error;
  const { code, hint } = error;
  return new AppError(`"${object}": ${messageOf(error)}`, { code, hint });
}

/** Names and sizes that a file system refuses whatever its state: a part of a path that is a file, a folder where a file goes, too long a name. */
const isImpossibleName = (error: unknown): boolean =>
  ["ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP", "EFBIG"].includes(
    (error as NodeJS.ErrnoException | null)?.code ?? "",
  );

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

  /** Where the member's data goes; null when it is not wanted. */
  open(head: TarMemberHead): MemberSink | null {
    const path = memberPath(head.name, this.#job.object);
    const wanted = this.#wanted?.get(head.name);
    let sink: MemberSink | null = null;
    if (isUtilityPath(path)) {
      if (this.#job.takesUtilities) sink = this.#file(head, path === CONTROL_PATH ? CONTROL_WAITS_AT : path);
    } else if (wanted === undefined && this.#wanted !== null && !this.#isNewFolder(head)) {
      if (head.kind === "file" && this.#known?.has(head.name) === false)
        throw this.#refuse(`holds "${head.name}", which the backup does not list for it`);
      return null;
    } else {
      this.#compareTime(head, wanted);
      sink = this.#place(head, path, wanted?.isIncremented === true);
    }
    // Data of a member that ends within it makes the whole part fail, so its name may count as arrived already.
    this.#arrived.push(head.name);
    this.#writtenBytes += head.bytes;
    if (this.#arrived.length >= NAMES_PER_NOTE || this.#writtenBytes >= BYTES_PER_NOTE) this.flushNotes();
    return sink;
  }

  flushNotes(): void {
    this.#note({ arrived: this.#arrived, writtenBytes: this.#writtenBytes });
    this.#arrived = [];
    this.#writtenBytes = 0;
  }

  /** Remote backups do not list their folders. */
  #isNewFolder({ name, kind }: TarMemberHead): boolean {
    return kind === "directory" && this.#job.takesUtilities && this.#known?.has(name) !== true;
  }

  /** A part of another backup has members of the same names, but hardly of the same times. */
  #compareTime({ name, kind, mtimeSeconds }: TarMemberHead, wanted: WantedMember | undefined): void {
    const listed = wanted?.mtimeSeconds ?? null;
    if (kind !== "file" || listed === null || Math.abs(listed - mtimeSeconds) <= 1) return;
    throw this.#refuse(
      `holds "${name}" as of ${secondsText(mtimeSeconds)}, and the backup lists it as of ${secondsText(listed)}`,
    );
  }

  #place(head: TarMemberHead, path: string, isIncremented: boolean): MemberSink | null {
    switch (head.kind) {
      case "directory":
        this.#directory(path, head.mode);
        return null;
      case "file":
        return isIncremented ? this.#increment(head, path) : this.#file(head, path);
      case "symlink":
        // WAL-G stores such a link with its own name as target, so there is nothing that could be restored.
        this.warnings.push(`"${head.name}" was a link, which the backup did not keep; make it anew`);
        return null;
      case "other":
        throw this.#refuse(`holds "${head.name}", which is neither a file nor a directory`);
      default:
        return unreachable(head.kind);
    }
  }

  #directory(path: string, mode: number): void {
    if (path === "") return; // the root's mode is set at the very end
    this.#makeFolders(path);
    chmodSync(join(this.#job.root, path), (mode & 0o777) | 0o700);
  }

  #file(head: TarMemberHead, path: string): MemberSink {
    this.#makeFolders(dirname(path));
    return new FileSink(join(this.#job.root, path), head.mode, this.#job.owner);
  }

  #increment({ name, bytes }: TarMemberHead, path: string): MemberSink {
    const sink = this.#openIncrement(name, bytes, path);
    const refusing = (step: () => void): void => {
      try {
        step();
      } catch (error) {
        if (!(error instanceof IncrementError)) throw error;
        throw this.#refuse(`the increment "${name}" ${error.message}`);
      }
    };
    let isWhole = bytes === 0;
    let seenBytes = 0;
    return {
      write: (piece) => {
        refusing(() => sink.write(piece));
        seenBytes += piece.byteLength;
        isWhole = seenBytes === bytes;
      },
      close: () => {
        sink.close();
        if (isWhole) refusing(() => sink.finish());
      },
    };
  }

  #openIncrement(name: string, bytes: number, path: string): IncrementSink {
    try {
      return new IncrementSink(join(this.#job.root, path), bytes);
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

  #refuse(problem: string): BackupFormatError {
    return new BackupFormatError(this.#job.object, problem);
  }
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
