// The volume's own memory that clients were let in once, hence that the store holds a base backup: with the store away, a start may rest on it.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import type { VolumePaths } from "../postgres/data-directory.ts";

/** Written before the doors open for the first time; later calls cost one read. */
export async function markAdmitted(paths: VolumePaths, systemId: bigint, nowMs: number): Promise<void> {
  if (await wasAdmitted(paths, systemId)) return;
  await writeDurably(
    join(paths.marks, FILE),
    `${JSON.stringify({ systemId: systemId.toString(), sinceMs: nowMs })}\n`,
  );
}

/** True when clients of this very system were let in before. */
export async function wasAdmitted(paths: VolumePaths, systemId: bigint): Promise<boolean> {
  try {
    const stored = JSON.parse(await readFile(join(paths.marks, FILE), "utf8")) as {
      readonly systemId?: string;
    };
    return stored.systemId === systemId.toString();
  } catch {
    return false;
  }
}

const FILE = "admitted.json";
