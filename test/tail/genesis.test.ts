import assert from "node:assert/strict";
import { test } from "node:test";
import { noCipher } from "../../src/codec/encryption.ts";
import { LogUseError } from "../../src/tail/errors.ts";
import { planGenesis } from "../../src/tail/genesis.ts";
import { sha256 } from "../../src/tail/slot.ts";
import { formatLsn, lsnOf, parseLsn } from "../../src/wal/lsn.ts";
import { extendPath, rootPath } from "../../src/wal/timeline-path.ts";
import { LogBench, append } from "../support/log-bench.ts";

const promotion = "3".repeat(32);
const options = (bench: LogBench, path = rootPath(1)): Parameters<typeof planGenesis>[1] => ({
  segmentBytes: 1 << 20,
  path,
  promotion,
  firstLocal: parseLsn("0/1000000"),
  cipher: noCipher,
  signal: bench.signal,
});

test("an empty archive: the log begins with the first segment pg_wal can give", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const genesis = await planGenesis(bench.store, options(bench));
  assert.deepEqual([formatLsn(genesis.end), genesis.lastTimeline, genesis.histories], ["0/1000000", 1, []]);
});

test("over an archive that WAL-G filled the log begins behind its last complete segment (L8)", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  for (const name of [
    "000000010000000000000010.lz4",
    "000000010000000000000012.br",
    "000000010000000000000013.partial.lz4",
  ]) {
    await bench.store.put(`wal_005/${name}`, Buffer.from("x"), t.signal);
  }
  assert.equal(formatLsn((await planGenesis(bench.store, options(bench))).end), "0/1300000");
});

test("a timeline whose own segments are not archived yet begins at its fork", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await bench.store.put("wal_005/000000010000000000000010", Buffer.from("x"), t.signal);
  await bench.store.put("wal_005/00000002.history", Buffer.from("1\t0/1100080\tx\n"), t.signal);
  const path = extendPath(rootPath(1), 2, parseLsn("0/1100080"));
  const genesis = await planGenesis(bench.store, options(bench, path));
  assert.equal(formatLsn(genesis.end), "0/1100080");
  assert.deepEqual(genesis.histories, [[2, sha256(Buffer.from("1\t0/1100080\tx\n"))]]);
});

test("the successor of a given-up founding begins with its own WAL, above what that one left", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await bench.store.put("wal_005/000000010000000000000012.lz4", Buffer.from("x"), t.signal);
  const above = { ...options(bench), firstLocal: parseLsn("1/100000"), isSuccessor: true };
  assert.equal(formatLsn((await planGenesis(bench.store, above)).end), "1/100000");
  await assert.rejects(
    planGenesis(bench.store, { ...above, firstLocal: parseLsn("0/1200000") }),
    (error) =>
      error instanceof LogUseError &&
      /up to 0\/1300000, this server's begins at 0\/1200000/.test(error.message),
  );
});

test("a server on a lower timeline than the archive founds nothing", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  await bench.store.put("wal_005/00000003.history", Buffer.from("1\t0/1100080\tx\n"), t.signal);
  await assert.rejects(
    planGenesis(bench.store, options(bench)),
    (error) =>
      error instanceof LogUseError &&
      /wal_005 holds 00000003.history, this server is on timeline 1/.test(error.message),
  );
});

test("a log founded at a fork goes on from it, and reads back with the parent's bytes", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const parent = bench.wal();
  parent.record();
  const fork = parent.end;
  const wal = parent.fork(2, fork);
  const path = extendPath(rootPath(1), 2, fork);
  const owner = bench.owner(await bench.takeOver());
  const genesis = { timeline: 2, path, promotion, end: fork, lastTimeline: 2, histories: [] };
  await owner.begin({ kind: "genesis", genesis, openBytes: parent.bytes(parent.start, fork) });
  assert.equal(owner.streamFrom, parent.start);
  wal.record({ bytes: 50_000 });
  wal.switch();
  wal.record();
  await owner.append(owner.streamFrom, 2, wal.bytes(owner.streamFrom));
  await owner.flush();
  await owner.whenAllPublished(t.signal);
  const view = await bench.read();
  assert.deepEqual([view.tip?.timeline, view.tip?.begin, view.tip?.promotion], [2, fork, promotion]);
  const published = bench.memory.objects.get("wal_005/000000020000000000000010")!.bytes;
  assert.deepEqual(Buffer.from(published), wal.bytes(wal.start, lsnOf(wal.start + (1n << 20n))));
  await owner.close();
});

test("a founder that dies before anything was accepted founds or continues at its next start", async (t) => {
  const bench = new LogBench({ signal: t.signal });
  const wal = bench.wal();
  await bench.takeOver(); // dead before its base
  const first = await bench.found(wal); // dead behind its base
  await first.close();
  const owner = bench.owner(await bench.takeOver());
  assert.equal((await owner.recordEndOfLog()).at, wal.start);
  await owner.begin({ kind: "continue" });
  wal.record();
  await append(owner, wal);
  await owner.flush();
  assert.equal((await bench.read()).tip?.end, wal.end);
  await owner.close();
});
