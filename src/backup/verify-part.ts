// Reads one part of a backup back, as a restore would, and says what is wrong with it; nothing is written.

import { createHash } from "node:crypto";
import { ByteSource } from "../base/byte-source.ts";
import { messageOf } from "../base/errors.ts";
import { CipherError, CodecError } from "../codec/codec-error.ts";
import type { Cipher } from "../codec/encryption.ts";
import { openStream } from "../codec/seal.ts";
import { pageLsn, verifyPages } from "../postgres/data-page.ts";
import { type ObjectStore, StoreError } from "../storage/object-store.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { FetchPart } from "./fetch-plan.ts";
import { BackupFormatError } from "./format-error.ts";
import type { FilesMetadata } from "./files-metadata.ts";
import {
  INCREMENT_HEADER_BYTES,
  IncrementError,
  PAGE_BYTES,
  parseIncrementBlocks,
  parseIncrementHeader,
} from "./increment.ts";
import { memberPath } from "./member-path.ts";
import { readTar, type TarEntry } from "./tar-part.ts";
import { TarError } from "./tar-sink.ts";

/** What is wrong, at which object. */
export interface Finding {
  /** Key of the object; of a member also its name. */
  readonly object: string;
  /** An `error` makes a restore wrong or impossible. */
  readonly severity: "error" | "warning";
  readonly fault: string;
}

/** What pages and members are compared with. */
export interface PartExpectation {
  readonly files: FilesMetadata;
  /** Names that the part is listed with; null: unknown. */
  readonly listed: ReadonlySet<string> | null;
  /** null: pages carry no checksums, or it is not known. */
  readonly pages: {
    /** A page written since then may be torn: the WAL has it whole. */
    readonly from: Lsn;
    readonly segmentBlocks: number;
  } | null;
}

export interface PartTools {
  readonly store: Pick<ObjectStore, "get">;
  readonly cipher: Cipher;
  readonly signal: AbortSignal;
  /** Called with stored bytes as they are read. */
  readonly onBytes: (bytes: number) => void;
}

export interface PartReport {
  /** Members that are there, with a slash in front. */
  readonly members: readonly string[];
  readonly pages: number;
  readonly findings: readonly Finding[];
  /** The control file's bytes, from its own part. */
  readonly controlFile: Uint8Array | null;
  /** The backup's label. */
  readonly label: string | null;
}

/**
 * Reads the whole part. Faults of the object are findings, also a key that does not fit: an object's damaged beginning looks
 * the same. A store that does not answer throws.
 */
export async function verifyPart(
  part: FetchPart,
  expected: PartExpectation,
  tools: PartTools,
): Promise<PartReport> {
  const reader = new PartVerifier(part, expected);
  const object = await tools.store.get(part.key, tools.signal);
  if (object === null) return reader.failed("is missing");
  const hash = createHash("sha256");
  let bytes = 0;
  async function* counted(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of body) {
      hash.update(piece);
      bytes += piece.byteLength;
      tools.onBytes(piece.byteLength);
      yield piece;
    }
  }
  try {
    for await (const entry of readTar(openStream(counted(object.body), part.method, tools.cipher))) {
      await reader.take(entry);
    }
  } catch (error) {
    tools.signal.throwIfAborted();
    if (error instanceof BackupFormatError) return reader.failed(error.fault);
    if (!isFaultOfObject(error)) throw error;
    return reader.failed(`cannot be read: ${messageOf(error)}`);
  }
  const { expected: stated } = part;
  if (stated !== null && (stated.bytes !== bytes || stated.sha256 !== hash.digest("hex"))) {
    return reader.failed("does not have the length and SHA-256 that its manifest states");
  }
  return reader.report();
}

const isFaultOfObject = (error: unknown): boolean =>
  error instanceof CodecError ||
  error instanceof CipherError ||
  error instanceof TarError ||
  (error instanceof StoreError && error.kind === "damaged");

class PartVerifier {
  readonly #part: FetchPart;
  readonly #expected: PartExpectation;
  readonly #members: string[] = [];
  readonly #findings: Finding[] = [];
  #pages = 0;
  #controlFile: Uint8Array | null = null;
  #label: string | null = null;

  constructor(part: FetchPart, expected: PartExpectation) {
    this.#part = part;
    this.#expected = expected;
  }

  failed(fault: string): PartReport {
    this.#findings.push({ object: this.#part.key, severity: "error", fault });
    return this.report();
  }

