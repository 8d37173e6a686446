// `holdfast verify --content` finds every kind of damage and names the object; a whole archive has no fault.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { callWalg } from "../support/call-walg.ts";
import { harm } from "../support/harm.ts";
import { makeRandom } from "../support/random.ts";
import { type Bucket, openBuckets } from "../support/walg-buckets.ts";

const RUNS = Number(process.env["HOLDFAST_CORRUPTIONS"] ?? 20);
// Fixed by default: now and then a flipped bit leaves an lz4 block with the very same content, and nothing is wrong then.
const SEED = Number(process.env["HOLDFAST_SEED"] ?? 7);
console.log(`seed ${SEED} (HOLDFAST_SEED), ${RUNS} corruptions (HOLDFAST_CORRUPTIONS)`);

interface Verdict {
  readonly exit: number;
  readonly verdict: string;
  readonly findings: readonly {
    readonly object: string;
    readonly severity: string;
    readonly fault: string;
  }[];
}

async function verify(bucket: Bucket, place: string): Promise<Verdict> {
  const args = ["verify", "--content", "--json"];
  const { exit, stdout } = await callWalg(args, bucket.envAt(place), {}, "holdfast");
  return { ...(JSON.parse(stdout) as Omit<Verdict, "exit">), exit };
}

const buckets = await openBuckets();

for (const bucket of buckets) {
  describe(bucket.name, () => {
    before(() => bucket.prepare());
    after(() => bucket.remove());
    const fault = bucket.name.startsWith("pg17-broken-");
    test(fault ? "its fault is found" : "is whole", async () => {
      const { exit, verdict, findings } = await verify(bucket, bucket.store);
      // Without its sentinel a delta is no backup; what is left is whole.
      const isFaulty = fault && bucket.name !== "pg17-broken-missing-sentinel";
      assert.equal(verdict, isFaulty ? "faults" : "ok", JSON.stringify(findings));
      assert.equal(exit, isFaulty ? 1 : 0);
      if (!isFaulty) return;
      const { notes } = JSON.parse(await readFile(join(bucket.folder, "expected.json"), "utf8")) as {
        notes: string[];
      };
      const key = /(?:basebackups_005|wal_005)\/\S+/.exec(notes.join(" "))![0];
      assert.ok(names(findings, key), `${key} is not named: ${JSON.stringify(findings)}`);
    });
  });
}

/** True when a finding is about the object, or about the segment that it holds. */
const names = (findings: Verdict["findings"], key: string): boolean =>
  findings.some(
    ({ object, severity }) =>
      severity === "error" && (object.startsWith(key) || object === key.replace(/\.\w+$/, "")),
  );

/** The segment in which the oldest backup of a bucket starts. */
const firstSegments = new Map<string, string>();

describe("seeded corruption", () => {
  // Codecs with a checksum of their own: WAL-G's other objects have nothing that a changed bit would break.
  const chosen = buckets.filter(({ name }) =>
    /^(pg17-lz4|pg18-full|pg17-timelines|pg17-high-lsn|pg17-libsodium-hex|pg17-openpgp)$/.test(name),
  );
  before(() => Promise.all(chosen.map((bucket) => bucket.prepare())));
  after(() => Promise.all(chosen.map((bucket) => bucket.remove())));
  for (let run = 0; run < RUNS; run += 1) {
    test(`number ${run}`, async (t) => {
      const random = makeRandom(SEED + run);
      const bucket = chosen[Math.floor(random() * chosen.length)]!;
      const place = await bucket.copy();
      const all = await bucket.objectsAt(place);
      firstSegments.set(
        bucket.name,
        all.flatMap((key) => /^basebackups_005\/base_([0-9A-F]{24})/.exec(key)?.[1] ?? []).sort()[0]!,
      );
      const keys = all.filter((key) => isNeeded(bucket, key));
      const key = keys[Math.floor(random() * keys.length)]!;
      const drawn = (["flip", "cut", "empty", "remove", "swap"] as const)[Math.floor(random() * 5)]!;
      const damage = drawn === "remove" && !isMissed(key, keys) ? "cut" : drawn;
      const other = await harm(place, key, damage, keys, random);
      t.diagnostic(`${bucket.name}: ${damage} ${key}${other === null ? "" : ` with ${other}`}`);
      const { exit, findings } = await verify(bucket, place);
      // A hole behind a fork, on the timeline that was left, is told and is no fault.
      const isLeft = bucket.name === "pg17-timelines" && /wal_005\/00000001/.test(key) && damage === "remove";
      if (exit === 0 && isLeft && findings.some(({ object }) => object === key.replace(/\.\w+$/, ""))) return;
      assert.equal(exit, 1, `${damage} of ${key} was not found`);
      const related = [
        key,
        other ?? key,
        key.replace(/\/tar_partitions\/.*/, ""),
        key.replace("_backup_stop_sentinel.json", ""),
      ];
      assert.ok(
        related.some((one) => names(findings, one)) ||
          findings.some(({ object, fault }) =>
            related.some((one) => object.startsWith(one) || fault.includes(one.replace(/\.\w+$/, ""))),
          ),
        `${damage} of ${key} is not named: ${JSON.stringify(findings)}`,
      );
    });
  }
});

/** What a restore to the newest timeline, or any other of the bucket, reads; JSON is dealt with by hand below. */
function isNeeded(bucket: Bucket, key: string): boolean {
  if (/\.backup\.\w+$|metadata\.json$/.test(key)) return false;
  // Before the first backup nothing is needed.
  const first = firstSegments.get(bucket.name)!;
  return !/wal_005\/00000001/.test(key) || key.slice("wal_005/".length) >= first;
}

/** No backup, no such timeline, an earlier end: of these nothing is left that could know. */
const isMissed = (key: string, keys: readonly string[]): boolean =>
  !key.endsWith("_backup_stop_sentinel.json") && !key.includes(".history") && !isLastSegment(key, keys);
const isLastSegment = (key: string, keys: readonly string[]): boolean =>
  key.startsWith("wal_005/") &&
  !keys.some((other) => other > key && other.slice(0, 16) === key.slice(0, 16) && !other.includes("history"));
