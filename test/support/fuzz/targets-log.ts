// The tail log, histories and WAL segments.

import { checkHistory, checkSegment, WalFileDamagedError } from "../../../src/archive/wal-file-check.ts";
import { CRC32C_START, crc32cFinish, crc32cUpdate } from "../../../src/base/crc32c.ts";
import { noCipher } from "../../../src/codec/encryption.ts";
import { commitMoment, endedTransaction, restorePointName } from "../../../src/recovery/scan-wal.ts";
import { StoreError } from "../../../src/storage/object-store.ts";
import { assembleSegment } from "../../../src/tail/assemble.ts";
import { formatIdentity, parseIdentity } from "../../../src/tail/cluster-identity.ts";
import {
  ForeignLogError,
  LogDamagedError,
  LogUnreadableError,
  PublishedMissingError,
  StaleViewError,
  WalGapError,
} from "../../../src/tail/errors.ts";
import { IDENTITY_KEY, slotKey } from "../../../src/tail/keys.ts";
import { readLog } from "../../../src/tail/read.ts";
import { formatHeader, parseHeader } from "../../../src/tail/slot-header.ts";
import { decodeObject, openBody } from "../../../src/tail/slot.ts";
import { commitTimeOf } from "../../../src/wal/record-end.ts";
import { RecordWalk } from "../../../src/wal/record.ts";
import { segmentAt } from "../../../src/wal/segment-name.ts";
import { formatHistory, HistoryFileError, parseHistory } from "../../../src/wal/timeline-history.ts";
import { pathOfHistory } from "../../../src/wal/timeline-path.ts";
import { MemoryStore } from "../memory-store.ts";
import { type Random, below } from "../random.ts";
import { WalBuilder } from "../wal-builder.ts";
import { fixtureObjects, plainObject } from "./corpus.ts";
import { type BuiltLog, buildLog } from "./built-log.ts";
import { mutateBytes, mutateJson, mutateText } from "./mutate.ts";
import { type FuzzTarget } from "./target.ts";

const KEY = slotKey(17);

const slot: FuzzTarget = {
  name: "slot",
  corpus: async () => [...(await buildLog()).objects.values()],
  mutate: mutateBytes,
  mend: mendLength,
  feed: async (input) => void (await openBody(KEY, decodeObject(KEY, input), noCipher)),
  declared: [LogDamagedError, LogUnreadableError],
};

/** The header's length ends where the JSON ends. */
function mendLength(bytes: Buffer): void {
  const end = bytes.indexOf("}", 12) + 1;
  if (end > 12) bytes.writeUInt32LE(end - 12, 8);
}

class RefusedHeader extends Error {}

const slotHeader: FuzzTarget = {
  name: "slot-header",
  corpus: async () => [...(await buildLog()).objects.values()].map((bytes) => headerOf(Buffer.from(bytes))),
  mutate: mutateJson,
  feed: (input) => {
    const header = parseHeader(input);
    if (typeof header === "string") throw new RefusedHeader(header);
    const again = parseHeader(Buffer.from(JSON.stringify(formatHeader(header))));
    if (typeof again === "string") throw new Error(`what was printed ${again}`);
  },
  declared: [RefusedHeader],
};

const headerOf = (object: Buffer): Uint8Array => object.subarray(12, 12 + object.readUInt32LE(8));

let built: BuiltLog | null = null;

/** One object of a whole log is replaced, by a damaged one or by another. */
const log: FuzzTarget = {
  name: "log",
  corpus: async () => {
    built = await buildLog();
    return [...built.objects.values()];
  },
  mutate: mutateBytes,
  mend: mendLength,
  feed: async (input, random) => {
    built ??= await buildLog();
    const store = new MemoryStore();
    const signal = new AbortController().signal;
    for (const [key, bytes] of built.objects) await store.put(key, bytes, signal);
    await store.put(IDENTITY_KEY, formatIdentity(built.identity), signal);
    await store.put(placeOf(input, built, random), input, signal);
    const view = await readLog(store, { cipher: noCipher, signal, patience: ONCE });
    if (view === null || view.tip === null) throw new LogDamagedError("no log is left");
    const { path, end } = view.tip;
    const segment = segmentAt(view.tip.timeline, end, view.identity.segmentBytes);
    const assembled = assembleSegment(view, segment, path, {
      store,
      cipher: noCipher,
      signal,
      published: async () => null,
    });
    // The sound log has a gap in this segment.
    await assembled.catch((error: unknown) => {
      if (!(error instanceof WalGapError)) throw error;
    });
  },
  declared: [
    ...[LogDamagedError, ForeignLogError, LogUnreadableError, PublishedMissingError],
    ...[StaleViewError, StoreError],
  ],
};

const ONCE = { firstMs: 0, mostMs: 0, tries: 1 };

/** Where it says that it belongs, if it says so. */
function placeOf(input: Buffer, { objects }: BuiltLog, random: Random): string {
  const keys = [...objects.keys()];
  const own = keys.find((key) => Buffer.from(objects.get(key)!).equals(input));
  if (own !== undefined) return own;
  const seq = /"seq":(\d{1,15}),/.exec(input.toString("latin1"))?.[1];
  const said = seq === undefined ? undefined : keys.find((key) => Number(key.slice(-20)) === Number(seq));
  return said ?? keys[below(random, keys.length)]!;
}

