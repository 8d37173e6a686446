// Checks that a backup has the structure that WAL-G writes and reads, field by field, from the specification alone.
// It shares nothing with the code that writes: its own tar reader, its own reading of JSON. Only codecs are borrowed.

import assert from "node:assert/strict";
import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { collect, streamOf } from "../../src/base/bytes.ts";
import { type ReadMethod, decompress } from "../../src/codec/compression.ts";
import type { Cipher } from "../../src/codec/encryption.ts";

export interface CheckedBackup {
  readonly name: string;
  readonly sentinel: Readonly<Record<string, unknown>>;
  /** null when the backup was made without. */
  readonly files: Readonly<Record<string, FileFields>> | null;
  readonly parts: readonly string[];
  /** Members of all parts but the two special ones, by name. */
  readonly members: ReadonlyMap<string, Member>;
}

interface FileFields {
  readonly IsIncremented: boolean;
  readonly IsSkipped: boolean;
  readonly MTime: string;
}

interface Member {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly mtime: number;
  readonly data: Buffer;
}

/** Reads and checks `basebackups_005/<name>` below `root`; `parent` is the checked backup that a delta was taken from. */
export async function checkBackup(
  root: string,
  name: string,
  expected: { readonly method: ReadMethod; readonly cipher: Cipher; readonly segmentBytes: number },
  parent: CheckedBackup | null,
): Promise<CheckedBackup> {
  const folder = join(root, "basebackups_005");
  const sentinelText = await readFile(join(folder, `${name}_backup_stop_sentinel.json`), "utf8");
  const sentinel = checkSentinel(sentinelText, name, expected.segmentBytes, parent);
  checkMetadata(await readFile(join(folder, name, "metadata.json"), "utf8"), sentinelText);
  await checkOrder(folder, name);
  const extension = EXTENSIONS[expected.method];
  const partNames = (await readdir(join(folder, name, "tar_partitions"))).sort();
  const members = new Map<string, Member>();
  const byPart = new Map<string, readonly Member[]>();
  let dataBytes = 0;
  let storedBytes = 0;
  for (const part of partNames) {
    assert.match(
      part,
      new RegExp(
        `^(part_\\d{3,}|pg_control|backup_label)\\.tar${extension === "" ? "" : `\\.${extension}`}$`,
      ),
    );
    const stored = await readFile(join(folder, name, "tar_partitions", part));
    storedBytes += stored.length;
    const packed = Buffer.from(await collect(expected.cipher.decrypt(streamOf(stored))));
    checkContainer(packed, expected.method, part);
    const tar = Buffer.from(await collect(decompress(expected.method, streamOf(packed))));
    const found = readTarStrictly(tar, part);
    byPart.set(part, found);
    for (const member of found) {
      dataBytes += member.data.length;
      if (!part.startsWith("part_")) continue;
      assert.ok(!members.has(member.name), `${member.name} is in two parts`);
      members.set(member.name, member);
    }
  }
  checkSpecialParts(byPart, extension);
  assert.equal(sentinel["UncompressedSize"], dataBytes, "UncompressedSize is the sum of the members' data");
  assert.equal(sentinel["CompressedSize"], storedBytes, "CompressedSize is the sum of the stored bytes");
  const files = await checkFiles(folder, name, sentinel, byPart, members, parent);
  checkContent(members, files);
  return { name, sentinel, files, parts: partNames, members };
}

