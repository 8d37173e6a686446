// The walk against real Postgres: record by record as pg_waldump sees them, and RE(X) as Postgres itself forks when it is given the bytes below X.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { type Lsn, addBytes, formatLsn, lsnOf, parseLsn } from "../../src/wal/lsn.ts";
import { identifySegment } from "../../src/wal/page.ts";
import { commitTimeOf, findRecordEnd } from "../../src/wal/record-end.ts";
import { RecordWalk, type WalkedRecord } from "../../src/wal/record.ts";
import { parseSegmentName, segmentName, segmentStart } from "../../src/wal/segment-name.ts";
import { parseHistory } from "../../src/wal/timeline-history.ts";
import {
  type ScratchPostgres,
  postgresMajor,
  scratchFolder,
  scratchPostgres,
  programUser,
} from "../support/scratch-postgres.ts";

const CONF = [
  "wal_level = logical",
  "max_wal_size = 4GB",
  "checkpoint_timeout = 1h",
  "autovacuum = off",
  "fsync = off",
];

/** All of timeline 1's WAL that stands in pg_wal, in one piece. */
interface Wal {
  readonly start: Lsn;
  readonly bytes: Buffer;
  readonly segmentBytes: number;
}

async function readWal(dataDirectory: string, segmentBytes: number, from: Lsn, to: Lsn): Promise<Wal> {
  const folder = join(dataDirectory, "pg_wal");
  const names = (await readdir(folder)).filter((name) => /^00000001[0-9A-F]{16}$/.test(name)).sort();
  const pieces: Buffer[] = [];
  let start: Lsn | null = null;
  for (const name of names) {
    const segment = parseSegmentName(name, segmentBytes)!;
    const at = segmentStart(segment, segmentBytes);
    if (at + BigInt(segmentBytes) <= from || at >= to) continue;
    start ??= at;
    pieces.push(await readFile(join(folder, name)));
  }
  return { start: start!, bytes: Buffer.concat(pieces), segmentBytes };
}

function walkAll(wal: Wal): { records: WalkedRecord[]; walk: RecordWalk } {
  const records: WalkedRecord[] = [];
  const { segmentBytes } = wal;
  const walk = new RecordWalk(wal.start, { segmentBytes, onRecord: (record) => records.push(record) });
  walk.push(wal.bytes);
  return { records, walk };
}

/** Short and long records, records over several segments, zeros at a record's end, switches. */
async function load(server: ScratchPostgres): Promise<void> {
  await server.psql(`
    create table if not exists t (id int, filler text);
    insert into t select i, repeat('x', i % 700) from generate_series(1, 2000) i;`);
  for (const bytes of [100, 9_000, 1_000_000, 3_000_000]) {
    await server.psql(
      `select pg_logical_emit_message(false, 'holdfast', repeat(md5('${bytes}'), ${bytes} / 32))`,
    );
    await server.psql("insert into t select i, 'short' from generate_series(1, 20) i");
  }
  await server.psql("select pg_switch_wal()");
  await server.psql("insert into t values (1, 'behind the switch')");
  await server.psql(
    `select pg_logical_emit_message(false, 'zeros', decode('01' || repeat('00', 3000), 'hex'))`,
  );
  await server.psql("insert into t values (2, 'end')");
}

for (const segmentMb of [1, 16, 64]) {
  test(`every record of a server with segments of ${segmentMb} MB is where pg_waldump sees it`, async () => {
    await using server = await scratchPostgres({ segmentMb, conf: CONF });
    const from = parseLsn(await server.psql("select pg_current_wal_insert_lsn()"));
    await load(server);
    if (segmentMb === 1)
      await server.psql("select pg_logical_emit_message(false, 'long', repeat('0123456789', 900000))");
    await server.psql("insert into t values (3, 'flushes what is before it')");
    const to = parseLsn(await server.psql("select pg_current_wal_flush_lsn()"));
    const segmentBytes = segmentMb << 20;
    const wal = await readWal(server.dataDirectory, segmentBytes, from, to);
    const { records, walk } = walkAll(wal);
    assert.equal(identifySegment(wal.bytes)?.version, await postgresMajor());
    const dump = await server.run("pg_waldump", [
      `--path=${join(server.dataDirectory, "pg_wal")}`,
      `--start=${formatLsn(records[0]!.start)}`,
      `--end=${formatLsn(records.at(-1)!.start)}`,
    ]);
    const theirs = [...dump.stdout.matchAll(/lsn: ([0-9A-F]+\/[0-9A-F]+), prev/g)].map((match) =>
      parseLsn(match[1]!),
    );
    const last = theirs.at(-1);
    const ours = records.map(({ start }) => start).filter((start) => last !== undefined && start <= last);
    assert.ok(ours.length > 2_000);
    assert.deepEqual(ours.map(formatLsn), theirs.map(formatLsn));
    assert.ok(walk.recordEnd! >= to, `${formatLsn(walk.recordEnd!)} ${formatLsn(to)}`);
    const commits = records.map(commitTimeOf).filter((time) => time !== null);
    assert.ok(commits.length >= 5);
    assert.ok(commits.every((time) => Math.abs(time - Date.now()) < 600_000));
  });
}

test("after a clean stop the walk ends where the control file's checkpoint does", async () => {
  await using server = await scratchPostgres({ segmentMb: 1, conf: CONF });
  await load(server);
  await server.stop();
  const { stdout } = await server.run("pg_controldata", ["-D", server.dataDirectory]);
  const checkpoint = parseLsn(/Latest checkpoint location:\s+(\S+)/.exec(stdout)![1]!);
  const wal = await readWal(server.dataDirectory, 1 << 20, checkpoint, lsnOf(checkpoint + 1n));
  const { records, walk } = walkAll(wal);
  assert.equal(records.at(-1)?.start, checkpoint);
  assert.equal(walk.recordEnd, records.at(-1)?.end);
});

