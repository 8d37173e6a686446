// What describes a backup: sentinel, metadata, the list of files, our manifest, the control file, names.

import { parseBackupMetadata } from "../../../src/backup/backup-metadata.ts";
import { startOfLabel } from "../../../src/backup/backup-label.ts";
import { placeIn } from "../../../src/backup/backup-facts.ts";
import { walPartOf } from "../../../src/backup/backup-name.ts";
import { formatFilesMetadata, readFilesMetadata } from "../../../src/backup/files-metadata.ts";
import { BackupFormatError } from "../../../src/backup/format-error.ts";
import { formatManifest, parseManifest } from "../../../src/backup/manifest.ts";
import { formatSentinel, parseSentinel } from "../../../src/backup/sentinel.ts";
import { parseWalObject } from "../../../src/archive/wal-catalog.ts";
import { crc32c } from "../../../src/base/crc32c.ts";
import { ControlFileError, parseControlFile } from "../../../src/postgres/control-file.ts";
import { BASE_PREFIX, LOG_PREFIX, parseLogKey } from "../../../src/tail/keys.ts";
import { parseWalName, segmentName } from "../../../src/wal/segment-name.ts";
import { fixtureObjects, plainObject, smallTar } from "./corpus.ts";
import { mutateBytes, mutateJson, mutateText } from "./mutate.ts";
import { type FuzzTarget, drain, piecesOf } from "./target.ts";

const OBJECT = "the object";

const sentinel: FuzzTarget = {
  name: "sentinel",
  corpus: async () => fixtureObjects(/_backup_stop_sentinel\.json$/).map(({ bytes }) => bytes),
  mutate: mutateJson,
  feed: (input) => {
    const read = parseSentinel(input.toString("utf8"), OBJECT);
    // What was believed can be printed, and is believed again.
    parseSentinel(formatSentinel({ ...read, embeddedFiles: null }), OBJECT);
  },
  declared: [BackupFormatError],
};

const metadata: FuzzTarget = {
  name: "metadata",
  corpus: async () => fixtureObjects(/\/metadata\.json$/).map(({ bytes }) => bytes),
  mutate: mutateJson,
  feed: (input) => void parseBackupMetadata(input.toString("utf8"), OBJECT),
  declared: [BackupFormatError],
};

const filesMetadata: FuzzTarget = {
  name: "files-metadata",
  corpus: async () => [
    ...fixtureObjects(/\/files_metadata\.json$/, 1)
      .slice(0, 1)
      .map(({ bytes }) => bytes),
    ...fixtureObjects(/\/files_metadata\.json$/).map(({ bytes }) => shortened(bytes)),
    Buffer.from(
      '{"Files":{"/base/5/1":{"IsIncremented":true,"IsSkipped":false,"MTime":"2026-08-21T18:02:35.123456789Z",' +
        '"CorruptBlocks":{"CorruptBlocksCount":2,"SomeCorruptBlocks":[1,7]},"UpdatesCount":0}},' +
        '"TarFileSets":{"part_001.tar.lz4":["/base/5/1"]},"DatabasesByNames":{"a":{"oid":5,"tables":{"public.t":1}}}}',
    ),
  ],
  mutate: mutateJson,
  feed: async (input, random) => {
    const read = await readFilesMetadata(piecesOf(input, random), OBJECT);
    await drain(asStream(formatFilesMetadata(read)));
  },
  declared: [BackupFormatError],
};

/** The first few members of each section. */
function shortened(bytes: Uint8Array): Uint8Array {
  const whole = JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, object | null>;
  const cut = Object.entries(whole).map(([key, value]) => [
    key,
    Object.fromEntries(Object.entries(value ?? {}).slice(0, 6)),
  ]);
  return Buffer.from(JSON.stringify(Object.fromEntries(cut)));
}

const manifest: FuzzTarget = {
  name: "manifest",
  corpus: async () =>
    [null, { volume: "v", lookedAt: 1_790_000_000_000_000_000n, databases: new Map([["5", "731"]]) }].map(
      (source) =>
        Buffer.from(
          formatManifest({
            backup: "base_000000010000000000000008",
            parts: ["part_001.tar.lz4", "pg_control.tar.lz4"].map((name) => ({
              name,
              bytes: 4711,
              sha256: "ab".repeat(32),
            })),
            sentinelSha256: "cd".repeat(32),
            filesMetadataSha256: source === null ? null : "ef".repeat(32),
            source,
          }),
        ),
    ),
  mutate: mutateJson,
  feed: (input) => {
    const read = parseManifest(input.toString("utf8"), OBJECT);
    parseManifest(formatManifest(read), OBJECT);
  },
  declared: [BackupFormatError],
};

const controlFile: FuzzTarget = {
  name: "control-file",
  corpus: async () => {
    const parts = fixtureObjects(/^(?!.*libsodium|.*openpgp).*\/pg_control\.tar/, 1).filter(
      ({ bucket }) => !/libsodium|openpgp|broken/.test(bucket),
    );
    const tars = await Promise.all(parts.map(plainObject));
    return tars.map((tar) => smallTar(tar, 1 << 20).subarray(512, 512 + 8192));
  },
  mutate: mutateBytes,
  mend: (bytes) => {
    if (bytes.length < 296) return;
    const at = bytes.readUInt32LE(8) === 1800 ? 292 : 288;
    bytes.writeUInt32LE(crc32c(bytes.subarray(0, at)), at);
  },
  feed: (input) => void parseControlFile(input),
  declared: [ControlFileError],
};

const label: FuzzTarget = {
  name: "backup-label",
  corpus: async () =>
    ["START WAL LOCATION: 0/8000028 (file 000000010000000000000008)\nCHECKPOINT LOCATION: 0/8000060\n"].map(
      (text) => Buffer.from(text),
    ),
  mutate: mutateText,
  feed: (input) => void startOfLabel(input.toString("utf8")),
  declared: [],
};

/** Keys that a listing may give. */
const names: FuzzTarget = {
  name: "names",
  corpus: async () =>
    fixtureObjects(/./, 12)
      .map(({ key }) => key)
      .concat(
        "tail_v1/log/00000000000000000017",
        "tail_v1/base/00000000000000001000",
        "wal_005/00000002.history.zst",
      )
      .map((key) => Buffer.from(key)),
  mutate: mutateText,
  feed: (input) => {
    const key = input.toString("utf8");
    walPartOf(key);
    for (const prefix of [LOG_PREFIX, BASE_PREFIX]) parseLogKey(key, prefix);
    for (const segmentBytes of [1 << 20, 1 << 24, 1 << 30]) {
      placeIn(key, segmentBytes);
      const meaning = parseWalName(key.slice(key.lastIndexOf("/") + 1), segmentBytes);
      if (meaning?.kind === "segment") segmentName(meaning.segment, segmentBytes);
      parseWalObject({ key, bytes: 1, modifiedMs: 0, etag: "e" }, segmentBytes);
    }
  },
  declared: [],
};

async function* asStream(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

export const backupTargets: readonly FuzzTarget[] = [
  sentinel,
  metadata,
  filesMetadata,
  manifest,
  controlFile,
  label,
  names,
];
