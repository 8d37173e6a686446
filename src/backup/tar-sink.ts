// Takes a tar apart as it comes, without keeping a byte: what is pushed may be memory that is used again right after.
// The hot path of a restore; readers that want to iterate use tar-part.ts.
// https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html; GNU long names: type `L`, and sizes in base 256

import { TAR_BLOCK_BYTES, paddingOf } from "./tar-header.ts";

export interface TarMemberHead {
  /** Verbatim, long names resolved. */
  readonly name: string;
  readonly kind: "file" | "directory" | "symlink" | "other";
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly bytes: number;
  /** Whole seconds since 1970. */
  readonly mtimeSeconds: number;
}

/** Takes a member's data in order. `close` comes when all of it was written, or when the tar broke off. */
export interface MemberSink {
  write(piece: Uint8Array): void;
  close(): void;
}

/** What was read is no tar. */
export class TarError extends Error {
  override readonly name = "TarError";
}

/** Push pieces of any size, then end. Throws TarError on what is no tar, and whatever the members' sinks throw. */
export class TarSink {
  readonly #open: (head: TarMemberHead) => MemberSink | null;
  readonly #block = new Uint8Array(TAR_BLOCK_BYTES);
  #blockBytes = 0;
  #sawEnd = false;
  /** Data of the member at hand, then padding, that is still to come. */
  #dataBytes = 0;
  #paddingBytes = 0;
  #sink: MemberSink | null = null;
  #meta: Meta | null = null;
  #extended: Extended = {};

  /** `open` gets each member; null skips its data. */
  constructor(open: (head: TarMemberHead) => MemberSink | null) {
    this.#open = open;
  }

