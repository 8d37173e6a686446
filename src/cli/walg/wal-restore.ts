// `wal-g wal-restore`: fetches the WAL that pg_rewind will want of a source directory, from where two directories part.

import { access, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { AppError, messageOf } from "../../base/errors.ts";
import { type ControlFile, parseControlFile } from "../../postgres/control-file.ts";
import { formatLsn, type Lsn, minLsn } from "../../wal/lsn.ts";
import { historyName, segmentAt, segmentName, type TimelineId } from "../../wal/segment-name.ts";
import { parseHistory } from "../../wal/timeline-history.ts";
import {
  isOnPath,
  leftAt,
  ownerAt,
  pathOfHistory,
  rootPath,
  type TimelinePath,
} from "../../wal/timeline-path.ts";
import { argumentCount, type Call, type WalgCommand } from "./command.ts";

export const WAL_RESTORE: WalgCommand = {
  path: "wal-restore",
  summary: "Restores WAL segments from storage that pg_rewind needs",
  use: "wal-restore target-pgdata source-pgdata",
  examples: ["wal-g wal-restore /data/old /data/new"],
  flags: [],
  check: argumentCount(2, 2),
  run: restore,
};

async function restore(call: Call): Promise<number> {
  const { args, log } = call;
  const [target, source] = [resolve(args[0]!), resolve(args[1]!)];
  const [old, current] = [await controlOf(target), await controlOf(source)];
  if (old.systemId !== current.systemId) {
    throw new AppError(`"${target}" and "${source}" are of different database systems`, {
      code: "WAL_RESTORE",
      hint: "give the directories of one cluster",
    });
  }
  const size = current.segmentBytes;
  const path = await pathOf(call, current.timeline, source);
  const from = divergence(await pathOf(call, old.timeline, source), path);
  const first = segmentAt(1, minLsn(from, old.checkpoint), size).number;
  const last = segmentAt(1, current.checkpoint, size).number;
  log.info(
    `the directories part at ${formatLsn(from)}; looking for the WAL from there to ${formatLsn(current.checkpoint)}`,
  );
  let fetched = 0;
  for (let number = first; number <= last; number += 1n) {
    const timeline = ownerAt(path, (number * BigInt(size) + BigInt(size) - 1n) as Lsn);
    if (await bring(call, segmentName({ timeline, number }, size), source)) fetched += 1;
  }
  log.info(`${fetched} segments fetched into "${join(source, "pg_wal")}"`);
  return 0;
}

async function controlOf(directory: string): Promise<ControlFile> {
  const path = join(directory, "global/pg_control");
  try {
    return parseControlFile(await readFile(path));
  } catch (error) {
    throw new AppError(`could not read "${path}": ${messageOf(error)}`, {
      code: "WAL_RESTORE",
      hint: "give two data directories; both servers must be stopped",
    });
  }
}

/** By the history in the source's pg_wal, else by the archive's. */
async function pathOf(call: Call, timeline: TimelineId, source: string): Promise<TimelinePath> {
  if (timeline === 1) return rootPath(1);
  const local = join(source, "pg_wal", historyName(timeline));
  if (!(await exists(local))) await bring(call, historyName(timeline), source);
  const text = await readFile(local, "utf8").catch(() => null);
  return text === null ? rootPath(timeline) : pathOfHistory(parseHistory(timeline, text));
}

/** Where the old path leaves the current one. */
function divergence(old: TimelinePath, current: TimelinePath): Lsn {
  const common = old.filter(({ timeline }) => isOnPath(current, timeline)).at(-1);
  if (common === undefined)
    throw new AppError("the two directories have no timeline in common", {
      code: "WAL_RESTORE",
      hint: "one of them is of another life of the cluster",
    });
  const [a, b] = [leftAt(old, common.timeline), leftAt(current, common.timeline)];
  if (a !== null && b !== null) return minLsn(a, b);
  return a ?? b ?? common.begin;
}

/** True when the file was fetched; one that is there already stays. */
async function bring(call: Call, name: string, source: string): Promise<boolean> {
  const path = join(source, "pg_wal", name);
  if (await exists(path)) return false;
  const { fetchWal } = await import("./wal-fetch.ts");
  const alone = { ...call, args: [name, path], context: { ...call.context, program: "holdfast" } as const };
  await fetchWal(alone);
  return true;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
