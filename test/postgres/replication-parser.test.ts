// The parser sees the same messages however the bytes are cut.

import assert from "node:assert/strict";
import { test } from "node:test";
import { array, assert as check, nat, property } from "fast-check";
import { type ParsedMessage, ReplicationParser } from "../../src/postgres/replication-parser.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { encodeKeepalive, encodeWalData } from "../../src/wal/stream-message.ts";

const message = (type: string, body: Uint8Array): Buffer => {
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const wal = (start: string, data: Uint8Array): Buffer =>
  message(
    "d",
    encodeWalData({ kind: "wal", start: parseLsn(start), serverEnd: parseLsn("F/0"), sentMs: 0, data }),
  );
const keepalive = (end: string, replyAtOnce: boolean): Buffer =>
  message("d", encodeKeepalive({ kind: "keepalive", serverEnd: parseLsn(end), sentMs: 0, replyAtOnce }));
const row = (...columns: (string | null)[]): Buffer => {
  const parts: Buffer[] = [Buffer.from([0, columns.length])];
  for (const column of columns) {
    const length = Buffer.alloc(4);
    length.writeInt32BE(column === null ? -1 : Buffer.byteLength(column));
    parts.push(length, Buffer.from(column ?? ""));
  }
  return message("D", Buffer.concat(parts));
};
const complete = (tag: string): Buffer => message("C", Buffer.from(`${tag}\0`));
const refusal = (code: string, text: string): Buffer =>
  message("E", Buffer.from(`SERROR\0C${code}\0M${text}\0\0`));
const copyBoth = message("W", Buffer.from([0, 0, 0]));
const copyDone = message("c", Buffer.alloc(0));
const ready = message("Z", Buffer.from("I"));
const notice = message("N", Buffer.from("SHINWEIS\0VNOTICE\0Mhello\0\0"));
const copyOut = message("H", Buffer.from([0, 0, 0]));
const archive = (name: string, path: string): Buffer => message("d", Buffer.from(`n${name}\0${path}\0`));
const archiveData = (text: string): Buffer => message("d", Buffer.from(`d${text}`));
const progress = message("d", Buffer.from("p\0\0\0\0\0\0\0\u0007", "latin1"));

/** Feeds the bytes cut at these places; WAL pieces of one message are joined again. */
function parse(bytes: Buffer, cuts: readonly number[]): readonly string[] {
  const parser = new ReplicationParser();
  const seen: ParsedMessage[] = [];
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort(
    (a, b) => a - b,
  );
  for (let index = 0; index + 1 < places.length; index += 1) {
    // A copy: whoever feeds the parser hands the buffer over.
    seen.push(...parser.feed(Buffer.from(bytes.subarray(places[index], places[index + 1]))));
  }
  const told: string[] = [];
  let pending: { lsn: bigint; bytes: Buffer } | null = null;
  for (const one of seen) {
    if (one.kind === "archiveData") {
      const text = Buffer.from(one.bytes).toString();
      if (told.at(-1)?.startsWith("data ") === true) told.push(told.pop()! + text);
      else told.push(`data ${text}`);
      continue;
    }
    if (one.kind === "wal") {
      if (pending === null) pending = { lsn: one.lsn, bytes: Buffer.from(one.bytes) };
      else {
        assert.equal(one.lsn, pending.lsn + BigInt(pending.bytes.length), "pieces follow each other");
        pending.bytes = Buffer.concat([pending.bytes, one.bytes]);
      }
      continue;
    }
    if (one.kind === "messageEnd") {
      told.push(
        `wal ${pending?.lsn} ${pending?.bytes.toString("hex")} end ${one.end} server ${one.serverEnd}`,
      );
      pending = null;
    } else if (one.kind === "error") told.push(`error ${one.error.sqlState} ${one.error.message}`);
    else
      told.push(
        JSON.stringify(one, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value)),
      );
  }
  return told;
}

