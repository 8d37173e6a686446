// A deletion that is killed leaves no backup that looks whole and is not; the next one finishes it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { copyFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Bucket, openBucket } from "../support/walg-buckets.ts";
import { callWalg } from "../support/call-walg.ts";

const RUNS = Number(process.env["HOLDFAST_KILLS"] ?? 4);

describe("a killed deletion", () => {
  let bucket: Bucket;
  before(async () => {
    bucket = await openBucket("pg17-retention");
    await bucket.prepare();
  });
  after(() => bucket.remove());

  for (const args of [
    ["retain", "FULL", "1"],
    ["target", "FIND_FULL", "base_00000001000000000000000D"],
  ]) {
    test(args.join(" "), async (t) => {
      const whole = await bucket.copy();
      assert.equal((await callWalg(["delete", ...args, "--confirm"], bucket.envAt(whole))).exit, 0);
      const wanted = await bucket.objectsAt(whole);
      let cut = 0;
      for (let run = 0; run < RUNS; run += 1) {
        const place = await bucket.copy();
        // More to delete, so that the kill lands within.
        for (let more = 0; more < 400; more += 1) {
          const from = join(place, "basebackups_005/base_00000001000000000000000D/metadata.json");
          await copyFile(from, `${from}.${more}`);
        }
        const before = (await bucket.objectsAt(place)).length;
        const child = spawn(process.execPath, ["bin/wal-g.js", "delete", ...args, "--confirm"], {
          env: bucket.envAt(place),
          stdio: "ignore",
        });
        const ended = once(child, "exit");
        const countNow = (): Promise<number> =>
          bucket.objectsAt(place).then(
            ({ length }) => length,
            () => 0,
          );
        while (child.exitCode === null && (await countNow()) === before) await delay(1);
        await delay(run);
        child.kill("SIGKILL");
        await ended;
        const left = await bucket.objectsAt(place);
        if (left.length > wanted.length) cut += 1;
        const verified = await callWalg(["backup-list", "--detail"], bucket.envAt(place));
        assert.equal(verified.exit, 0, verified.stderr);
        for (const name of verified.stdout.match(/^base_\S+/gm) ?? []) {
          const base = /_D_([0-9A-F]{24})$/.exec(name)?.[1];
          if (base !== undefined) assert.match(verified.stdout, new RegExp(`^base_${base}`, "m"));
        }
        // Any later deletion finishes what was begun; a backup whose sentinel is still there is whole and may be asked for again.
        const isThere = verified.stdout.includes(`${args.at(-1)} `);
        const again = args[0] === "target" && !isThere ? ["garbage"] : args;
        assert.equal((await callWalg(["delete", ...again, "--confirm"], bucket.envAt(place))).exit, 0);
        const now = (await bucket.objectsAt(place)).filter((key) => key.startsWith("basebackups_005/"));
        assert.deepEqual(
          now.filter((key) => !/metadata\.json\.|\.tmp\./.test(key)),
          wanted.filter((key) => key.startsWith("basebackups_005/")),
        );
      }
      t.diagnostic(`${cut} of ${RUNS} kills landed within the deletion`);
    });
  }
});
