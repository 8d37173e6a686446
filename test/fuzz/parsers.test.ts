// Every parser that reads a bucket or a socket, fed with seeded damage: it refuses in its own words, at once and in bounded memory.
// The same few hundred inputs in every run; other ones for ten minutes each with HOLDFAST_LONG, or for HOLDFAST_FUZZ_SECONDS.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fuzz, replay } from "../support/fuzz/run.ts";
import { fuzzTargets } from "../support/fuzz/targets.ts";
import { drawSeed } from "../support/random.ts";

const FINDS = join(import.meta.dirname, "../fixtures/fuzz");
const SAMPLE = { seed: 1, trials: 150 };
const seconds = Number(
  process.env["HOLDFAST_FUZZ_SECONDS"] ?? (process.env["HOLDFAST_LONG"] === undefined ? 0 : 600),
);
const only = process.env["HOLDFAST_FUZZ_TARGET"];
const plan = seconds > 0 ? { seed: drawSeed(), milliseconds: seconds * 1000 } : SAMPLE;
console.log(`fuzzing: ${JSON.stringify(plan)} (HOLDFAST_SEED, HOLDFAST_FUZZ_SECONDS)`);

for (const { name } of fuzzTargets.filter((target) => only === undefined || target.name === only)) {
  test(`${name}: damage is refused in its own words`, async (t) => {
    const { trials, refused, grownMiB } = await fuzz(name, plan);
    t.diagnostic(`${trials} inputs, ${refused} refused, ${grownMiB} MiB more at the peak`);
    assert.ok(trials > 0);
  });
}

for (const name of readdirSync(FINDS)) {
  test(`${name}: what once broke it`, async () => {
    assert.ok(
      fuzzTargets.some((target) => target.name === name),
      `no target is called "${name}"`,
    );
    await replay(
      name,
      readdirSync(join(FINDS, name)).map((file) => join(FINDS, name, file)),
    );
  });
}