const CONVERSATION = Buffer.concat([
  notice,
  copyBoth,
  wal("0/1000000", Buffer.from("abcdef")),
  keepalive("0/1000006", true),
  wal("0/1000006", Buffer.alloc(0)),
  wal("0/1000006", Buffer.from([0, 1, 2, 3, 255])),
  keepalive("0/100000B", false),
  copyDone,
  row("2", "0/100000B", null),
  complete("START_STREAMING"),
  complete("START_REPLICATION"),
  ready,
  refusal("58P01", "requested WAL segment 000000010000000000000001 has already been removed"),
  ready,
]);

test("a conversation in one piece is read in its order", () => {
  assert.deepEqual(parse(CONVERSATION, []), [
    '{"kind":"notice","severity":"NOTICE","text":"hello"}',
    '{"kind":"copyBoth"}',
    "wal 16777216 616263646566 end 16777222 server 64424509440",
    '{"kind":"keepalive","serverEnd":"16777222","replyRequested":true}',
    "wal undefined undefined end 16777222 server 64424509440",
    "wal 16777222 00010203ff end 16777227 server 64424509440",
    '{"kind":"keepalive","serverEnd":"16777227","replyRequested":false}',
    '{"kind":"copyDone"}',
    '{"kind":"row","row":["2","0/100000B",null]}',
    '{"kind":"complete","tag":"START_STREAMING"}',
    '{"kind":"complete","tag":"START_REPLICATION"}',
    '{"kind":"ready"}',
    "error 58P01 the server answered: requested WAL segment 000000010000000000000001 has already been removed",
    '{"kind":"ready"}',
  ]);
});

test("the same is read wherever the bytes are cut", () => {
  const whole = parse(CONVERSATION, []);
  for (let cut = 0; cut <= CONVERSATION.length; cut += 1)
    assert.deepEqual(parse(CONVERSATION, [cut]), whole, `cut at ${cut}`);
  assert.deepEqual(
    parse(
      CONVERSATION,
      Array.from({ length: CONVERSATION.length }, (_, at) => at),
    ),
    whole,
    "byte by byte",
  );
  check(
    property(array(nat({ max: CONVERSATION.length }), { maxLength: 12 }), (cuts) => {
      assert.deepEqual(parse(CONVERSATION, cuts), whole);
    }),
    { numRuns: 300 },
  );
});

test("a base backup is read wherever the bytes are cut, and its data is not gathered", () => {
  const answer = Buffer.concat([
    row("0/2000028", "1"),
    row("16385", "/srv/fast", "12"),
    complete("SELECT"),
    copyOut,
    archive("16385.tar", "/srv/fast"),
    archiveData("abc"),
    archiveData("defg"),
    progress,
    archive("base.tar", ""),
    archiveData("hij"),
    archiveData(""),
    notice,
    copyDone,
    row("0/3000100", "1"),
    complete("BASE_BACKUP"),
    ready,
  ]);
  const told = [
    '{"kind":"row","row":["0/2000028","1"]}',
    '{"kind":"row","row":["16385","/srv/fast","12"]}',
    '{"kind":"complete","tag":"SELECT"}',
    '{"kind":"archive","name":"16385.tar","path":"/srv/fast"}',
    "data abcdefg",
    '{"kind":"archive","name":"base.tar","path":""}',
    "data hij",
    '{"kind":"notice","severity":"NOTICE","text":"hello"}',
    '{"kind":"copyDone"}',
    '{"kind":"row","row":["0/3000100","1"]}',
    '{"kind":"complete","tag":"BASE_BACKUP"}',
    '{"kind":"ready"}',
  ];
  for (let cut = 0; cut <= answer.length; cut += 1)
    assert.deepEqual(parse(answer, [cut]), told, `cut at ${cut}`);
  const half = archiveData("x".repeat(1000)).subarray(0, 500);
  const pieces = [...new ReplicationParser().feed(half)];
  assert.deepEqual(
    pieces.map((piece) => (piece.kind === "archiveData" ? piece.bytes.byteLength : piece.kind)),
    [494],
    "what is there of a message is handed on",
  );
});
