// The tail log's production modules under virtual time, with a store that fails: invariants I1 to I8 hold for every seed, and a planted bug
// does not get away. A failure names its seed; HOLDFAST_SEED=n HOLDFAST_SEEDS=1 repeats it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { PLANTED_BUGS, checkPlantedBugs } from "../support/tail-simulation/planted-bugs.ts";
import { World } from "../support/tail-simulation/world.ts";

const FIRST = Number(process.env["HOLDFAST_SEED"] ?? 1);
const IS_LONG = process.env["HOLDFAST_LONG"] !== undefined;
const SEEDS = Number(process.env["HOLDFAST_SEEDS"] ?? (IS_LONG ? 1_000 : 40));
/** Seeds that a planted bug gets to show itself. */
const BUG_SEEDS = 150;
/** What the sample tries; the first bug in the list takes most seeds to show. */
const SAMPLE = PLANTED_BUGS.slice(1, 4);
const FOLDER = join(import.meta.dirname, "..", "support", "tail-simulation");

test(`the invariants hold for seeds ${FIRST} to ${FIRST + SEEDS - 1}`, async (t) => {
  const begun = performance.now();
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
    await new World({ seed, nodes: 3, actions: 60 }).run();
  }
  t.diagnostic(`${SEEDS} seeds in ${Math.round((performance.now() - begun) / 1000)} s`);
});

test("every bug can be planted", () => {
  checkPlantedBugs();
  assert.ok(PLANTED_BUGS.length >= 10);
});

for (const bug of IS_LONG ? PLANTED_BUGS : SAMPLE) {
  test(`caught: ${bug.name} (${bug.breaks})`, async (t) => {
    const { status, said } = await runWith(bug.name);
    assert.equal(status, 1, `no invariant broke in ${BUG_SEEDS} seeds`);
    t.diagnostic(said.trim().slice(0, 200));
  });
}

/** Runs the seeds in a process whose modules carry the bug. */
async function runWith(bug: string): Promise<{ status: number; said: string }> {
  const args = ["--import", join(FOLDER, "plant.ts"), join(FOLDER, "run-seeds.ts"), "1", String(BUG_SEEDS)];
  return new Promise((done) => {
    const env = { ...process.env, HOLDFAST_PLANTED_BUG: bug };
    execFile(process.execPath, args, { env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      done({ status: error === null ? 0 : Number(error.code ?? 128), said: stdout + stderr });
    });
  });
}
