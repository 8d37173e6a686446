// Splits what a walsender sends into messages; WAL and base backups are handed on in pieces as they arrive, never gathered.
// https://www.postgresql.org/docs/current/protocol-message-formats.html and protocol-replication.html

import { type Lsn, lsnOf } from "../wal/lsn.ts";
import { ServerError } from "./server-error.ts";

/** One column is null or its text. */
export type ReplicationRow = readonly (string | null)[];

/** What the parser saw, in order. The bytes of `wal` and `archiveData` are slices of the buffer that was fed. */
export type ParsedMessage =
  | { readonly kind: "wal"; readonly lsn: Lsn; readonly bytes: Uint8Array }
  | { readonly kind: "messageEnd"; readonly end: Lsn; readonly serverEnd: Lsn }
  | { readonly kind: "keepalive"; readonly serverEnd: Lsn; readonly replyRequested: boolean }
  /** A base backup goes on with this archive; `path` is empty for the data directory, else the tablespace's. */
  | { readonly kind: "archive"; readonly name: string; readonly path: string }
  | { readonly kind: "archiveData"; readonly bytes: Uint8Array }
  /** The server's words about something that is no error. */
  | { readonly kind: "notice"; readonly severity: string; readonly text: string }
  | { readonly kind: "copyBoth" }
  | { readonly kind: "copyDone" }
  | { readonly kind: "row"; readonly row: ReplicationRow }
  | { readonly kind: "complete"; readonly tag: string }
  | { readonly kind: "error"; readonly error: ServerError }
  | { readonly kind: "ready" };

/** Feed it bytes as they come; yields whole messages, and WAL in pieces. The buffer fed must not be reused by the caller. */
export class ReplicationParser {
  #hold: Buffer = Buffer.alloc(0);
  #walLeft = 0;
  #archiveLeft = 0;
  #walAt: Lsn = lsnOf(0n);
  #serverEnd: Lsn = lsnOf(0n);

  *feed(fed: Uint8Array): Generator<ParsedMessage> {
    let data = asBuffer(fed);
    let at = 0;
    if (this.#walLeft > 0) {
      at = yield* this.#walPiece(data, 0);
      if (at === data.length) return;
    }
    if (this.#archiveLeft > 0) {
      at = yield* this.#archivePiece(data, 0);
      if (at === data.length) return;
    }
    if (this.#hold.length > 0) {
      data = Buffer.concat([this.#hold, data.subarray(at)]);
      at = 0;
      this.#hold = Buffer.alloc(0);
    }
    for (;;) {
      const next = yield* this.#message(data, at);
      if (next === null) break;
      at = next;
    }
    // Copied, so that a few bytes do not keep a whole read alive.
    if (at < data.length) this.#hold = Buffer.from(data.subarray(at));
  }

  /** Position behind the message at `at`, or null when more bytes are needed. */
  *#message(data: Buffer, at: number): Generator<ParsedMessage, number | null> {
    if (at + 5 > data.length) return null;
    const type = data[at]!;
    const end = at + 1 + data.readInt32BE(at + 1);
    if (type === COPY_DATA) {
      if (at + 6 > data.length) return null;
      if (data[at + 5] === XLOG_DATA) {
        // 'w', start (u64), the server's end (u64), its clock (i64), then WAL.
        if (at + 30 > data.length) return null;
        this.#walAt = lsnOf(data.readBigUInt64BE(at + 6));
        this.#serverEnd = lsnOf(data.readBigUInt64BE(at + 14));
        this.#walLeft = end - (at + 30);
        return yield* this.#walPiece(data, at + 30);
      }
      if (data[at + 5] === ARCHIVE_DATA) {
        this.#archiveLeft = end - (at + 6);
        return yield* this.#archivePiece(data, at + 6);
      }
    }
    if (end > data.length) return null;
    const message = parseMessage(type, data.subarray(at + 5, end));
    if (message !== null) yield message;
    return end;
  }

  *#walPiece(data: Buffer, at: number): Generator<ParsedMessage, number> {
    const length = Math.min(this.#walLeft, data.length - at);
    if (length > 0) {
      const lsn = this.#walAt;
      this.#walAt = lsnOf(lsn + BigInt(length));
      this.#walLeft -= length;
      yield { kind: "wal", lsn, bytes: data.subarray(at, at + length) };
    }
    if (this.#walLeft === 0) yield { kind: "messageEnd", end: this.#walAt, serverEnd: this.#serverEnd };
    return at + length;
  }

  *#archivePiece(data: Buffer, at: number): Generator<ParsedMessage, number> {
    const length = Math.min(this.#archiveLeft, data.length - at);
    this.#archiveLeft -= length;
    if (length > 0) yield { kind: "archiveData", bytes: data.subarray(at, at + length) };
    return at + length;
  }
}

function parseMessage(type: number, body: Buffer): ParsedMessage | null {
  switch (String.fromCharCode(type)) {
    case "d":
      if (body[0] === NEW_ARCHIVE) return parseArchive(body);
      // 'k', the server's end (u64), its clock (i64), reply requested (u8).
      if (body[0] !== KEEPALIVE) return null;
      return { kind: "keepalive", serverEnd: lsnOf(body.readBigUInt64BE(1)), replyRequested: body[17] === 1 };
    case "W":
      return { kind: "copyBoth" };
    case "c":
      return { kind: "copyDone" };
    case "D":
      return { kind: "row", row: parseRow(body) };
    case "C":
      return { kind: "complete", tag: body.toString("utf8", 0, body.length - 1) };
    case "E":
      return { kind: "error", error: parseError(body) };
    case "N":
      return parseNotice(body);
    case "Z":
      return { kind: "ready" };
    default:
      return null; // ParameterStatus, RowDescription, CopyOutResponse, progress of a base backup
  }
}

function parseRow(body: Buffer): ReplicationRow {
  const row: (string | null)[] = [];
  let at = 2;
  for (let column = body.readInt16BE(0); column > 0; column -= 1) {
    const length = body.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? null : body.toString("utf8", at, at + length));
    at += Math.max(0, length);
  }
  return row;
}

/** 'n', name of the archive, path of the tablespace; both end with a zero byte. */
function parseArchive(body: Buffer): ParsedMessage {
  const [name = "", path = ""] = body.toString("utf8", 1).split("\0");
  return { kind: "archive", name, path };
}

function parseNotice(body: Buffer): ParsedMessage {
  const fields = fieldsOf(body);
  return { kind: "notice", severity: fields.get("V") ?? "", text: fields.get("M") ?? "" };
}

function parseError(body: Buffer): ServerError {
  const fields = fieldsOf(body);
  const hint = fields.get("H");
  return new ServerError(`the server answered: ${fields.get("M") ?? "an error without a message"}`, {
    sqlState: fields.get("C") ?? null,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Fields of an error or a notice: a letter, a text, a zero byte each. */
function fieldsOf(body: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const field of body.toString("utf8").split("\0")) {
    if (field !== "") fields.set(field.slice(0, 1), field.slice(1));
  }
  return fields;
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const COPY_DATA = 0x64; // 'd'
const XLOG_DATA = 0x77; // 'w'
const KEEPALIVE = 0x6b; // 'k'
const NEW_ARCHIVE = 0x6e; // 'n'
const ARCHIVE_DATA = 0x64; // 'd', within CopyData
