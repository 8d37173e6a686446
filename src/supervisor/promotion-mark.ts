// The promotion id, written durably before Postgres is promoted (G4): a node that dies between the promotion and its history slot brings
// its timeline later, and says by which promotion it came to be.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { removeDurably, writeDurably } from "../base/durable-file.ts";
import type { VolumePaths } from "../postgres/data-directory.ts";
import type { PromotionIds } from "./log-term.ts";

export async function writePromotion(paths: VolumePaths, ids: PromotionIds): Promise<void> {
  await writeDurably(pathOf(paths), `${JSON.stringify(ids)}\n`);
}

/** Null when no promotion is under way or owed. */
export async function readPromotion(paths: VolumePaths): Promise<PromotionIds | null> {
  const text = await readFile(pathOf(paths), "utf8").catch(() => "");
  return text === "" ? null : (JSON.parse(text) as PromotionIds);
}

/** The log accepted it, or it never came to be. */
export async function forgetPromotion(paths: VolumePaths): Promise<void> {
  await removeDurably(pathOf(paths));
}

const pathOf = (paths: VolumePaths): string => join(paths.marks, "promotion.json");