const identity: FuzzTarget = {
  name: "identity",
  corpus: async () => [formatIdentity({ systemId: 7_412_345_678_901_234_567n, segmentBytes: 1 << 24 })],
  mutate: mutateJson,
  feed: (input) => void parseIdentity(formatIdentity(parseIdentity(input))),
  declared: [LogDamagedError],
};

const history: FuzzTarget = {
  name: "history",
  corpus: async () => [
    ...(await Promise.all(
      fixtureObjects(/wal_005\/[0-9A-F]{8}\.history/)
        .filter(({ bucket }) => !/libsodium|openpgp/.test(bucket))
        .map(plainObject),
    )),
    Buffer.from(
      "1\t0/3000000\tno recovery target specified\n\n2\t0/5000028\tbefore 2026-08-21 18:02:35+00\n",
    ),
  ],
  mutate: mutateText,
  feed: (input, random) => {
    const timeline = [2, 3, 9, 0xffff_ffff][below(random, 4)]!;
    const read = parseHistory(timeline, input.toString("utf8"));
    parseHistory(timeline, formatHistory(read));
    pathOfHistory(read);
    checkHistory(input, "the history", timeline);
  },
  // A sound history of one timeline is none of another.
  declared: [HistoryFileError, WalFileDamagedError],
};

const SEGMENT_BYTES = 1 << 20;

/** Pages are 8 KiB, so the first four of a segment that is otherwise zeros do. */
const segment: FuzzTarget = {
  name: "segment",
  corpus: async () => {
    const builder = new WalBuilder({ segmentBytes: SEGMENT_BYTES });
    for (let index = 0; index < 20; index += 1) {
      builder.record({ bytes: 100 * index });
      builder.commit(1_790_000_000_000 + index);
    }
    builder.record({ manager: "Transaction", info: 0x80 | 0x30, body: preparedCommit() });
    builder.record({ manager: "XLOG", info: 0x70, body: restorePoint() });
    const real = fixtureObjects(/wal_005\/[0-9A-F]{24}$/, 3).filter(({ bucket }) => bucket === "pg17-none");
    return [builder.bytes(), ...real.map(({ bytes }) => bytes.subarray(0, 32 << 10))];
  },
  mutate: mutateBytes,
  mend: mendRecords,
  feed: (input, random) => {
    const start = input.length >= 16 ? input.readBigUInt64LE(8) : 0n;
    const at = start <= BigInt(Number.MAX_SAFE_INTEGER) ? start - (start % BigInt(SEGMENT_BYTES)) : 0n;
    const place = segmentAt(1, at as Parameters<typeof segmentAt>[1], SEGMENT_BYTES);
    const whole = Buffer.alloc(below(random, 8) === 0 ? input.length : SEGMENT_BYTES);
    input.copy(whole);
    const walk = new RecordWalk(at as Parameters<typeof segmentAt>[1], {
      segmentBytes: SEGMENT_BYTES,
      onRecord: (record) => {
        commitMoment(record);
        commitTimeOf(record);
        endedTransaction(record);
        restorePointName(record);
      },
    });
    for (let from = 0; from < input.length; from += 5000) walk.push(input.subarray(from, from + 5000));
    walk.recordEndWithZeros();
    checkSegment(whole, place, { segmentBytes: SEGMENT_BYTES, systemId: null, magic: null });
  },
  declared: [WalFileDamagedError],
};

/** xl_xact_commit with `xinfo`: sub-transactions follow, then the transaction that was prepared. */
function preparedCommit(): Uint8Array {
  const body = Buffer.alloc(2 + 12 + 4 + 8 + 4);
  body[0] = 255;
  body[1] = body.length - 2;
  body.writeUInt32LE(2, 10);
  body.writeInt32LE(2, 14);
  return body;
}

function restorePoint(): Uint8Array {
  const body = Buffer.alloc(2 + 8 + 64);
  body[0] = 255;
  body[1] = 72;
  body.write("before", 10);
  return body;
}

/** Gives whatever looks like a record a right checksum, as far as it lies within its page. */
function mendRecords(bytes: Buffer): void {
  for (let page = 0; page + 8192 <= bytes.length; page += 8192) {
    let at = page + ((bytes[page + 2]! & 2) === 0 ? 24 : 40);
    at += Math.ceil((bytes.readUInt32LE(page + 16) % 8192) / 8) * 8;
    while (at + 24 <= page + 8192) {
      const length = bytes.readUInt32LE(at);
      if (length < 24 || at + length > page + 8192) break;
      const body = crc32cUpdate(CRC32C_START, bytes, at + 24, at + length);
      bytes.writeUInt32LE(crc32cFinish(crc32cUpdate(body, bytes, at, at + 20)), at + 20);
      at += Math.ceil(length / 8) * 8;
    }
  }
}

export const logTargets: readonly FuzzTarget[] = [slot, slotHeader, log, identity, history, segment];
