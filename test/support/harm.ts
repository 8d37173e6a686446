// Damages of one object in a copy of a bucket. Each leaves other bytes than there were.

import assert from "node:assert/strict";
import { copyFile, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Random, below } from "./random.ts";

export type Damage = "flip" | "cut" | "empty" | "remove" | "swap";

/**
 * Damages `key` below `place`; returns the other object of a swap. `keys` are those that it may be swapped with. What has no other of its kind
 * to be swapped with is emptied.
 */
export async function harm(
  place: string,
  key: string,
  damage: Damage,
  keys: readonly string[],
  random: Random,
): Promise<string | null> {
  const path = join(place, key);
  const before = await readFile(path);
  const other = await harmOne(place, key, damage, keys, before, random);
  const after = await readFile(path).catch(() => null);
  assert.ok(after === null || !after.equals(before), `${damage} left "${key}" as it was`);
  return other;
}

async function harmOne(
  place: string,
  key: string,
  damage: Damage,
  keys: readonly string[],
  before: Buffer,
  random: Random,
): Promise<string | null> {
  const path = join(place, key);
  switch (damage) {
    case "flip": {
      // Of JSON the first byte: a changed letter within a text is still JSON.
      // Of a frame not its header: some of its bits change nothing.
      const at = key.endsWith(".json") ? 0 : 16 + below(random, before.byteLength - 16);
      const bytes = Buffer.from(before);
      bytes[at] = bytes[at]! ^ (1 << below(random, 8));
      await writeFile(path, bytes);
      return null;
    }
    case "cut":
      await truncate(path, below(random, before.byteLength));
      return null;
    case "empty":
      await truncate(path, 0);
      return null;
    case "remove":
      await rm(path);
      return null;
    case "swap": {
      const others = keys.filter((one) => one !== key && kindOf(one) === kindOf(key));
      const other = others[below(random, others.length)];
      const same = other === undefined ? true : (await readFile(join(place, other))).equals(before);
      if (other === undefined || same) {
        await truncate(path, 0);
        return null;
      }
      await rename(path, `${path}.x`);
      await copyFile(join(place, other), path);
      await rename(`${path}.x`, join(place, other));
      return other;
    }
    default:
      throw new Error(`unknown damage "${String(damage)}"`);
  }
}

/** Objects of one kind take each other's place in a swap. */
export const kindOf = (key: string): string =>
  key.startsWith("wal_005/") ? "wal" : key.replace(/^.*\//, "").replace(/[0-9A-F_D]+/g, "");
