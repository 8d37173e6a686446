// Messages of the streaming replication protocol, inside CopyData.
// https://www.postgresql.org/docs/current/protocol-replication.html

import { type Lsn, lsnOf } from "./lsn.ts";

/** What the server sends. */
export type ServerMessage =
  | {
      readonly kind: "wal";
      /** Position of the first byte of `data`. */
      readonly start: Lsn;
      /** The server's end of WAL when it was sent. */
      readonly serverEnd: Lsn;
      readonly sentMs: number;
      readonly data: Uint8Array;
    }
  | {
      readonly kind: "keepalive";
      readonly serverEnd: Lsn;
      readonly sentMs: number;
      readonly replyAtOnce: boolean;
    };

/** What the client reports. Write, flush and apply are equal for the log (rule W3). */
export interface StandbyStatus {
  readonly written: Lsn;
  readonly flushed: Lsn;
  readonly applied: Lsn;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly replyAtOnce: boolean;
}

export class StreamMessageError extends Error {
  override readonly name = "StreamMessageError";
}

/** Decodes the payload of one CopyData. `data` is a view of `bytes`, not a copy. Throws StreamMessageError. */
export function decodeServerMessage(bytes: Uint8Array): ServerMessage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = bytes[0];
  if (kind === WAL_DATA && bytes.byteLength >= 25) {
    return {
      kind: "wal",
      start: lsnOf(view.getBigUint64(1)),
      serverEnd: lsnOf(view.getBigUint64(9)),
      sentMs: millisecondsOf(view.getBigInt64(17)),
      data: bytes.subarray(25),
    };
  }
  if (kind === KEEPALIVE && bytes.byteLength === 18) {
    return {
      kind: "keepalive",
      serverEnd: lsnOf(view.getBigUint64(1)),
      sentMs: millisecondsOf(view.getBigInt64(9)),
      replyAtOnce: bytes[17] === 1,
    };
  }
  throw new StreamMessageError(
    `not a replication message: type ${kind ?? "none"}, ${bytes.byteLength} bytes`,
  );
}

/** Encodes a "WAL data" message; what a server sends. */
export function encodeWalData(message: Extract<ServerMessage, { kind: "wal" }>): Uint8Array {
  const bytes = new Uint8Array(25 + message.data.byteLength);
  const view = new DataView(bytes.buffer);
  bytes[0] = WAL_DATA;
  view.setBigUint64(1, message.start);
  view.setBigUint64(9, message.serverEnd);
  view.setBigInt64(17, microsecondsOf(message.sentMs));
  bytes.set(message.data, 25);
  return bytes;
}

/** Encodes a "primary keepalive"; what a server sends. */
export function encodeKeepalive(message: Extract<ServerMessage, { kind: "keepalive" }>): Uint8Array {
  const bytes = new Uint8Array(18);
  const view = new DataView(bytes.buffer);
  bytes[0] = KEEPALIVE;
  view.setBigUint64(1, message.serverEnd);
  view.setBigInt64(9, microsecondsOf(message.sentMs));
  bytes[17] = message.replyAtOnce ? 1 : 0;
  return bytes;
}

/** Encodes a "standby status update". */
export function encodeStatus(status: StandbyStatus): Uint8Array {
  const bytes = new Uint8Array(34);
  const view = new DataView(bytes.buffer);
  bytes[0] = STATUS;
  view.setBigUint64(1, status.written);
  view.setBigUint64(9, status.flushed);
  view.setBigUint64(17, status.applied);
  view.setBigInt64(25, microsecondsOf(status.atMs));
  bytes[33] = status.replyAtOnce ? 1 : 0;
  return bytes;
}

/** Decodes a "standby status update"; null when it is another message. */
export function decodeStatus(bytes: Uint8Array): StandbyStatus | null {
  if (bytes[0] !== STATUS || bytes.byteLength !== 34) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    written: lsnOf(view.getBigUint64(1)),
    flushed: lsnOf(view.getBigUint64(9)),
    applied: lsnOf(view.getBigUint64(17)),
    atMs: millisecondsOf(view.getBigInt64(25)),
    replyAtOnce: bytes[33] === 1,
  };
}

/** Milliseconds since 1970 out of Postgres's microseconds since 2000. */
export const millisecondsOf = (microseconds: bigint): number =>
  Number(microseconds / 1000n) + POSTGRES_EPOCH_MS;

const microsecondsOf = (ms: number): bigint => BigInt(Math.round((ms - POSTGRES_EPOCH_MS) * 1000));

const POSTGRES_EPOCH_MS = Date.UTC(2000, 0, 1);
const WAL_DATA = 0x77; // 'w'
const KEEPALIVE = 0x6b; // 'k'
const STATUS = 0x72; // 'r'
