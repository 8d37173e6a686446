// The bytes that WAL-G's daemon and its clients exchange. Storage format, section 33.

import { unreachable } from "../../base/errors.ts";

/** What a client asks. */
export type DaemonRequest =
  | { readonly kind: "check" }
  | { readonly kind: "push"; readonly name: string }
  | { readonly kind: "fetch"; readonly name: string; readonly target: string };

/** One byte back: done, failed, not in the archive. */
export const REPLY = { ok: 0x4f, error: 0x45, absent: 0x4e } as const;

const TYPES = { check: 0x43, push: 0x46, fetch: 0x66 } as const;
const HEAD_BYTES = 3;

export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** The first whole message of `bytes` and its length, or null while bytes are missing. Throws ProtocolError. */
export function decodeRequest(
  bytes: Uint8Array,
): { readonly request: DaemonRequest; readonly length: number } | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength > 0 && !Object.values(TYPES).includes(view.getUint8(0) as 0x43)) {
    throw new ProtocolError(`unknown message type 0x${view.getUint8(0).toString(16)}`);
  }
  if (bytes.byteLength < HEAD_BYTES) return null;
  const length = view.getUint16(1);
  if (length < HEAD_BYTES) throw new ProtocolError(`a message of ${length} bytes is too short`);
  if (bytes.byteLength < length) return null;
  const body = bytes.subarray(HEAD_BYTES, length);
  switch (view.getUint8(0)) {
    case TYPES.check:
      return { request: { kind: "check" }, length };
    case TYPES.push:
      if (body.byteLength === 0) throw new ProtocolError("a push without a name");
      return { request: { kind: "push", name: textOf(body) }, length };
    default: {
      const [name, target, ...more] = decodeArguments(body);
      if (name === undefined || target === undefined || more.length > 0) {
        throw new ProtocolError("a fetch takes a name and a destination");
      }
      return { request: { kind: "fetch", name, target }, length };
    }
  }
}

function decodeArguments(body: Uint8Array): readonly string[] {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.byteLength < 1) throw new ProtocolError("a fetch without arguments");
  const found: string[] = [];
  let at = 1;
  for (let left = view.getUint8(0); left > 0; left -= 1) {
    if (at + 2 > body.byteLength) throw new ProtocolError("a fetch is cut");
    const end = at + 2 + view.getUint16(at);
    if (end > body.byteLength) throw new ProtocolError("a fetch is cut");
    found.push(textOf(body.subarray(at + 2, end)));
    at = end;
  }
  if (at !== body.byteLength) throw new ProtocolError("a fetch has bytes behind its arguments");
  return found;
}

/** The message for a request. Throws RangeError when it is longer than 65,535 bytes. */
export function encodeRequest(request: DaemonRequest): Uint8Array {
  switch (request.kind) {
    case "check":
      return framed(TYPES.check, new Uint8Array(0));
    case "push":
      return framed(TYPES.push, Buffer.from(request.name));
    case "fetch": {
      const parts = [request.name, request.target].map((text) => {
        const bytes = Buffer.from(text);
        const head = Buffer.alloc(2);
        head.writeUInt16BE(bytes.byteLength);
        return Buffer.concat([head, bytes]);
      });
      return framed(TYPES.fetch, Buffer.concat([Buffer.of(parts.length), ...parts]));
    }
    default:
      return unreachable(request);
  }
}

function framed(type: number, body: Uint8Array): Uint8Array {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt8(type);
  head.writeUInt16BE(HEAD_BYTES + body.byteLength, 1);
  return Buffer.concat([head, body]);
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");
