// A bucket that Holdfast wrote, damaged object by object: `verify --content` names the object, and a restore has all rows or is refused.
// Whole and growing buckets have no fault. A few damages; a hundred with HOLDFAST_LONG; HOLDFAST_CORRUPTIONS says otherwise.

import assert from "node:assert/strict";
import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { AppError, messageOf } from "../../src/base/errors.ts";
import { LOG_PREFIX, slotKey } from "../../src/tail/keys.ts";
import { callWalg } from "../support/call-walg.ts";
import { type Damage, harm } from "../support/harm.ts";
import { keysBelow, OwnBucket, restoreFrom } from "../support/own-bucket.ts";
import { type Random, below, drawSeed, makeRandom } from "../support/random.ts";

const isLong = process.env["HOLDFAST_LONG"] !== undefined;
const RUNS = Number(process.env["HOLDFAST_CORRUPTIONS"] ?? (isLong ? 100 : 6));
const SEED = drawSeed();
/** An unrecoverable restore says so within this. */
const REFUSED_WITHIN_MS = 120_000;
console.log(`seed ${SEED} (HOLDFAST_SEED), ${RUNS} corruptions (HOLDFAST_CORRUPTIONS)`);

interface Finding {
  readonly object: string;
  readonly severity: "error" | "warning";
  readonly fault: string;
}

interface Verdict {
  readonly exit: number;
  readonly findings: readonly Finding[];
}

async function verify(place: string): Promise<Verdict> {
  const env = { WALG_FILE_PREFIX: place, WALG_PG_WAL_SIZE: "1" };
  const { exit, stdout } = await callWalg(["verify", "--content", "--json"], env, {}, "holdfast");
  const { findings } = JSON.parse(stdout) as Omit<Verdict, "exit">;
  return { exit, findings };
}

let bucket: OwnBucket;
let clean = 0;

before(async () => {
  let moments = 0;
  bucket = await OwnBucket.make(async (place) => {
    moments += 1;
    if (!isLong && moments % 8 !== 0) return;
    const { exit, findings } = await verify(place);
    assert.deepEqual({ exit, findings }, { exit: 0, findings: [] }, "a false alarm");
    clean += 1;
  });
});
after(() => bucket[Symbol.asyncDispose]());

test("a bucket that grows has no fault at any moment", () => {
  console.log(`${clean} verifications without an alarm`);
  assert.ok(clean >= (isLong ? 50 : 7));
});

test("the whole bucket is restored with all rows", async () => {
  assert.deepEqual(
    await restoreFrom(await bucket.copy(), AbortSignal.timeout(REFUSED_WITHIN_MS)),
    bucket.rows,
  );
});

test("a damaged segment that nothing replaces ends the restore, with its name", async () => {
  const place = await bucket.copy();
  await rm(join(place, "tail_v1"), { recursive: true });
  const key = (await keysBelow(place)).findLast((one) => /^wal_005\/00000002[0-9A-F]{16}\.lz4$/.test(one))!;
  await harm(place, key, "flip", [], makeRandom(1));
  const name = key.replace(/^wal_005\/|\.lz4$/g, "");
  await assert.rejects(
    restoreFrom(place, AbortSignal.timeout(REFUSED_WITHIN_MS)),
    (error) => error instanceof AppError && error.message.includes(name),
  );
});

for (let run = 0; run < RUNS; run += 1) {
  test(`damage ${run}`, async (t) => {
    const random = makeRandom(SEED + run);
    const place = await bucket.copy();
    const { keys, what, mayEndEarlier } = await damage(place, random);
    t.diagnostic(what);
    const { exit, findings } = await verify(place);
    const named = findings.filter((finding) => keys.some((key) => isNamed(finding, key)));
    const outcome = await restoreFrom(place, AbortSignal.timeout(REFUSED_WITHIN_MS)).catch(
      (error: unknown) => error,
    );
    t.diagnostic(
      outcome instanceof Error ? `refused: ${messageOf(outcome)}` : `${(outcome as number[]).length} rows`,
    );
    if (outcome instanceof Error) assert.ok(outcome instanceof AppError, `${what}: ${outcome.stack}`);
    else if (mayEndEarlier) assert.deepEqual(outcome, bucket.rows.slice(0, (outcome as number[]).length));
    else assert.deepEqual(outcome, bucket.rows, what);
    if (what.startsWith("stale")) {
      assert.equal(exit, 0, `${what}: ${JSON.stringify(findings)}`);
      return;
    }
    assert.ok(named.length > 0, `${what} is not named: ${JSON.stringify(findings)}`);
    // What a restore does without is a warning.
    if (outcome instanceof Error) assert.equal(exit, 1, `${what}: ${JSON.stringify(findings)}`);
  });
}

