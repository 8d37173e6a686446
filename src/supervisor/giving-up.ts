// A volume that was lost between the claim of its prefix and its first base backup: the prefix holds a founding that nobody can finish. Clients are
// let in only after that backup, so nothing was ever acknowledged; a lone node says so in the store, for good, and founds above what lies there.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { removeDurably, writeDurably } from "../base/durable-file.ts";
import { mustRun } from "../base/run-command.ts";
import { lentName } from "../postgres/nameless-user.ts";
import { readSourceLog } from "../archive/archive-source.ts";
import { listWal } from "../archive/wal-catalog.ts";
import { listBackups } from "../backup/catalog.ts";
import type { VolumePaths } from "../postgres/data-directory.ts";
import { ForeignLogError } from "../tail/errors.ts";
import { type FoundingOutcome, settleFounding } from "../tail/founding.ts";
import { insist } from "../tail/insist.ts";
import { segmentName } from "../wal/segment-name.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";

/**
 * Gives up the founding of `systemId` and resolves to the number of the first segment that lies above all that it left, or to a sentence that says
 * why it must not be given up. Throws StoreError and the log's errors.
 */
export async function giveUpFounding(node: NodeContext, systemId: bigint): Promise<bigint | string> {
  const { settings, store, stop, log } = node;
  const signal = stop.stopping;
  if ((await node.fencing(signal)) !== "conditional")
    return "the store does not honour conditional writes, so a founder that is only slow could not be kept out";
  if ((await listBackups(store, signal)).length > 0) return "a base backup has appeared";
  const { segmentBytes } = settings;
  let highest = 0n;
  for await (const { name, meaning } of listWal(store, segmentBytes, signal)) {
    if (meaning.kind === "history") return `wal_005 holds ${name}, which no new cluster writes`;
    if (meaning.segment.number > highest) highest = meaning.segment.number;
  }
  const view = await readSourceLog(sourceOf(node, systemId, segmentBytes), signal).catch((error: unknown) => {
    // A founder before this one, which was given up too, left the log; this one wrote nothing yet.
    if (error instanceof ForeignLogError) return null;
    throw error;
  });
  const end = view?.tip?.end ?? 0n;
  if ((view?.tip?.timeline ?? 1) > 1) return "its log is on a later timeline, which no new cluster is";
  const settle = (): Promise<FoundingOutcome> => settleFounding(store, systemId, "given-up", signal);
  if ((await insist("giving the founding up", settle, { ...node, signal })) === "admitted")
    return "clients were admitted to it, and none of its base backups is left";
  log.warn("a founding that never admitted a client is given up", { systemId });
  const perId = 0x1_0000_0000n / BigInt(segmentBytes);
  const above = end / BigInt(segmentBytes) > highest ? end / BigInt(segmentBytes) : highest;
  return (above / perId + 1n) * perId + 1n;
}

/** Lets the WAL of a fresh data directory begin at segment `number`, so that no name of it is one that the former founder may still write. */
export async function beginWalAt(node: NodeContext, number: bigint): Promise<void> {
  const { paths, programs, owner, settings, stop } = node;
  const first = segmentName({ timeline: 1, number }, settings.segmentBytes);
  await mustRun(
    join(programs.bin, "pg_resetwal"),
    [`--next-wal-file=${first}`, `--pgdata=${paths.dataDirectory}`],
    {
      ...owner,
      env: owner === null ? await lentName(process.getuid?.(), process.getgid?.()) : {},
      cwd: paths.dataDirectory,
      signal: stop.stopping,
    },
  );
}

/** Written before the data directory of a successor is made. */
export async function markSuccessor(paths: VolumePaths, former: bigint): Promise<void> {
  await writeDurably(pathOf(paths), `${former}\n`);
}

/** The system whose place this volume's takes, until its own log has begun; else null. */
export async function readSuccessor(paths: VolumePaths): Promise<bigint | null> {
  const text = (await readFile(pathOf(paths), "utf8").catch(() => "")).trim();
  return /^\d+$/.test(text) ? BigInt(text) : null;
}

/** Its first backup stands, or the volume never came to be. */
export async function forgetSuccessor(paths: VolumePaths): Promise<void> {
  await removeDurably(pathOf(paths));
}

const pathOf = (paths: VolumePaths): string => join(paths.marks, "succeeds");
