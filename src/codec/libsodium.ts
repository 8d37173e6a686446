// libsodium's secret stream in WAL-G's framing: a header of 24 bytes, then chunks of 8192 bytes, the last one shorter and marked FINAL.
// https://doc.libsodium.org/secret-key_cryptography/secretstream. The door to sodium-native.

import sodium from "sodium-native";
import { ByteSource } from "../base/byte-source.ts";
import { CipherError, CodecError } from "./codec-error.ts";
import { rechunk } from "./rechunk.ts";

const {
  crypto_secretstream_xchacha20poly1305_ABYTES: EXTRA_BYTES,
  crypto_secretstream_xchacha20poly1305_HEADERBYTES: HEADER_BYTES,
  crypto_secretstream_xchacha20poly1305_KEYBYTES: KEY_BYTES,
  crypto_secretstream_xchacha20poly1305_STATEBYTES: STATE_BYTES,
  crypto_secretstream_xchacha20poly1305_TAG_FINAL: FINAL,
  crypto_secretstream_xchacha20poly1305_TAG_MESSAGE: MESSAGE,
  crypto_secretstream_xchacha20poly1305_init_pull: initPull,
  crypto_secretstream_xchacha20poly1305_init_push: initPush,
  crypto_secretstream_xchacha20poly1305_pull: pull,
  crypto_secretstream_xchacha20poly1305_push: push,
} = sodium;

/** How the text of a key becomes 32 bytes (WALG_LIBSODIUM_KEY_TRANSFORM). */
export type KeyTransform = "none" | "hex" | "base64";

const CHUNK_BYTES = 8192;
const SEALED_BYTES = CHUNK_BYTES + EXTRA_BYTES;
/** Chunks that are worked on in one go; between goes the event loop gets its turn. */
const CHUNKS_AT_ONCE = 32;
/** WAL-G's own limit for keys taken as they are. */
const LEAST_KEY_BYTES = 25;

/** The key's 32 bytes. Throws CipherError that says what is wrong without telling the key. */
export function libsodiumKey(text: string, transform: KeyTransform): Uint8Array {
  switch (transform) {
    case "none": {
      const bytes = Buffer.from(text, "utf8");
      if (bytes.byteLength < LEAST_KEY_BYTES) {
        throw badKey(`it has ${bytes.byteLength} bytes, ${LEAST_KEY_BYTES} are needed at least`);
      }
      const key = Buffer.alloc(KEY_BYTES);
      bytes.copy(key, 0, 0, KEY_BYTES);
      return key;
    }
    case "hex":
      if (!/^[0-9a-fA-F]*$/.test(text)) throw badKey("it is not hexadecimal");
      return exactKey(Buffer.from(text, "hex"));
    case "base64":
      if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw badKey("it is not base64");
      return exactKey(Buffer.from(text, "base64"));
    default:
      throw badKey(`unknown transform "${String(transform)}"`);
  }
}

/** 24 + L + 17 · (⌊L / 8192⌋ + 1) bytes for L; a length that is a multiple of 8192 ends with an empty chunk. */
export async function* encryptLibsodium(
  key: Uint8Array,
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const state = Buffer.alloc(STATE_BYTES);
  const header = Buffer.alloc(HEADER_BYTES);
  initPush(state, header, key);
  yield header;
  let last: Uint8Array = new Uint8Array(0);
  for await (const piece of rechunk(input, CHUNK_BYTES * CHUNKS_AT_ONCE)) {
    const whole = piece.byteLength - (piece.byteLength % CHUNK_BYTES);
    const sealed = Buffer.allocUnsafeSlow((whole / CHUNK_BYTES) * SEALED_BYTES);
    for (let at = 0, to = 0; at < whole; at += CHUNK_BYTES, to += SEALED_BYTES) {
      push(
        state,
        sealed.subarray(to, to + SEALED_BYTES),
        piece.subarray(at, at + CHUNK_BYTES),
        null,
        MESSAGE,
      );
    }
    if (whole > 0) yield sealed;
    last = piece.subarray(whole);
  }
  const end = Buffer.alloc(last.byteLength + EXTRA_BYTES);
  push(state, end, last, null, FINAL);
  yield end;
}

/**
 * Insists on the FINAL mark, so that a cut at a chunk's end is noticed. The first chunk not being authentic means that the key
 * does not fit (CipherError; or that just this chunk is damaged); a later one that it is damaged (CodecError).
 */
export async function* decryptLibsodium(
  key: Uint8Array,
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const source = new ByteSource(input);
  try {
    const header = await source.take(HEADER_BYTES);
    if (header === null) throw new CodecError("libsodium: the stream is shorter than its header");
    const state = Buffer.alloc(STATE_BYTES);
    initPull(state, header, key);
    for (let isFirst = true; ; isFirst = false) {
      const sealed = await source.peek(SEALED_BYTES * CHUNKS_AT_ONCE);
      const opened = openChunks(state, sealed, isFirst);
      await source.take(sealed.byteLength);
      if (opened.bytes.byteLength > 0) yield opened.bytes;
      if (!opened.isFinal) continue;
      if (!(await source.atEnd())) throw new CodecError("libsodium: bytes follow the final chunk");
      return;
    }
  } finally {
    await source.close();
  }
}

/** Opens the chunks in `sealed`; without a final one they must fill it. */
function openChunks(
  state: Uint8Array,
  sealed: Uint8Array,
  isFirst: boolean,
): { readonly bytes: Uint8Array; readonly isFinal: boolean } {
  const bytes = Buffer.allocUnsafeSlow(Math.ceil(sealed.byteLength / SEALED_BYTES) * CHUNK_BYTES);
  const tag = new Uint8Array(1);
  let filled = 0;
  for (let at = 0; at < sealed.byteLength; at += SEALED_BYTES) {
    const chunk = sealed.subarray(at, at + SEALED_BYTES);
    const length = chunk.byteLength - EXTRA_BYTES;
    if (length < 0) throw new CodecError("libsodium: the stream ends within a chunk");
    try {
      pull(state, bytes.subarray(filled, filled + length), tag, chunk, null);
    } catch (error) {
      if (isFirst && at === 0)
        throw new CipherError("libsodium: the key does not fit this object", { cause: error });
      throw new CodecError("libsodium: a chunk is damaged or cut", error);
    }
    filled += length;
    const isFinal = tag[0] === FINAL;
    if (isFinal && length === CHUNK_BYTES) throw new CodecError("libsodium: a full chunk is marked final");
    if (!isFinal && length < CHUNK_BYTES)
      throw new CodecError("libsodium: a short chunk is not marked final");
    if (!isFinal) continue;
    if (at + SEALED_BYTES < sealed.byteLength)
      throw new CodecError("libsodium: bytes follow the final chunk");
    return { bytes: bytes.subarray(0, filled), isFinal };
  }
  if (sealed.byteLength === 0) throw new CodecError("libsodium: the stream ends without its final chunk");
  return { bytes: bytes.subarray(0, filled), isFinal: false };
}

function exactKey(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength !== KEY_BYTES)
    throw badKey(`it decodes to ${bytes.byteLength} bytes, ${KEY_BYTES} are needed`);
  return bytes;
}

function badKey(why: string): CipherError {
  return new CipherError(`the libsodium key is unusable: ${why}`, {
    hint: "check WALG_LIBSODIUM_KEY (or the file in WALG_LIBSODIUM_KEY_PATH) and WALG_LIBSODIUM_KEY_TRANSFORM",
  });
}
