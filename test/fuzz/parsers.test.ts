// Every parser that reads a bucket or a socket, fed with seeded damage: it refuses in its own words, at once and in bounded memory.
// Some seconds each; ten minutes with HOLDFAST_LONG; HOLDFAST_FUZZ_SECONDS says otherwise.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fuzz, replay } from "../support/fuzz/run.ts";
import { fuzzTargets } from "../support/fuzz/targets.ts";
import { drawSeed } from "../support/random.ts";

const FINDS = join(import.meta.dirname, "../fixtures/fuzz");
const isLong = process.env["HOLDFAST_LONG"] !== undefined;
const seconds = Number(process.env["HOLDFAST_FUZZ_SECONDS"] ?? (isLong ? 600 : 2));
const only = process.env["HOLDFAST_FUZZ_TARGET"];
const seed = drawSeed();
console.log(`seed ${seed} (HOLDFAST_SEED), ${seconds} s each (HOLDFAST_FUZZ_SECONDS)`);

for (const { name } of fuzzTargets.filter((target) => only === undefined || target.name === only)) {
  test(`${name}: damage is refused in its own words`, async (t) => {
    const { trials, refused, grownMiB } = await fuzz(name, seed, seconds);
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
