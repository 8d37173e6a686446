// Replays every recorded command of every bucket that WAL-G wrote, and compares what is printed and left.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { SessionTools } from "../../src/cli/walg/session.ts";
import { parseLsn } from "../../src/wal/lsn.ts";
import { callWalg } from "../support/call-walg.ts";
import { type Bucket, openBuckets, type Recorded } from "../support/walg-buckets.ts";
import { differenceFor } from "./walg-differences.ts";

const buckets = await openBuckets();

for (const bucket of buckets) {
  describe(bucket.name, () => {
    before(() => bucket.prepare());
    after(() => bucket.remove());
    for (const recorded of bucket.commands) {
      const isFetch = recorded.args[0] === "backup-fetch";
      test(recorded.file, () => (isFetch ? refetch(bucket, recorded) : replay(bucket, recorded)));
    }
  });
}

async function replay(bucket: Bucket, recorded: Recorded): Promise<void> {
  const place = await bucket.placeFor(recorded);
  const result = await callWalg(
    recorded.args,
    { ...bucket.envAt(place), ...recordedEnv(recorded) },
    toolsOf(recorded),
  );
  const scrub = (text: string): string => text.replaceAll(place, "STORE");
  const stdout = await bucket.recordedText(recorded, "stdout");
  const stderr = await bucket.recordedText(recorded, "stderr");
  const difference = differenceFor(bucket.name, recorded);
  if (difference !== null) {
    assert.match(result.stdout + result.stderr, difference.says);
    assert.equal(result.exit, difference.exit);
    return;
  }
  assert.equal(result.exit, recorded.exit, result.stderr);
  assert.equal(sections(scrub(result.stdout)), sections(stdout));
  // `st ls` and `wal-show` were recorded without their log.
  if (stderr !== null) assert.deepEqual(logLines(scrub(result.stderr)), logLines(stderr));
  const left = await bucket.recordedObjects(recorded);
  if (left !== null) assert.deepEqual(await bucket.objectsAt(place), left);
}

/** The log of a restore is our own; what counts is whether it fails, and that it says at what. */
async function refetch(bucket: Bucket, recorded: Recorded): Promise<void> {
  const place = await bucket.placeFor(recorded);
  const [command, , ...rest] = recorded.args;
  const target = join(await bucket.scratch(), "data");
  const env = { ...bucket.envAt(place), ...recordedEnv(recorded) };
  const result = await callWalg([command!, target, ...rest], env, toolsOf(recorded));
  const difference = differenceFor(bucket.name, recorded);
  assert.equal(result.exit, difference?.exit ?? recorded.exit, result.stderr);
  if (difference !== null) assert.match(result.stderr, difference.says);
  else if (recorded.exit === 0) assert.match(result.stderr, /Backup extraction complete\./);
  else assert.match(result.stderr, /part_001\.tar\.br|does not exist/);
}

/** Where WAL-G asked a server, the position it had stands in the note: "server at LSN 0/1900128, timeline 2". */
function toolsOf({ note }: Recorded): SessionTools {
  const match = /at LSN ([0-9A-F/]+), timeline (\d+)/.exec(note ?? "");
  if (match === null) return {};
  const position = { lsn: parseLsn(match[1]!), timeline: Number(match[2]) };
  return { askPosition: () => Promise.resolve(position) };
}

function recordedEnv({ env = {} }: Recorded): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== "STORE"));
}

/** WAL-G walks the checks of wal-verify in the order of a Go map, which changes from run to run. */
function sections(stdout: string | null): string {
  const text = stdout ?? "";
  if (!text.startsWith("[wal-verify]")) return text;
  return text
    .split(/(?=^\[wal-verify\] \w+ check status)/m)
    .sort()
    .join("");
}

/** Lines without times, hints, and in order: WAL-G's maps have none. */
function logLines(stderr: string): readonly string[] {
  return stderr
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("HINT: ") && !COULD_NOT_PARSE.test(line))
    .map((line) => line.replace(/^(\w+): \d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d\.\d{6} /, "$1: "))
    .sort();
}

/** WAL-G says so of every `.backup` file, which is no fault. */
const COULD_NOT_PARSE = /Could not parse the timeline Id from .*Skipping/;
