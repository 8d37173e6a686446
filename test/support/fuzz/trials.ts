// The trials of one target, in a process of their own: what crashes or hangs takes only that process along.
// Arguments: target, folder for what is under way, then `seed trials milliseconds` or `replay FILE…`.

import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { below, makeRandom } from "../random.ts";
import type { FuzzTarget } from "./target.ts";
import { fuzzTargets } from "./targets.ts";

/** Peak of the process's memory above its peak before the first trial, in bytes. */
const MEMORY_BYTES_MOST = 640 << 20;

const [name = "", folder = "", ...rest] = process.argv.slice(2);
const found = fuzzTargets.find((each) => each.name === name);
if (found === undefined) throw new Error(`no fuzz target is called "${name}"`);
const target: FuzzTarget = found;
// A promise that nobody waits for must not fail either.
process.on("unhandledRejection", (error) => fail(error));
process.on("uncaughtException", (error) => fail(error));

if (rest[0] === "replay") await replay(rest.slice(1));
else await run(Number(rest[0]), Number(rest[1]), Number(rest[2]));
process.exit(0);

async function run(seed: number, trials: number, forMs: number): Promise<void> {
  const corpus = await target.corpus();
  if (corpus.length === 0) throw new Error(`the corpus of "${target.name}" is empty`);
  await checkCorpus(corpus);
  const before = peakBytes();
  const begun = performance.now();
  let trial = 0;
  let refused = 0;
  const trace = openSync(join(folder, "trial"), "w");
  for (; trial < trials && performance.now() - begun < forMs; trial += 1) {
    const random = makeRandom(Math.imul(seed, 2_654_435_761) + trial);
    const input = target.mutate(Buffer.from(corpus[below(random, corpus.length)]!), random, corpus);
    if (below(random, 4) > 0) target.mend?.(input);
    writeFileSync(join(folder, "input"), input);
    writeSync(trace, String(trial).padStart(12), 0);
    if (!(await isBorne(input, makeRandom(trial)))) refused += 1;
    if (peakBytes() - before > MEMORY_BYTES_MOST)
      fail(new Error(`memory grew by ${(peakBytes() - before) >> 20} MiB`));
  }
  closeSync(trace);
  const grown = (peakBytes() - before) >> 20;
  console.log(JSON.stringify({ trials: trial, refused, grownMiB: grown }));
}

/** Sound inputs must be taken, or the trials would only ever look at the first check. */
async function checkCorpus(corpus: readonly Uint8Array[]): Promise<void> {
  for (const [index, input] of corpus.entries()) {
    writeFileSync(join(folder, "input"), input);
    if (!(await isBorne(Buffer.from(input), makeRandom(1))))
      throw new Error(`number ${index} of the corpus of "${target.name}" is refused`);
  }
}

async function replay(files: readonly string[]): Promise<void> {
  const before = peakBytes();
  for (const file of files) {
    const input = readFileSync(file);
    writeFileSync(join(folder, "input"), input);
    for (let round = 1; round <= 4; round += 1) await isBorne(Buffer.from(input), makeRandom(round));
    if (peakBytes() - before > MEMORY_BYTES_MOST)
      fail(new Error(`${file}: memory grew by ${(peakBytes() - before) >> 20} MiB`));
  }
  console.log(JSON.stringify({ trials: files.length, refused: 0, grownMiB: (peakBytes() - before) >> 20 }));
}

/** Feeds one input; true when it was taken, false when it was refused in the parser's own words. */
async function isBorne(input: Buffer, random: () => number): Promise<boolean> {
  try {
    await target.feed(input, random);
    return true;
  } catch (error) {
    if (target.declared.some((declared) => error instanceof declared)) return false;
    return fail(error);
  }
}

function fail(error: unknown): never {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  writeFileSync(join(folder, "failure"), `${text}\n${error instanceof Error ? causesOf(error) : ""}`);
  process.exit(3);
}

function causesOf({ cause }: Error): string {
  if (!(cause instanceof Error)) return "";
  return `caused by ${cause.stack ?? cause.message}\n${causesOf(cause)}`;
}

/** getrusage: what was freed within a trial counts too. */
function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}
