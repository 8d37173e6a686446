// An operator's order to fill this node's volume again: it survives a restart, and is done before anything else.

import { access } from "node:fs/promises";
import { join } from "node:path";
import { removeDurably, writeDurably } from "../base/durable-file.ts";
import type { VolumePaths } from "../postgres/data-directory.ts";

export async function writeReinit(paths: VolumePaths): Promise<void> {
  await writeDurably(pathOf(paths), "");
}

export async function isReinitAsked(paths: VolumePaths): Promise<boolean> {
  return await access(pathOf(paths)).then(
    () => true,
    () => false,
  );
}

export async function forgetReinit(paths: VolumePaths): Promise<void> {
  await removeDurably(pathOf(paths));
}

const pathOf = (paths: VolumePaths): string => join(paths.marks, "reinit");