test("Postgres forks at RE(X), whatever X is", async (t) => {
  await using server = await scratchPostgres({ segmentMb: 1, conf: CONF });
  await server.stop();
  await using folder = await scratchFolder("holdfast-cuts");
  const cold = join(folder.path, "cold");
  await cp(server.dataDirectory, cold, { recursive: true });
  await server.start();
  const from = parseLsn(await server.psql("select pg_current_wal_insert_lsn()"));
  await load(server);
  const to = parseLsn(await server.psql("select pg_current_wal_flush_lsn()"));
  await server.stop("immediate");
  const wal = await readWal(server.dataDirectory, 1 << 20, from, to);
  for (const [i, { name, x }] of cutsOf(wal, from).entries()) {
    await t.test(`${name} (${formatLsn(x)})`, async () => {
      const wanted = await findRecordEnd(sourceOf(wal), x, wal.start, { segmentBytes: wal.segmentBytes });
      const fork = await forkOf({ wal, x, cold, root: join(folder.path, `run-${i}`) });
      assert.equal(formatLsn(fork), formatLsn(wanted.at));
    });
  }
});

const sourceOf =
  (wal: Wal) =>
  (from: Lsn, to: Lsn): Iterable<Uint8Array> => [
    wal.bytes.subarray(Number(from - wal.start), Number(to - wal.start)),
  ];

/** Places worth cutting at, all behind `from`. */
function cutsOf(wal: Wal, from: Lsn): { name: string; x: Lsn }[] {
  const { records } = walkAll(wal);
  const later = records.filter(({ start }) => start > from + 20_000n);
  const size = (record: WalkedRecord): number => Number(record.end - record.start);
  const short = later.find(
    (record) => size(record) > 48 && size(record) < 400 && record.start % 8192n < 7_000n,
  )!;
  const long = later.find((record) => size(record) > 900_000)!;
  const longest = later.find((record) => size(record) > 2_500_000)!;
  const isSwitch = (record: WalkedRecord): boolean => record.manager === 0 && (record.info & 0xf0) === 0x40;
  const change = later.find(isSwitch)!;
  const zeros = later.find(
    (record) => record.manager === 21 && size(record) > 3_000 && size(record) < 5_000,
  )!;
  const page = (record: WalkedRecord): Lsn => lsnOf(record.start - (record.start % 8192n) + 3n * 8192n);
  const boundary = lsnOf((longest.start / BigInt(wal.segmentBytes) + 2n) * BigInt(wal.segmentBytes));
  return [
    { name: "a record's end", x: short.end },
    { name: "one byte into a record", x: addBytes(short.start, 1) },
    { name: "behind a record's header", x: addBytes(short.start, 24) },
    { name: "a page's boundary inside a record", x: page(long) },
    { name: "a page's header behind it", x: addBytes(page(long), 24) },
    { name: "a segment's boundary inside a record", x: boundary },
    { name: "a segment's header behind it", x: addBytes(boundary, 40) },
    { name: "some bytes before a record's end", x: addBytes(long.end, -9) },
    { name: "a record of which only zeros are missing", x: addBytes(zeros.end, -500) },
    { name: "a switch record without its fill", x: addBytes(change.start, 24) },
    { name: "a fresh segment's header alone", x: addBytes(change.end, 40) },
    { name: "the end of a switch's segment", x: change.end },
  ];
}

/** Restores the cold copy with the bytes below `x` and nothing else, and tells where the new timeline forks. */
async function forkOf({
  wal,
  x,
  cold,
  root,
}: {
  wal: Wal;
  x: Lsn;
  cold: string;
  root: string;
}): Promise<Lsn> {
  const archive = join(root, "archive");
  const dataDirectory = join(root, "data");
  await mkdir(archive, { recursive: true });
  await cp(cold, dataDirectory, { recursive: true });
  const size = BigInt(wal.segmentBytes);
  for (let at = wal.start; at < x; at = lsnOf(at + size)) {
    const file = Buffer.alloc(wal.segmentBytes);
    const to = x < at + size ? x : lsnOf(at + size);
    wal.bytes.copy(file, 0, Number(at - wal.start), Number(to - wal.start));
    await writeFile(join(archive, segmentName({ timeline: 1, number: at / size }, wal.segmentBytes)), file);
  }
  await writeFile(join(dataDirectory, "recovery.signal"), "");
  await ownAsServer(root);
  await using server = await scratchPostgres({
    dataDirectory,
    conf: [`restore_command = 'cp "${archive}/%f" "%p"'`, "recovery_target_timeline = 'current'", ...CONF],
  });
  const deadline = Date.now() + 60_000;
  while ((await server.psql("select pg_is_in_recovery()")) !== "f") {
    if (Date.now() > deadline) throw new Error(`no promotion: ${server.log.slice(-2_000)}`);
    await delay(50);
  }
  const history = parseHistory(2, await readFile(join(dataDirectory, "pg_wal", "00000002.history"), "utf8"));
  return history.switches.at(-1)!.at;
}

/** Files made by the test belong to the user of the server. */
async function ownAsServer(folder: string): Promise<void> {
  const { uid, gid } = await programUser();
  if (uid === undefined || gid === undefined) return;
  await new Promise<void>((resolve, reject) => {
    execFile("chown", ["-R", `${uid}:${gid}`, folder], (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
