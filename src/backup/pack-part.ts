// One tar part out of files of a data directory: read, check pages, tar, compress, encrypt, hash. Runs in a worker thread.

import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import type { Compression } from "../codec/compression.ts";
import type { Cipher, CipherKey } from "../codec/encryption.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { CorruptBlocks } from "./files-metadata.ts";
import {
  PAGE_BYTES,
  type IncrementPlan,
  PageScan,
  encodeIncrementHead,
  incrementBytes,
} from "./increment.ts";
import { BLOCK_BYTES, type PackResult, packBlocks } from "./pack-blocks.ts";
import { PageChecker } from "./page-check.ts";
import type { PlannedFile } from "./part-plan.ts";
import { ownerNames } from "./owner-names.ts";
import { encodeTarHeader, paddingOf, tarTrailer } from "./tar-header.ts";

/** What a worker needs to know; crosses threads, so plain data only. */
export interface PackJob {
  readonly root: string;
  readonly directories: readonly string[];
  readonly files: readonly PlannedFile[];
  readonly compression: Compression;
  /** Holds the key: never log a job. */
  readonly cipherKey: CipherKey;
  /** Pages with this LSN or a later one go into increments; null: everything whole. */
  readonly deltaLsn: Lsn | null;
  /** Start of the backup, when page checksums are to be verified. */
  readonly verifyFrom: Lsn | null;
  /** Blocks of one file of a relation. */
  readonly segmentBlocks: number;
  /** Reading from disk goes no faster than this. */
  readonly diskBytesPerSecond: number | null;
  /** All numbers of corrupt blocks instead of the first few. */
  readonly keepAllCorrupt: boolean;
}

/** One member that went into the part; files that vanished are not reported. */
export interface PackedMember {
  readonly name: string;
  readonly mtime: bigint;
  readonly isIncremented: boolean;
  /** Bytes of the member's data in the tar. */
  readonly bytes: number;
  readonly corrupt: CorruptBlocks | null;
  /** Latest LSN among pages whose checksum was wrong but that were written after the backup began; replay mends them. */
  readonly tornLsn: Lsn | null;
}

export interface PackNote {
  readonly members: readonly PackedMember[];
  /** Bytes read since the last note. */
  readonly readBytes: number;
}

/** Packs one part; `send` gets the bytes to store, `note` what went in. Throws on what cannot be read. */
export async function packPart(
  job: PackJob,
  cipher: Cipher,
  send: (bytes: Uint8Array) => Promise<void>,
  note: (note: PackNote) => void,
): Promise<PackResult> {
  let packer: PartPacker | null = null;
  const blocks = (memory: Uint8Array): AsyncIterable<Uint8Array> => {
    packer = new PartPacker(job, note, memory);
    return packer.paced();
  };
  const result = await packBlocks(job.compression, cipher, blocks, send);
  (packer as PartPacker | null)?.flushNotes();
  return result;
}

class PartPacker {
  readonly #job: PackJob;
  readonly #note: (note: PackNote) => void;
  readonly #block: Uint8Array;
  readonly #checker: PageChecker | null;
  #used = 0;
  #members: PackedMember[] = [];
  #readBytes = 0;

  /** `block` is the memory that every block is made in. */
  constructor(job: PackJob, note: (note: PackNote) => void, block: Uint8Array) {
    this.#block = block;
    this.#job = job;
    this.#note = note;
    this.#checker =
      job.verifyFrom === null ? null : new PageChecker(job.verifyFrom, job.segmentBlocks, job.keepAllCorrupt);
  }

  /** The tar in blocks of at most BLOCK_BYTES, all in the same memory; no faster than the disk may be read. */
  async *paced(): AsyncGenerator<Uint8Array> {
    const limit = this.#job.diskBytesPerSecond;
    const begun = performance.now();
    let bytes = 0;
    for (const block of this.#blocks()) {
      yield block;
      await nextTurn(); // lz4-napi's memory is freed between two turns of the event loop
      bytes += block.byteLength;
      if (this.#members.length >= MEMBERS_PER_NOTE || this.#readBytes >= BYTES_PER_NOTE) this.flushNotes();
      if (limit === null) continue;
      const aheadMs = (bytes / limit) * 1000 - (performance.now() - begun);
      if (aheadMs > 0) await delay(aheadMs);
    }
  }

  flushNotes(): void {
    if (this.#members.length === 0 && this.#readBytes === 0) return;
    this.#note({ members: this.#members, readBytes: this.#readBytes });
    this.#members = [];
    this.#readBytes = 0;
  }

  *#blocks(): Generator<Uint8Array> {
    for (const name of this.#job.directories) yield* this.#directory(name);
    for (const file of this.#job.files) yield* this.#file(file);
    yield* this.#append(tarTrailer());
    if (this.#used > 0) yield this.#flush();
  }

  *#directory(name: string): Generator<Uint8Array> {
    const path = this.#path(name);
    const seen = goneIsNull(() => lstatSync(path, { bigint: true }));
    if (seen === null) return;
    // A link to a directory is stored as the directory that it leads to; its own mode says nothing.
    const mode = seen.isDirectory() ? Number(seen.mode & 0o7777n) : 0o700;
    yield* this.#append(encodeTarHeader(memberOf(name, "directory", seen, 0, mode)));
    this.#members.push(packed(name, seen, 0));
  }

  *#file(file: PlannedFile): Generator<Uint8Array> {
    const path = this.#path(file.name);
    const fd = goneIsNull(() => openSync(path, constants.O_RDONLY));
    if (fd === null) return;
    try {
      const seen = fstatSync(fd, { bigint: true });
      if (!seen.isFile()) return;
      const increment = file.mayIncrement ? this.#planIncrement(fd, Number(seen.size)) : null;
      if (increment === null) yield* this.#whole(file.name, fd, seen);
      else yield* this.#increment(file.name, fd, seen, increment);
    } finally {
      closeSync(fd);
    }
  }

  *#whole(name: string, fd: number, seen: BigIntStats): Generator<Uint8Array> {
    const bytes = Number(seen.size);
    yield* this.#append(encodeTarHeader(memberOf(name, "file", seen, bytes, Number(seen.mode & 0o7777n))));
    const check = this.#checker?.begin(name, fd, bytes) ?? null;
    yield* this.#copy(fd, 0, bytes, check !== null);
    yield* this.#append(new Uint8Array(paddingOf(bytes)));
    this.#members.push({ ...packed(name, seen, bytes), ...this.#checker?.end() });
  }

  *#increment(name: string, fd: number, seen: BigIntStats, plan: IncrementPlan): Generator<Uint8Array> {
    const bytes = incrementBytes(plan.blocks.length);
    yield* this.#append(encodeTarHeader(memberOf(name, "file", seen, bytes, Number(seen.mode & 0o7777n))));
    yield* this.#append(encodeIncrementHead(plan));
    const check = this.#checker?.begin(name, fd, plan.fileBytes) ?? null;
    for (const { first, count } of runsOf(plan.blocks))
      yield* this.#copy(fd, first * PAGE_BYTES, count * PAGE_BYTES, check !== null);
    yield* this.#append(new Uint8Array(paddingOf(bytes)));
    this.#members.push({ ...packed(name, seen, bytes), ...this.#checker?.end(), isIncremented: true });
  }

