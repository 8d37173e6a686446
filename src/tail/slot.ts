// Slots and bases as bytes (protocol section 1, L1): magic, header length, JSON header, body.

import { createHash } from "node:crypto";
import { CipherError } from "../codec/codec-error.ts";
import { type Cipher, noCipher } from "../codec/encryption.ts";
import { type Codec, open, seal } from "../codec/seal.ts";
import type { Lsn } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import type { TimelinePath } from "../wal/timeline-path.ts";
import { LogDamagedError, LogUnreadableError } from "./errors.ts";
import { formatHeader, parseHeader } from "./slot-header.ts";

/** W: the dead zone behind a fence, and the most slots in flight. A constant of format 1. */
export const WINDOW = 16;
export const SLOT_BYTES_MOST = 4 * 1024 * 1024;
export const HEADER_BYTES_MOST = 1024 * 1024;
/** `previous` of the first slot. */
export const NO_HASH = "0".repeat(64);
/** Promotion id of a timeline that no promotion of ours made. */
export const NO_PROMOTION = "0".repeat(32);

/** Compression of objects of the log; readers know no other. */
export type SlotCodec = "none" | "zstd" | "lz4";
export type FencePurpose = "start" | "promote" | "restore";

interface CommonHeader {
  readonly systemId: bigint;
  /** Its position; equals the name. */
  readonly seq: number;
  /** Position of the owner's fence. */
  readonly epoch: number;
  /** 32 lower-case hex digits, drawn at every start of a streamer. */
  readonly token: string;
  /** Header hash of the accepted slot before this one. */
  readonly previous: string;
  /** For people. */
  readonly node: string;
  /** Of the plain body. */
  readonly sha256: string;
  /** Of the plain body, in bytes. */
  readonly length: number;
  readonly codec: SlotCodec;
  readonly cipher: Cipher["name"];
}

export interface FenceHeader extends CommonHeader {
  readonly kind: "fence";
  readonly purpose: FencePurpose;
}

/** Bytes `[start, end)` of one timeline, within one segment. */
export interface DataHeader extends CommonHeader {
  readonly kind: "data";
  readonly timeline: TimelineId;
  readonly start: Lsn;
  readonly end: Lsn;
  /** Milliseconds since 1970 of the newest commit record that ends in this slot. */
  readonly newestCommit: number | null;
}

/** `[start, end)` will never come (L5). */
export interface GapHeader extends CommonHeader {
  readonly kind: "gap";
  readonly timeline: TimelineId;
  readonly start: Lsn;
  readonly end: Lsn;
}

/** A new timeline (L6); the body is the `.history` file. */
export interface HistoryHeader extends CommonHeader {
  readonly kind: "history";
  readonly timeline: TimelineId;
  readonly parent: TimelineId;
  readonly fork: Lsn;
  readonly promotion: string;
  readonly cut: boolean;
}

/** Everything below `seq` is covered; the body is `[published, end)`. */
export interface BaseHeader extends CommonHeader {
  readonly kind: "base";
  readonly timeline: TimelineId;
  readonly promotion: string;
  readonly line: TimelinePath;
  /** Where the log began (L8); below it only what an archive held before. */
  readonly begin: Lsn;
  readonly end: Lsn;
  readonly published: Lsn;
  readonly lastTimeline: TimelineId;
  /** Positions of the fences, newest 1,000. */
  readonly fences: readonly number[];
  /** Accepted timelines with the SHA-256 of their `.history`, newest 1,000: what R4 compares with once the slots are gone. */
  readonly histories: readonly (readonly [TimelineId, string])[];
}

export type SlotHeader = FenceHeader | DataHeader | GapHeader | HistoryHeader;
export type ObjectHeader = SlotHeader | BaseHeader;

/** An object as it is put: built once, every repeat sends these bytes (L1). */
export interface BuiltObject<H extends ObjectHeader = ObjectHeader> {
  readonly header: H;
  readonly headerBytes: Uint8Array;
  readonly headerHash: string;
  readonly bytes: Uint8Array;
}

/** An object as it was read. */
export interface ReadObject<H extends ObjectHeader = ObjectHeader> {
  readonly header: H;
  readonly headerBytes: Uint8Array;
  readonly headerHash: string;
  /** Compressed and encrypted as the header says. */
  readonly sealedBody: Uint8Array;
}

/** A header without what `describeBody` fills in; a distributive Omit. */
export type HeaderDraft<H extends ObjectHeader = ObjectHeader> = H extends ObjectHeader
  ? Omit<H, "sha256" | "length" | "codec" | "cipher">
  : never;

