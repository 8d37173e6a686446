// A cluster of 2 to 5 nodes under virtual time, made of the production mind. HOLDFAST_SEEDS=10000 runs the whole; HOLDFAST_SEED repeats one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RULES } from "../../src/cluster/rules.ts";
import { PLANTED_BUGS } from "../support/cluster-simulation/planted-bugs.ts";
import { runSeed } from "../support/cluster-simulation/run.ts";

const ONE = process.env["HOLDFAST_SEED"];
const COUNT = Number(process.env["HOLDFAST_SEEDS"] ?? 300);
const FIRST = Number(process.env["HOLDFAST_FIRST_SEED"] ?? 1);

test("never two primaries, nothing acknowledged is lost, always a primary again", () => {
  const seeds =
    ONE === undefined ? Array.from({ length: COUNT }, (_unused, index) => FIRST + index) : [Number(ONE)];
  const failures: string[] = [];
  let promotions = 0;
  for (const seed of seeds) {
    const outcome = runSeed(seed, RULES);
    promotions += outcome.promotions;
    if (outcome.violation === null) continue;
    failures.push(`seed ${seed}: ${outcome.violation}`);
    if (failures.length === 1) console.log(outcome.trace.join("\n"));
    if (failures.length >= 20) break;
  }
  console.log(`${seeds.length} seeds, ${promotions} promotions`);
  assert.deepEqual(failures, []);
});

test("pauses of up to 5 s change nothing", () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const outcome = runSeed(seed, RULES, { faults: ["blink"] });
    const lines = outcome.trace.filter((line) => /promotes|doors shut|VIOLATION/.test(line));
    assert.deepEqual(lines, [], `seed ${seed}`);
  }
});

for (const [name, { focus, ...bug }] of Object.entries(PLANTED_BUGS)) {
  test(`caught: ${name}`, () => {
    for (let seed = 1; seed <= BUG_SEEDS; seed += 1) {
      if (runSeed(seed, { ...RULES, ...bug }, focus).violation !== null) return;
    }
    assert.fail(`not caught in ${BUG_SEEDS} seeds`);
  });
}

/** So many seeds a planted bug may survive. */
const BUG_SEEDS = 1_500;
