// When a replay is over, and when it went wrong.

import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeReplay, type ReplaySample } from "../../src/recovery/judge-replay.ts";
import { ReplayMeter } from "../../src/recovery/replay-meter.ts";
import { parseLsn } from "../../src/wal/lsn.ts";

const END = parseLsn("0/5000000");

const base: ReplaySample = {
  ...{ ending: "drain", hasOwnWal: false, hasTarget: false, recordEnd: END, inRecovery: true },
  ...{ replayed: END, isPaused: false, restMs: 0, repeats: null },
};

const cases: readonly {
  readonly name: string;
  readonly change: Partial<ReplaySample>;
  readonly says: string;
}[] = [
  { name: "replayed exactly to the last record", change: {}, says: "drained" },
  { name: "not there yet", change: { replayed: parseLsn("0/4FFFFF8") }, says: "wait" },
  { name: "nothing replayed yet", change: { replayed: null }, says: "wait" },
  {
    name: "past the last record: other bytes than were served",
    change: { replayed: parseLsn("0/5000008") },
    says: "past",
  },
  {
    name: "own WAL goes on behind the log's end",
    change: { hasOwnWal: true, replayed: parseLsn("0/5000008") },
    says: "wait",
  },
  {
    name: "own WAL at rest",
    change: { hasOwnWal: true, replayed: parseLsn("0/5000008"), restMs: 2_000 },
    says: "drained",
  },
  {
    name: "own WAL at rest below the log's end",
    change: { hasOwnWal: true, replayed: parseLsn("0/4FFFFF8"), restMs: 2_000 },
    says: "wait",
  },
  {
    name: "the target was met",
    change: { ending: "target", hasTarget: true, isPaused: true, replayed: parseLsn("0/4000000") },
    says: "paused",
  },
  {
    name: "the target was met before anybody could connect",
    change: { ending: "target", hasTarget: true, inRecovery: false },
    says: "promoted",
  },
  {
    name: "promoted without being told to",
    change: { inRecovery: false },
    says: "Postgres promoted itself during the replay",
  },
  { name: "paused by somebody", change: { isPaused: true }, says: "somebody paused the replay" },
  {
    name: "a target that had to come did not: an error, never a promotion",
    change: { ending: "target", hasTarget: true, restMs: 2_000 },
    says: "the target was not met; the WAL ends at 0/5000000",
  },
  {
    name: "the same, but the last record may still be the one",
    change: { ending: "target", hasTarget: true, restMs: 500 },
    says: "wait",
  },
  {
    name: "a target that need not come",
    change: { ending: "either", hasTarget: true, restMs: 2_000 },
    says: "drained",
  },
  {
    name: "stuck at a segment that Postgres refuses",
    change: { replayed: parseLsn("0/3000000"), restMs: 30_000, repeats: { name: "x", times: 10 } },
    says: 'Postgres stays at 0/3000000 and asks for "x" again and again; the last record ends at 0/5000000',
  },
  {
    name: "slow, not stuck",
    change: { replayed: parseLsn("0/3000000"), restMs: 300_000, repeats: { name: "x", times: 1 } },
    says: "wait",
  },
];

for (const { name, change, says } of cases) {
  test(`replay: ${name}`, () => {
    const verdict = judgeReplay({ ...base, ...change });
    assert.equal(verdict.kind === "fault" ? verdict.because : verdict.kind, says);
  });
}

test("a measure: part done, rate over the last seconds, time that is left", () => {
  const meter = new ReplayMeter(parseLsn("0/0"));
  const to = parseLsn("0/6400000"); // 100 MiB
  assert.deepEqual(meter.measure(null, to, 0), { fraction: 0, bytesPerSecond: 0, remainingMs: null });
  meter.measure(parseLsn("0/0"), to, 1_000);
  const { fraction, bytesPerSecond, remainingMs } = meter.measure(parseLsn("0/3200000"), to, 6_000);
  assert.deepEqual(
    { fraction, bytesPerSecond, remainingMs },
    { fraction: 0.5, bytesPerSecond: 10 << 20, remainingMs: 5_000 },
  );
  assert.equal(meter.measure(to, to, 7_000).remainingMs, 0);
});
