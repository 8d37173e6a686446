// Tar parts and increments: read, verified, and unpacked onto a disk, where nothing may land outside the target.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noFilesMetadata } from "../../../src/backup/files-metadata.ts";
import { BackupFormatError } from "../../../src/backup/format-error.ts";
import { PAGE_BYTES, encodeIncrementHead } from "../../../src/backup/increment.ts";
import { encodeTarHeader, paddingOf, tarTrailer } from "../../../src/backup/tar-header.ts";
import { readTar } from "../../../src/backup/tar-part.ts";
import { TarError } from "../../../src/backup/tar-sink.ts";
import { type WantedMember, unpackPart } from "../../../src/backup/unpack-part.ts";
import { verifyPart } from "../../../src/backup/verify-part.ts";
import { noCipher } from "../../../src/codec/encryption.ts";
import { lsnOf } from "../../../src/wal/lsn.ts";
import { MemoryStore } from "../memory-store.ts";
import { type Random, makeRandom, mixedBytes } from "../random.ts";
import { fixtureObjects, mendTar, plainObject, smallTar } from "./corpus.ts";
import { mutateBytes } from "./mutate.ts";
import { type FuzzTarget, drain, piecesOf } from "./target.ts";

const KEY = "basebackups_005/base_000000010000000000000008/tar_partitions/part_001.tar";

async function tars(): Promise<readonly Uint8Array[]> {
  const parts = fixtureObjects(/tar_partitions\/.*\.tar/, 3).filter(({ bucket }) =>
    /^pg17-(none|lz4|delta-zstd|tablespaces|remote-plain)$/.test(bucket),
  );
  const plain = await Promise.all(parts.map(plainObject));
  return [...plain.map((tar) => smallTar(tar, 48 << 10)), longNames()];
}

/** Names, sizes and times that need extended headers. */
function longNames(): Uint8Array {
  const member = { uid: 1, gid: 1, userName: "u", groupName: "g", mtimeSeconds: 1_790_000_000, mode: 0o600 };
  const name = (length: number): string => `/base/5/${"n".repeat(length)}`;
  const files = [name(120), name(240), "/base/5/größe"].map((each) => [
    encodeTarHeader({ ...member, kind: "file", name: each, bytes: 600 }),
    Buffer.alloc(600 + paddingOf(600), 7),
  ]);
  return Buffer.concat([...files.flat(), tarTrailer()]);
}

const tar: FuzzTarget = {
  name: "tar",
  corpus: tars,
  mutate: mutateBytes,
  mend: mendTar,
  feed: async (input, random) => {
    for await (const entry of readTar(piecesOf(input, random))) await drain(entry.body);
  },
  declared: [TarError],
};

const verify: FuzzTarget = {
  name: "verify-part",
  corpus: tars,
  mutate: mutateBytes,
  mend: mendTar,
  feed: async (input, random) => {
    const store = new MemoryStore();
    const signal = new AbortController().signal;
    await store.put(KEY, input, signal);
    const files = noFilesMetadata();
    const part = {
      key: KEY,
      name: "part_001.tar",
      role: "files",
      method: "none",
      bytes: input.length,
      expected: null,
    };
    await verifyPart(
      part as Parameters<typeof verifyPart>[0],
      {
        files,
        listed: null,
        pages: { from: lsnOf(BigInt(Math.floor(random() * 1e9))), segmentBlocks: 131_072 },
      },
      { store, cipher: noCipher, signal, onBytes: () => undefined },
    );
  },
  // Whatever is wrong is a finding.
  declared: [],
};

/** A folder in which `root` is the target: whatever else appears there was written outside. */
class Cage {
  readonly folder = mkdtempSync(join(tmpdir(), "cage-"));
  readonly root = join(this.folder, "a", "root");

  empty(): void {
    rmSync(join(this.folder, "a"), { recursive: true, force: true });
    mkdirSync(this.root, { recursive: true });
  }

  check(): void {
    assert.deepEqual(readdirSync(this.folder), ["a"], "written outside of the target");
    assert.deepEqual(readdirSync(join(this.folder, "a")), ["root"], "written outside of the target");
  }
}

let cage: Cage | null = null;

async function unpack(input: Buffer, random: Random, take: readonly WantedMember[] | null): Promise<void> {
  cage ??= new Cage();
  cage.empty();
  if (take !== null) {
    mkdirSync(join(cage.root, "base/5"), { recursive: true });
    for (const { name } of take) writeFileSync(join(cage.root, name), Buffer.alloc(4 * PAGE_BYTES, 1));
  }
  const job = {
    root: cage.root,
    object: KEY,
    method: "none",
    cipherKey: { kind: "none" },
    expected: null,
    take,
    known: null,
    takesUtilities: true,
    owner: null,
  } as const;
  try {
    await unpackPart(job, piecesOf(input, random), noCipher, () => undefined);
  } finally {
    cage.check();
  }
}

const unpacked: FuzzTarget = {
  name: "unpack",
  corpus: tars,
  mutate: mutateBytes,
  mend: mendTar,
  feed: (input, random) => unpack(input, random, null),
  declared: [BackupFormatError],
};

const INCREMENTS: readonly WantedMember[] = ["/base/5/1", "/base/5/2"].map((name) => ({
  name,
  isIncremented: true,
  mtimeSeconds: null,
}));

const increments: FuzzTarget = {
  name: "increments",
  corpus: async () => [[0], [1, 3], [], [0, 1, 2, 5]].map((blocks) => incrementTar(blocks)),
  mutate: mutateBytes,
  mend: (bytes) => {
    mendTar(bytes);
    mendIncrements(bytes);
  },
  feed: (input, random) => unpack(input, random, INCREMENTS),
  declared: [BackupFormatError],
};

function incrementTar(blocks: readonly number[]): Uint8Array {
  const random = makeRandom(blocks.length);
  const members = INCREMENTS.map(({ name }) => {
    const head = encodeIncrementHead({ fileBytes: 6 * PAGE_BYTES, blocks });
    const body = Buffer.concat([head, mixedBytes(blocks.length * PAGE_BYTES, random)]);
    const header = encodeTarHeader({
      ...{ name, kind: "file", mode: 0o600, uid: 1, gid: 1, userName: "", groupName: "" },
      ...({ bytes: body.length, mtimeSeconds: 1_790_000_000 } as const),
    } as Parameters<typeof encodeTarHeader>[0]);
    return Buffer.concat([header, body, Buffer.alloc(paddingOf(body.length))]);
  });
  return Buffer.concat([...members, tarTrailer()]);
}

/** Every other header gets a count of pages that agrees with its member's size. */
function mendIncrements(bytes: Buffer): void {
  for (let at = 0; at + 528 <= bytes.length; at += 512) {
    if (bytes.toString("latin1", at + 257, at + 262) !== "ustar") continue;
    const size = Number.parseInt(bytes.toString("latin1", at + 124, at + 135), 8);
    if (Number.isSafeInteger(size) && (size - 16) % (4 + PAGE_BYTES) === 0 && size >= 16)
      bytes.writeUInt32LE(((size - 16) / (4 + PAGE_BYTES)) >>> 0, at + 512 + 12);
  }
}

export const partTargets: readonly FuzzTarget[] = [tar, verify, unpacked, increments];