/** The whole header of a draft: body's hash and length, codec, cipher. A chain needs only this, not the sealed body. */
export function describeBody<H extends ObjectHeader>(
  draft: HeaderDraft<H>,
  body: Uint8Array,
  codec: Codec,
): { readonly header: H; readonly headerBytes: Uint8Array; readonly headerHash: string } {
  const { method } = codec.compression;
  const isStored = body.byteLength === 0 || method === "none";
  const header = {
    ...draft,
    sha256: sha256(body),
    length: body.byteLength,
    codec: isStored ? "none" : method === "lz4" ? "lz4" : "zstd",
    cipher: body.byteLength === 0 ? "none" : codec.cipher.name,
  } as unknown as H;
  const headerBytes = Buffer.from(JSON.stringify(formatHeader(header)), "utf8");
  return { header, headerBytes, headerHash: sha256(headerBytes) };
}

/** Seals the body and puts the object together. To be called once an object: encryption draws random numbers. */
export async function finishObject<H extends ObjectHeader>(
  described: { readonly header: H; readonly headerBytes: Uint8Array; readonly headerHash: string },
  body: Uint8Array,
  codec: Codec,
): Promise<BuiltObject<H>> {
  const { header, headerBytes } = described;
  const compression =
    header.codec === codec.compression.method ? codec.compression : { method: header.codec };
  const sealed = isStoredPlain(header) ? body : await seal(body, { compression, cipher: codec.cipher });
  const bytes = new Uint8Array(PREFIX_BYTES + headerBytes.byteLength + sealed.byteLength);
  bytes.set(MAGIC);
  new DataView(bytes.buffer).setUint32(MAGIC.byteLength, headerBytes.byteLength, true);
  bytes.set(headerBytes, PREFIX_BYTES);
  bytes.set(sealed, PREFIX_BYTES + headerBytes.byteLength);
  return { ...described, bytes };
}

/** `describeBody` and `finishObject` at once. */
export const buildObject = async <H extends ObjectHeader>(
  draft: HeaderDraft<H>,
  body: Uint8Array,
  codec: Codec,
): Promise<BuiltObject<H>> => finishObject(describeBody<H>(draft, body, codec), body, codec);

/** Takes an object apart. Throws LogDamagedError naming `key`; the body is not looked at. */
export function decodeObject(key: string, bytes: Uint8Array): ReadObject {
  if (bytes.byteLength < PREFIX_BYTES || !MAGIC.every((byte, i) => bytes[i] === byte)) {
    throw new LogDamagedError(`object "${key}" does not begin with HFTAIL01`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(MAGIC.byteLength, true);
  if (length > HEADER_BYTES_MOST || PREFIX_BYTES + length > bytes.byteLength) {
    throw new LogDamagedError(
      `object "${key}" has a header of ${length} bytes and ${bytes.byteLength} bytes in all`,
    );
  }
  const headerBytes = bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + length);
  const header = parseHeader(headerBytes);
  if (typeof header === "string") throw new LogDamagedError(`the header of object "${key}" ${header}`);
  return {
    header,
    headerBytes,
    headerHash: sha256(headerBytes),
    sealedBody: bytes.subarray(PREFIX_BYTES + length),
  };
}

/** The sealed body is the body itself: `openBody` then gives a view of it, and memory of its own otherwise. */
export const isStoredPlain = ({ codec, cipher }: Pick<ObjectHeader, "codec" | "cipher">): boolean =>
  codec === "none" && cipher === "none";

/** The plain body, checked against length and hash. Throws LogDamagedError, or LogUnreadableError when the key does not fit. */
export async function openBody(key: string, object: ReadObject, cipher: Cipher): Promise<Uint8Array> {
  const { header, sealedBody } = object;
  if (header.cipher !== "none" && header.cipher !== cipher.name) {
    throw new LogUnreadableError(
      `object "${key}" is encrypted by ${header.cipher}, the settings say ${cipher.name}`,
    );
  }
  let body = sealedBody;
  if (!isStoredPlain(header)) {
    try {
      body = await open(
        sealedBody,
        header.codec,
        header.cipher === "none" ? noCipher : cipher,
        header.length + 1,
      );
    } catch (error) {
      if (header.cipher !== "none" && error instanceof CipherError) {
        throw new LogUnreadableError(`object "${key}" cannot be decrypted`, error);
      }
      throw new LogDamagedError(`the body of object "${key}" cannot be unpacked`, error);
    }
  }
  if (body.byteLength !== header.length || sha256(body) !== header.sha256) {
    throw new LogDamagedError(`the body of object "${key}" is not what its header says`);
  }
  return body;
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const MAGIC = Buffer.from("HFTAIL01", "latin1");
const PREFIX_BYTES = MAGIC.byteLength + 4;
