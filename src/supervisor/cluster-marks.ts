// What a member remembers on its volume: which copy of the data it is, and the roster, for a start without the store (G7).

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../base/durable-file.ts";
import { parseRoster, type Roster } from "../cluster/roster.ts";
import type { VolumePaths } from "../postgres/data-directory.ts";
import { ZERO_LSN } from "../wal/lsn.ts";

/** Names this copy of the data; drawn when there is none yet. */
export async function readVolumeId(paths: VolumePaths): Promise<string> {
  const known = await readFile(volumePath(paths), "utf8").catch(() => "");
  return known.trim() === "" ? await renewVolumeId(paths) : known.trim();
}

/** The volume was filled anew: another copy. */
export async function renewVolumeId(paths: VolumePaths): Promise<string> {
  const volume = randomBytes(8).toString("hex");
  await writeDurably(volumePath(paths), `${volume}\n`);
  return volume;
}

export async function readKeptRoster(paths: VolumePaths): Promise<Roster | null> {
  const text = await readFile(rosterPath(paths), "utf8").catch(() => "");
  return text === "" ? null : parseRoster(text);
}

export async function keepRoster(paths: VolumePaths, text: string): Promise<void> {
  await writeDurably(rosterPath(paths), text);
}

const volumePath = (paths: VolumePaths): string => join(paths.marks, "copy-id");
const rosterPath = (paths: VolumePaths): string => join(paths.marks, "roster.json");

/** What an empty volume has to offer. */
export const NO_DATA = {
  systemId: null,
  timeline: 0,
  recordEnd: ZERO_LSN,
  replayed: ZERO_LSN,
  durable: null,
  streaming: false,
} as const;
