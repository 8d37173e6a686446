// The mark of an unfinished fetch within its target: what was being restored, and which parts are through.

import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { removeDurably, writeDurably } from "../base/durable-file.ts";

/** Lies in the target from the first byte to the last; no backup takes it along. */
export const MARKER_NAME = "holdfast.fetching";

/** What must be equal for a fetch to go on where another stopped. */
export interface FetchIdentity {
  readonly backup: string;
  /** Hash of everything that decides what is written: chain, filter, tablespaces. */
  readonly plan: string;
  /** Of this run of the machine: what was written but not synced outlives a killed process, not a reboot. */
  readonly bootId: string;
}

export interface FetchMarker extends FetchIdentity {
  /** Tablespace directories that the fetch fills, to be cleared with the rest. */
  readonly tablespaces: readonly string[];
  /** Keys of the parts that are through. */
  readonly done: ReadonlySet<string>;
}

/** The marker in `directory`; null when there is none. An unreadable one counts as one of another fetch. */
export async function readMarker(directory: string): Promise<FetchMarker | null> {
  let text: string;
  try {
    text = await readFile(join(directory, MARKER_NAME), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  const [head = "", ...lines] = text.split("\n");
  const whole = lines.slice(0, -1); // the last line is empty, or was cut by a crash
  try {
    const { backup, plan, bootId, tablespaces } = JSON.parse(head) as FetchMarker;
    return { backup, plan, bootId, tablespaces, done: new Set(whole) };
  } catch {
    return { backup: "", plan: "", bootId: "", tablespaces: [], done: new Set() };
  }
}

/** Writes the marker durably, with no part through. */
export async function writeMarker(
  directory: string,
  identity: FetchIdentity,
  tablespaces: readonly string[],
): Promise<void> {
  const { backup, plan, bootId } = identity;
  const head = JSON.stringify({ backup, plan, bootId, tablespaces });
  await writeDurably(join(directory, MARKER_NAME), `${head}\n`);
}

/** Notes that a part is through. Not synced: a marker that forgets a part costs time, nothing else. */
export async function addToMarker(directory: string, key: string): Promise<void> {
  await using file = await open(join(directory, MARKER_NAME), "a");
  await file.write(`${key}\n`);
}

export async function removeMarker(directory: string): Promise<void> {
  await removeDurably(join(directory, MARKER_NAME));
}

/** Changes with every boot of the kernel; empty where it cannot be read, and then nothing is resumed. */
export async function readBootId(): Promise<string> {
  try {
    return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  } catch {
    return "";
  }
}