  /** null: store the whole file. */
  #planIncrement(fd: number, fileBytes: number): IncrementPlan | null {
    const since = this.#job.deltaLsn;
    if (since === null || fileBytes === 0 || fileBytes % PAGE_BYTES !== 0) return null;
    const scan = new PageScan(since);
    const buffer = new Uint8Array(SCAN_BYTES);
    for (let at = 0; at < fileBytes;) {
      const read = readFully(fd, buffer, 0, Math.min(SCAN_BYTES, fileBytes - at), at);
      this.#readBytes += read;
      if (scan.push(buffer.subarray(0, read), at / PAGE_BYTES) === "not-paged") return null;
      if (read < SCAN_BYTES) break;
      at += read;
    }
    return incrementBytes(scan.blocks.length) < fileBytes ? { fileBytes, blocks: scan.blocks } : null;
  }

  /** Copies a range of the file; what the file no longer has is zeros. Whole pages stay together when they are checked. */
  *#copy(fd: number, from: number, bytes: number, isChecked: boolean): Generator<Uint8Array> {
    for (let done = 0; done < bytes;) {
      const left = bytes - done;
      const step = isChecked && left >= PAGE_BYTES ? PAGE_BYTES : 1;
      const room = BLOCK_BYTES - this.#used;
      const want = Math.min(left, room - (room % step));
      if (want === 0) {
        yield this.#flush();
        continue;
      }
      const read = readFully(fd, this.#block, this.#used, want, from + done);
      if (read < want) this.#block.fill(0, this.#used + read, this.#used + want);
      if (isChecked) this.#checker?.check(this.#block.subarray(this.#used, this.#used + want), from + done);
      this.#readBytes += read;
      this.#used += want;
      done += want;
      if (this.#used === BLOCK_BYTES) yield this.#flush();
    }
  }

  *#append(bytes: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < bytes.byteLength;) {
      const piece = bytes.subarray(at, at + BLOCK_BYTES - this.#used);
      this.#block.set(piece, this.#used);
      this.#used += piece.byteLength;
      at += piece.byteLength;
      if (this.#used === BLOCK_BYTES) yield this.#flush();
    }
  }

  #flush(): Uint8Array {
    const block = this.#block.subarray(0, this.#used);
    this.#used = 0;
    return block;
  }

  #path(name: string): string {
    return `${this.#job.root}${name}`;
  }
}

/** Reads until `bytes` are there or the file ends; returns how many there were. */
function readFully(fd: number, into: Uint8Array, at: number, bytes: number, position: number): number {
  let done = 0;
  while (done < bytes) {
    const read = readSync(fd, into, at + done, bytes - done, position + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}

/** Ascending numbers as runs of neighbours. */
function* runsOf(blocks: readonly number[]): Generator<{ readonly first: number; readonly count: number }> {
  for (let index = 0; index < blocks.length;) {
    const first = blocks[index]!;
    let count = 1;
    while (blocks[index + count] === first + count) count += 1;
    yield { first, count };
    index += count;
  }
}

function memberOf(
  name: string,
  kind: "file" | "directory",
  seen: BigIntStats,
  bytes: number,
  mode: number,
): Parameters<typeof encodeTarHeader>[0] {
  const [uid, gid] = [Number(seen.uid), Number(seen.gid)];
  const mtimeSeconds = Number((seen.mtimeNs + 500_000_000n) / 1_000_000_000n); // rounded, as WAL-G does
  return { name, kind, mode, uid, gid, ...ownerNames(uid, gid), bytes, mtimeSeconds };
}

const packed = (name: string, seen: BigIntStats, bytes: number): PackedMember => ({
  name,
  mtime: seen.mtimeNs,
  isIncremented: false,
  bytes,
  corrupt: null,
  tornLsn: null,
});

function goneIsNull<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

const SCAN_BYTES = 1 << 20;
const MEMBERS_PER_NOTE = 500;
const BYTES_PER_NOTE = 16 << 20;