  report(): PartReport {
    return {
      members: this.#members,
      pages: this.#pages,
      findings: this.#findings,
      controlFile: this.#controlFile,
      label: this.#label,
    };
  }

  async take(entry: TarEntry): Promise<void> {
    const name = `/${memberPath(entry.name, this.#part.key)}`;
    this.#members.push(name);
    const { listed, files } = this.#expected;
    if (listed !== null && entry.kind === "file" && !listed.has(name) && this.#part.role === "files") {
      this.#fault(entry, "error", "is not listed in this part");
    }
    if (entry.kind !== "file") return;
    if (this.#part.role === "control") this.#controlFile = await whole(entry);
    else if (name === "/backup_label") this.#label = Buffer.from(await whole(entry)).toString("utf8");
    else if (files.files.get(entry.name)?.isIncremented === true) await this.#increment(entry, name);
    else await this.#file(entry, name);
  }

  async #file(entry: TarEntry, name: string): Promise<void> {
    const checks = this.#expected.pages !== null && entry.bytes % PAGE_BYTES === 0 && PAGED.test(name);
    let block = 0;
    const source = new ByteSource(entry.body);
    for (;;) {
      const pages = await source.peek(checks ? CHUNK_BYTES : 1);
      if (pages.byteLength === 0) return;
      const taken = checks ? await source.take(pages.byteLength) : await source.some(CHUNK_BYTES);
      if (taken === null || !checks) continue;
      this.#check(entry, name, taken, (index) => block + index);
      block += taken.byteLength / PAGE_BYTES;
    }
  }

  async #increment(entry: TarEntry, name: string): Promise<void> {
    const source = new ByteSource(entry.body);
    try {
      const head = await source.take(INCREMENT_HEADER_BYTES);
      const header = parseIncrementHeader(head ?? new Uint8Array(0), entry.bytes);
      const table = await source.take(header.blockCount * 4);
      const blocks = parseIncrementBlocks(table ?? new Uint8Array(0), header);
      for (let at = 0; at < blocks.length; at += CHUNK_PAGES) {
        const count = Math.min(CHUNK_PAGES, blocks.length - at);
        const pages = await source.take(count * PAGE_BYTES);
        if (pages === null) throw new IncrementError("ends within its pages");
        for (let index = 0; index < count; index += 1) {
          const page = pages.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
          this.#check(entry, name, page, () => blocks[at + index]!);
        }
      }
    } catch (error) {
      if (!(error instanceof IncrementError)) throw error;
      this.#fault(entry, "error", error.message);
    }
  }

  /** `blockOf`: block within the file of the n-th page of `pages`. */
  #check(entry: TarEntry, name: string, pages: Uint8Array, blockOf: (index: number) => number): void {
    const { pages: how, files } = this.#expected;
    const match = PAGED.exec(name);
    if (how === null || match === null) return;
    this.#pages += pages.byteLength / PAGE_BYTES;
    const first = Number(match[1] ?? 0) * how.segmentBlocks + blockOf(0);
    const bad = verifyPages(pages, first).filter((index) => pageLsn(pages, index * PAGE_BYTES) < how.from);
    if (bad.length === 0) return;
    const isKnown = files.corrupt.has(entry.name);
    this.#fault(
      entry,
      isKnown ? "warning" : "error",
      `page ${blockOf(bad[0]!)}${bad.length > 1 ? ` and ${bad.length - 1} more` : ""} has a wrong checksum${isKnown ? "; it had one when the backup was taken" : ""}`,
    );
  }

  #fault(entry: TarEntry, severity: Finding["severity"], fault: string): void {
    this.#findings.push({ object: `${this.#part.key} ${entry.name}`, severity, fault });
  }
}

async function whole({ body, bytes }: TarEntry): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let total = 0;
  for await (const piece of body) {
    total += piece.byteLength;
    if (total > SMALL_BYTES_MOST)
      throw new TarError(`a member of ${bytes} bytes is too large to be what it is called`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Files whose pages carry checksums, and the number of the file within its relation. */
const PAGED = /^\/(?:global|base\/\d+|pg_tblspc\/\d+\/[^/]+\/\d+)\/\d+(?:_(?:fsm|vm|init))?(?:\.(\d+))?$/;
const CHUNK_PAGES = 32;
const CHUNK_BYTES = CHUNK_PAGES * PAGE_BYTES;
const SMALL_BYTES_MOST = 1 << 20;