function checkSentinel(
  text: string,
  name: string,
  segmentBytes: number,
  parent: CheckedBackup | null,
): Readonly<Record<string, unknown>> {
  assert.doesNotMatch(text, /\n/, "one line");
  const keys = [...text.matchAll(/"(\w+)":/g)]
    .map((match) => match[1]!)
    .filter((key) => SENTINEL_KEYS.includes(key));
  assert.deepEqual(
    keys,
    SENTINEL_KEYS.filter((key) => keys.includes(key)),
    "keys in WAL-G's order",
  );
  const sentinel = JSON.parse(text) as Record<string, unknown>;
  for (const key of Object.keys(sentinel)) assert.ok(SENTINEL_KEYS.includes(key), `unknown key ${key}`);
  for (const key of MUST_HAVE) assert.ok(key in sentinel, `${key} is missing`);
  for (const key of ["LSN", "FinishLSN", "SystemIdentifier", "PgVersion"])
    assert.match(text, new RegExp(`"${key}":\\d+[,}]`), `${key} is an integer`);
  assert.equal(sentinel["Version"], 2);
  assert.equal(sentinel["ChkpNum"], null);
  assert.equal(sentinel["DateFmt"], "%Y-%m-%dT%H:%M:%S.%fZ");
  for (const key of ["StartTime", "FinishTime"])
    assert.match(
      String(sentinel[key]),
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z$/,
      `${key} in microseconds`,
    );
  const lsn = BigInt(sentinel["LSN"] as number);
  assert.ok(BigInt(sentinel["FinishLSN"] as number) > lsn, "it ends behind its start");
  const match = /^base_([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(?:_D_([0-9A-F]{24}))?$/.exec(name);
  assert.ok(match !== null, `the name ${name} is one of WAL-G's`);
  const number = BigInt(`0x${match[2]}`) * (0x1_0000_0000n / BigInt(segmentBytes)) + BigInt(`0x${match[3]}`);
  assert.ok(
    [lsn / BigInt(segmentBytes), (lsn - 1n) / BigInt(segmentBytes)].includes(number),
    "the name is that of its first segment",
  );
  checkDelta(sentinel, match[4] ?? null, parent);
  return sentinel;
}

function checkDelta(
  sentinel: Readonly<Record<string, unknown>>,
  suffix: string | null,
  parent: CheckedBackup | null,
): void {
  const keys = ["DeltaLSN", "DeltaFrom", "DeltaFullName", "DeltaCount"];
  if (parent === null) {
    for (const key of keys) assert.ok(!(key in sentinel), `a full backup has no ${key}`);
    assert.equal(suffix, null);
    return;
  }
  assert.equal(sentinel["DeltaFrom"], parent.name);
  assert.equal(sentinel["DeltaLSN"], parent.sentinel["LSN"]);
  assert.equal(sentinel["DeltaFullName"], parent.sentinel["DeltaFullName"] ?? parent.name);
  assert.equal(sentinel["DeltaCount"], Number(parent.sentinel["DeltaCount"] ?? 0) + 1);
  assert.equal(suffix, /[0-9A-F]{24}/.exec(parent.name)?.[0]);
}

function checkMetadata(text: string, sentinelText: string): void {
  const metadata = JSON.parse(text) as Record<string, unknown>;
  const sentinel = JSON.parse(sentinelText) as Record<string, unknown>;
  const keys = Object.keys(metadata);
  assert.deepEqual(
    keys,
    METADATA_KEYS.filter(([key]) => key !== "user_data" || keys.includes(key)).map(([key]) => key),
  );
  for (const [key, from] of METADATA_KEYS)
    assert.deepEqual(metadata[key], sentinel[from], `${key} as in the sentinel`);
  assert.match(text, /"system_identifier":\d{15,20},/, "a uint64 in full");
  const exact = (source: string, key: string): string | undefined =>
    new RegExp(`"${key}":(\\d+)`).exec(source)?.[1];
  assert.equal(exact(text, "system_identifier"), exact(sentinelText, "SystemIdentifier"), "digit by digit");
}

/** Parts, label, metadata, list of files, sentinel: by the times of the files. */
async function checkOrder(folder: string, name: string): Promise<void> {
  const time = async (path: string): Promise<bigint> =>
    (await stat(join(folder, path), { bigint: true })).mtimeNs;
  const sentinel = await time(`${name}_backup_stop_sentinel.json`);
  for (const entry of await readdir(join(folder, name), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name).slice(folder.length + 1);
    assert.ok((await time(path)) <= sentinel, `${path} was stored before the sentinel`);
  }
}

function checkContainer(packed: Buffer, method: ReadMethod, part: string): void {
  const start = packed.subarray(0, 7).toString("hex");
  if (method === "lz4") assert.equal(start, "04224d186470b9", `${part}: WAL-G's frame header`);
  if (method === "zstd") assert.equal(start.slice(0, 8), "28b52ffd", `${part}: zstd`);
  if (method === "lzma")
    assert.equal(packed.subarray(0, 13).toString("hex"), "5d00008000ffffffffffffffff", `${part}: LZMA-alone`);
}

/** USTAR and PAX only, no strangers, exactly two zero blocks at the end. */
function readTarStrictly(tar: Buffer, part: string): Member[] {
  const members: Member[] = [];
  let path: string | null = null;
  let at = 0;
  for (;;) {
    const block = tar.subarray(at, at + 512);
    assert.equal(block.length, 512, `${part} ends within a block`);
    if (block.every((byte) => byte === 0)) break;
    let sum = 8 * 32;
    for (const [index, byte] of block.entries()) if (index < 148 || index >= 156) sum += byte;
    assert.equal(octal(block, 148, 8), sum, `${part}: header checksum at ${at}`);
    assert.equal(block.toString("latin1", 257, 265), "ustar\u000000", `${part}: POSIX tar`);
    const size = octal(block, 124, 12);
    const data = tar.subarray(at + 512, at + 512 + size);
    assert.equal(data.length, size, `${part}: a member is cut`);
    const type = String.fromCharCode(block[156]!);
    const pad = tar.subarray(at + 512 + size, at + 512 + Math.ceil(size / 512) * 512);
    assert.ok(
      pad.every((byte) => byte === 0),
      `${part}: padding is zeros`,
    );
    at += 512 + Math.ceil(size / 512) * 512;
    if (type === "x") {
      path = /\d+ path=([^\n]*)\n/.exec(data.toString("utf8"))?.[1] ?? null;
      continue;
    }
    const prefix = text(block, 345, 155);
    const name: string = path ?? (prefix === "" ? text(block, 0, 100) : `${prefix}/${text(block, 0, 100)}`);
    path = null;
    members.push({ name, type, mode: octal(block, 100, 8), mtime: octal(block, 136, 12), data });
  }
  assert.equal(tar.length - at, 1024, `${part} ends with two zero blocks and nothing else`);
  assert.ok(tar.subarray(at).every((byte) => byte === 0));
  return members;
}

function checkSpecialParts(byPart: ReadonlyMap<string, readonly Member[]>, extension: string): void {
  const dot = extension === "" ? "" : `.${extension}`;
  const control = byPart.get(`pg_control.tar${dot}`);
  assert.deepEqual(
    control?.map(({ name }) => name),
    ["/global/pg_control"],
  );
  assert.equal(control?.[0]?.data.length, 8192);
  const label = byPart.get(`backup_label.tar${dot}`);
  assert.deepEqual(
    label?.map(({ name }) => name),
    ["backup_label", "tablespace_map"],
  );
  for (const { mode, mtime, type } of label ?? [])
    assert.deepEqual({ mode, mtime, type }, { mode: 0o600, mtime: 0, type: "0" });
  assert.match(label?.[0]?.data.toString("utf8") ?? "", /^START WAL LOCATION: /);
  assert.ok(
    [...byPart.keys()].some((part) => part.startsWith("part_")),
    "at least one part",
  );
}

async function checkFiles(
  folder: string,
  name: string,
  sentinel: Readonly<Record<string, unknown>>,
  byPart: ReadonlyMap<string, readonly Member[]>,
  members: ReadonlyMap<string, Member>,
  parent: CheckedBackup | null,
): Promise<Readonly<Record<string, FileFields>> | null> {
  const raw = await readFile(join(folder, name, "files_metadata.json"), "utf8").catch(() => null);
  if (sentinel["FilesMetadataDisabled"] === true) {
    assert.equal(raw, null);
    return null;
  }
  const list = JSON.parse(raw ?? "") as {
    Files: Record<string, FileFields>;
    TarFileSets: Record<string, string[]>;
  };
  for (const key of Object.keys(list))
    assert.ok(["Files", "TarFileSets", "DatabasesByNames"].includes(key), key);
  for (const [file, fields] of Object.entries(list.Files)) {
    const keys = Object.keys(fields).filter((key) => key !== "CorruptBlocks");
    assert.deepEqual(keys, ["IsIncremented", "IsSkipped", "MTime", "UpdatesCount"], file);
    assert.match(fields.MTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$/, file);
    assert.ok(!(fields.IsIncremented && fields.IsSkipped), file);
    const member = members.get(file);
    if (fields.IsSkipped) {
      assert.equal(member, undefined, `${file} is skipped and stored`);
      assert.ok(parent?.files?.[file] !== undefined, `${file} is skipped and unknown to the parent`);
      assert.equal(fields.MTime, parent.files[file].MTime, `${file} is skipped though its time changed`);
    } else {
      assert.ok(member !== undefined, `${file} is listed and not stored`);
      assert.equal(member.mtime, Math.round(Date.parse(fields.MTime) / 1000), `time of ${file}`);
    }
    if (fields.IsIncremented) assert.ok(parent?.files?.[file] !== undefined, `${file} has no base`);
  }
  for (const stored of members.keys()) assert.ok(stored in list.Files, `${stored} is stored and not listed`);
  const listed = Object.keys(list.TarFileSets).sort();
  assert.deepEqual(listed, [...byPart.keys()].filter((part) => !part.startsWith("pg_control")).sort());
  for (const [part, names] of Object.entries(list.TarFileSets))
    assert.deepEqual(
      [...names].sort(),
      byPart
        .get(part)
        ?.map((member) => member.name)
        .sort(),
      part,
    );
  return list.Files;
}

function checkContent(
  members: ReadonlyMap<string, Member>,
  files: Readonly<Record<string, FileFields>> | null,
): void {
  for (const { name, type, data } of members.values()) {
    assert.ok(name.startsWith("/"), `${name} begins with a slash`);
    assert.ok(name === "/" || !name.endsWith("/"), `${name} does not end with one`);
    assert.ok(type === "0" || type === "5", `${name} is a file or a directory`);
    if (type === "5") assert.equal(data.length, 0);
    const base = name.slice(name.lastIndexOf("/") + 1);
    if (EXCLUDED.includes(base)) assert.equal(type, "5", `${name} is excluded`);
    const isBelowExcluded = name
      .split("/")
      .slice(1, -1)
      .some((step) => EXCLUDED.includes(step));
    assert.ok(!isBelowExcluded, `${name} lies in an excluded directory`);
    assert.doesNotMatch(name, /\/pg_control$|^\/pg_tblspc\/\d+$/);
    if (files?.[name]?.IsIncremented === true) checkIncrement(name, data);
  }
  for (const name of ["/", "/base", "/global", "/pg_wal", "/pg_tblspc"])
    assert.equal(members.get(name)?.type, "5", `${name} has a header`);
}

function checkIncrement(name: string, data: Buffer): void {
  assert.equal(data.subarray(0, 4).toString("hex"), "77693155", name);
  const fileBytes = Number(data.readBigUInt64LE(4));
  const count = data.readUInt32LE(12);
  assert.equal(data.length, 16 + count * (4 + 8192), `${name}: length of the increment`);
  assert.equal(fileBytes % 8192, 0, `${name}: size of the file`);
  let before = -1;
  for (let index = 0; index < count; index += 1) {
    const block = data.readUInt32LE(16 + 4 * index);
    assert.ok(block > before, `${name}: blocks ascend`);
    assert.ok(block * 8192 < fileBytes, `${name}: block ${block} lies in the file`);
    before = block;
  }
}

const octal = (block: Buffer, at: number, length: number): number =>
  Number.parseInt(text(block, at, length).trim() || "0", 8);
const text = (block: Buffer, at: number, length: number): string => {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end < 0 ? length : end);
};

const EXTENSIONS: Record<ReadMethod, string> = {
  lz4: "lz4",
  zstd: "zst",
  brotli: "br",
  lzma: "lzma",
  none: "",
  gzip: "gz",
  lzo: "lzo",
};
const SENTINEL_KEYS = [
  ...[
    "LSN",
    "DeltaLSN",
    "DeltaFrom",
    "DeltaFullName",
    "DeltaCount",
    "PgVersion",
    "FinishLSN",
    "SystemIdentifier",
  ],
  ...[
    "UncompressedSize",
    "CompressedSize",
    "DataCatalogSize",
    "Spec",
    "UserData",
    "FilesMetadataDisabled",
    "ChkpNum",
  ],
  ...["DeltaChkpNum", "Version", "StartTime", "FinishTime", "DateFmt", "Hostname", "DataDir", "IsPermanent"],
];
const MUST_HAVE = [
  ...[
    "LSN",
    "PgVersion",
    "FinishLSN",
    "UncompressedSize",
    "CompressedSize",
    "DataCatalogSize",
    "ChkpNum",
    "Version",
  ],
  ...["StartTime", "FinishTime", "DateFmt", "Hostname", "DataDir", "IsPermanent"],
];
/** metadata.json's keys in their order, and the sentinel's key with the same value. */
const METADATA_KEYS: readonly (readonly [string, string])[] = [
  ["start_time", "StartTime"],
  ["finish_time", "FinishTime"],
  ["date_fmt", "DateFmt"],
  ["hostname", "Hostname"],
  ["data_dir", "DataDir"],
  ["pg_version", "PgVersion"],
  ["start_lsn", "LSN"],
  ["finish_lsn", "FinishLSN"],
  ["is_permanent", "IsPermanent"],
  ["system_identifier", "SystemIdentifier"],
  ["uncompressed_size", "UncompressedSize"],
  ["compressed_size", "CompressedSize"],
  ["user_data", "UserData"],
];
const EXCLUDED = [
  ...["log", "pg_log", "pg_xlog", "pg_wal", "pgsql_tmp", "postgresql.auto.conf.tmp", "postmaster.pid"],
  ...["postmaster.opts", "recovery.conf", "pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial"],
  ...["pg_stat_tmp", "pg_snapshots", "pg_subtrans", "standby.signal"],
];