  push(piece: Uint8Array): void {
    for (let at = 0; at < piece.byteLength;) {
      if (this.#dataBytes > 0) at += this.#data(piece.subarray(at, at + this.#dataBytes));
      else if (this.#paddingBytes > 0) {
        const skipped = Math.min(this.#paddingBytes, piece.byteLength - at);
        this.#paddingBytes -= skipped;
        at += skipped;
      } else at += this.#header(piece.subarray(at, at + TAR_BLOCK_BYTES - this.#blockBytes));
    }
  }

  /** A tar that ends behind a member's data is whole, with trailer or without. */
  end(): void {
    if (this.#dataBytes > 0)
      throw new TarError(`it ends ${this.#dataBytes} bytes before the end of a member`);
    if (this.#blockBytes > 0) throw new TarError("it ends within a header");
    if (this.#meta !== null || Object.keys(this.#extended).length > 0)
      throw new TarError("it ends behind an extended header");
  }

  /** Closes what is open; after an error. */
  abandon(): void {
    this.#closeSink();
  }

  #data(piece: Uint8Array): number {
    this.#dataBytes -= piece.byteLength;
    if (this.#meta !== null) this.#meta.add(piece);
    else this.#sink?.write(piece);
    if (this.#dataBytes === 0) this.#finishMember();
    return piece.byteLength;
  }

  #finishMember(): void {
    this.#closeSink();
    if (this.#meta === null) return;
    this.#extended = { ...this.#extended, ...this.#meta.read() };
    this.#meta = null;
  }

  /** Once only, even if closing fails: its descriptor may be another file's by then. */
  #closeSink(): void {
    const sink = this.#sink;
    this.#sink = null;
    sink?.close();
  }

  #header(piece: Uint8Array): number {
    this.#block.set(piece, this.#blockBytes);
    this.#blockBytes += piece.byteLength;
    if (this.#blockBytes < TAR_BLOCK_BYTES) return piece.byteLength;
    this.#blockBytes = 0;
    if (this.#block.every((byte) => byte === 0)) this.#sawEnd = true;
    else if (this.#sawEnd) throw new TarError("there are bytes behind its end");
    else this.#begin();
    return piece.byteLength;
  }

  #begin(): void {
    checkSum(this.#block);
    const type = String.fromCharCode(this.#block[156]!);
    const size = this.#extended.bytes ?? numberAt(this.#block, 124, 12);
    if (!Number.isSafeInteger(size) || size < 0) throw new TarError(`a member has ${size} bytes`);
    if (META_TYPES.has(type)) {
      this.#meta = new Meta(type, numberAt(this.#block, 124, 12));
      this.#startData(this.#meta.bytes);
      return;
    }
    const head = this.#head(type, size);
    this.#extended = {};
    this.#sink = this.#open(head);
    this.#startData(head.kind === "directory" || head.kind === "symlink" ? 0 : size);
  }

  #startData(bytes: number): void {
    this.#dataBytes = bytes;
    this.#paddingBytes = paddingOf(bytes);
    if (bytes === 0) this.#finishMember();
  }

  #head(type: string, size: number): TarMemberHead {
    const name = this.#extended.name ?? nameOf(this.#block);
    const kind = type === "0" && name.endsWith("/") ? "directory" : (KINDS[type] ?? "other");
    return {
      name,
      kind,
      mode: numberAt(this.#block, 100, 8) & 0o7777,
      uid: numberAt(this.#block, 108, 8),
      gid: numberAt(this.#block, 116, 8),
      bytes: kind === "file" ? size : 0,
      mtimeSeconds: this.#extended.mtimeSeconds ?? numberAt(this.#block, 136, 12),
    };
  }
}

/** What extended headers say of the next member. */
interface Extended {
  readonly name?: string;
  readonly bytes?: number;
  readonly mtimeSeconds?: number;
}

/** The data of an extended header, collected. */
class Meta {
  readonly bytes: number;
  readonly #type: string;
  readonly #data: Uint8Array;
  #filled = 0;

  constructor(type: string, bytes: number) {
    if (!(bytes >= 0 && bytes <= META_BYTES_MOST))
      throw new TarError(`an extended header has ${bytes} bytes`);
    this.#type = type;
    this.bytes = bytes;
    this.#data = new Uint8Array(bytes);
  }

  add(piece: Uint8Array): void {
    this.#data.set(piece, this.#filled);
    this.#filled += piece.byteLength;
  }

  read(): Extended {
    if (this.#type === "L") return { name: textAt(this.#data, 0, this.#data.length) };
    return this.#type === "x" ? readPax(this.#data) : {}; // a global header and a link's long target change nothing
  }
}

/** Records of `<length> <key>=<value>\n`. */
function readPax(data: Uint8Array): Extended {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  let found: Extended = {};
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? "" : bytes.toString("latin1", at, Math.min(space, at + 12));
    const length = /^\d{1,10}$/.test(digits) ? Number(digits) : 0;
    if (length === 0 || length <= space - at + 1 || at + length > bytes.length)
      throw new TarError("a PAX record has no sound length");
    const record = bytes.toString("utf8", space + 1, at + length - 1);
    const [key, value] = [record.slice(0, record.indexOf("=")), record.slice(record.indexOf("=") + 1)];
    if (key === "path") found = { ...found, name: value };
    if (key === "size") found = { ...found, bytes: Number(value) };
    if (key === "mtime") found = { ...found, mtimeSeconds: Math.round(Number(value)) };
    at += length;
  }
  return found;
}

/** Unsigned as POSIX has it, or signed as some wrote it. */
function checkSum(block: Uint8Array): void {
  const magic = textAt(block, 257, 5);
  if (magic !== "ustar") throw new TarError("it holds no tar header where one must be");
  let unsigned = 8 * 0x20;
  let signed = unsigned;
  for (let at = 0; at < TAR_BLOCK_BYTES; at += 1) {
    if (at >= 148 && at < 156) continue;
    unsigned += block[at]!;
    signed += (block[at]! << 24) >> 24;
  }
  const stored = numberAt(block, 148, 8);
  if (stored !== unsigned && stored !== signed) throw new TarError("the checksum of a header does not match");
}

/** USTAR keeps the beginning of a long name in a field of its own; GNU has other things there. */
function nameOf(block: Uint8Array): string {
  const name = textAt(block, 0, 100);
  const prefix = block[262] === 0 ? textAt(block, 345, 155) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

/** Octal digits, or base 256 when the first bit is set. NaN for anything else. */
function numberAt(block: Uint8Array, at: number, length: number): number {
  const first = block[at]!;
  if ((first & 0x80) !== 0) {
    let value = first & 0x3f;
    for (let index = 1; index < length; index += 1) value = value * 256 + block[at + index]!;
    return (first & 0x40) === 0 ? value : Number.NaN;
  }
  const text = textAt(block, at, length).trim();
  return text === "" ? 0 : /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
}

function textAt(block: Uint8Array, at: number, length: number): string {
  const end = block.indexOf(0, at);
  const limit = end < 0 || end > at + length ? at + length : end;
  return Buffer.from(block.buffer, block.byteOffset, block.byteLength).toString("utf8", at, limit);
}

const KINDS: Partial<Record<string, TarMemberHead["kind"]>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  "2": "symlink",
  "5": "directory",
};
/** PAX for one member and for all, GNU long name and long link target. */
const META_TYPES: ReadonlySet<string> = new Set(["x", "g", "L", "K"]);
const META_BYTES_MOST = 1 << 20;