/** Says the finding which object it is about? */
function isNamed({ object, fault }: Finding, key: string): boolean {
  const plain = key.replace(/^(wal_005\/\w+(?:\.\w{8}\.backup|\.history|\.partial)?)\.\w+$/, "$1");
  const backup = /^basebackups_005\/(base_\w+?)(?:_backup_stop|\/)/.exec(key)?.[1];
  return [key, plain, ...(backup === undefined ? [] : [backup])].some(
    (name) => object.includes(name) || fault.includes(name),
  );
}

interface Harmed {
  readonly keys: readonly string[];
  readonly what: string;
  /** What is left looks like a log that was never longer. */
  readonly mayEndEarlier: boolean;
}

async function damage(place: string, random: Random): Promise<Harmed> {
  const keys = await keysBelow(place);
  const folders = ["basebackups_005/", "wal_005/", LOG_PREFIX, "tail_v1/"];
  const folder = folders[below(random, folders.length)]!;
  const candidates = keys.filter((key) => key.startsWith(folder));
  const key = candidates[below(random, candidates.length)]!;
  const drawn = (["flip", "cut", "empty", "remove", "swap", "stale"] as const)[below(random, 6)]!;
  if (drawn === "stale") return await arriveLate(place, random);
  const isUnseen = drawn === "remove" && leavesNoTrace(key, keys);
  const kind: Damage = isUnseen ? "cut" : drawn;
  const other = await harm(place, key, kind, keys, random);
  return {
    keys: other === null ? [key] : [key, other],
    what: `${kind} ${key}${other === null ? "" : ` with ${other}`}`,
    mayEndEarlier: kind === "remove" && isNearEnd(key, keys),
  };
}

/** Objects that a bucket can do without: nothing says that they were ever there. */
function leavesNoTrace(key: string, keys: readonly string[]): boolean {
  const slots = keys.filter((one) => one.startsWith(LOG_PREFIX));
  // A backup's history or a partial segment of the same timeline may be listed behind the newest segment.
  const segments = keys.filter(
    (one) => /^wal_005\/[0-9A-F]{24}\.\w+$/.test(one) && one.slice(0, 16) === key.slice(0, 16),
  );
  return (
    // The newest slot; the newest segment of a timeline, which the log may not have published yet, and its oldest.
    [slots.at(-1), segments.at(-1), segments[0]].includes(key) ||
    /_backup_stop_sentinel\.json$|holdfast_manifest\.json$|metadata\.json$|\.backup\.\w+$|\.history|\.partial/.test(
      key,
    )
  );
}

/** Among the last slots: a writer that was cut off may have left a hole there (W1). */
function isNearEnd(key: string, keys: readonly string[]): boolean {
  const last = keys.filter((one) => one.startsWith(LOG_PREFIX)).at(-1)!;
  return key.startsWith(LOG_PREFIX) && Number(last.slice(-20)) - Number(key.slice(-20)) < 16;
}

/** A write of a fenced owner that arrives late: an older slot appears behind a newer fence, where nobody looks (L3). */
async function arriveLate(place: string, random: Random): Promise<Harmed> {
  const slots = (await keysBelow(place)).filter((key) => key.startsWith(LOG_PREFIX));
  const taken = new Set(slots);
  const fences = slots
    .map((key) => Number(key.slice(-20)))
    .filter((seq) => !taken.has(slotKey(seq + 1)) && taken.has(slotKey(seq + 16)));
  const at = slotKey(fences[below(random, fences.length)]! + 1 + below(random, 15));
  const older = slots.filter((key) => key < at);
  const from = older[below(random, older.length)]!;
  await copyFile(join(place, from), join(place, at));
  return { keys: [at], what: `stale ${from} as ${at}`, mayEndEarlier: false };
}
