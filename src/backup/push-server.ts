// What a push asks of the server that it backs up, and of its data directory.

import { readFile, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import { type ControlFile, parseControlFile } from "../postgres/control-file.ts";
import { currentTimeline, must, one, serverFacts, showSetting } from "../postgres/queries.ts";
import type { Sql } from "../postgres/sql.ts";
import { parseHistory } from "../wal/timeline-history.ts";
import type { Nanoseconds } from "./go-json.ts";
import { type TimelineId, historyName } from "../wal/segment-name.ts";

export interface PushServer {
  /** Absolute, links resolved. */
  readonly dataDirectory: string;
  readonly versionNumber: number;
  readonly systemIdentifier: bigint;
  readonly segmentBytes: number;
  readonly hasChecksums: boolean;
  /** Blocks of one file of a relation. */
  readonly segmentBlocks: number;
  /** OID to xmin of each database's row. */
  readonly databases: ReadonlyMap<string, string>;
  /** Tells this volume from any other, and from a copy of it. */
  readonly volume: string;
  /** Time of the file PG_VERSION, which is written once. */
  readonly versionFileTime: Nanoseconds;
}

/** Asks, and compares the directory with the server's own. Throws AppError when it is another one. */
export async function readPushServer(
  sql: Sql,
  directory: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<PushServer> {
  const [facts, serverDirectory] = [await serverFacts(sql), await showSetting(sql, "data_directory")];
  const [wanted, actual] = await Promise.all([realpath(directory), realpath(serverDirectory)]);
  if (wanted !== actual)
    throw new AppError(`"${wanted}" is not the data directory of the server, which is "${actual}"`, {
      code: "BACKUP_WRONG_DIRECTORY",
      hint: "name the server's data directory, or connect to the server that runs on this one",
    });
  const { control } = await readControlFile(actual, clock, signal);
  if (control.systemId !== facts.systemId)
    throw new AppError(
      `the server is system ${facts.systemId}, but "${actual}" holds system ${control.systemId}`,
      { code: "BACKUP_WRONG_DIRECTORY", hint: "connect to the server that runs on this directory" },
    );
  const rows = await sql.query("select oid, xmin from pg_database");
  const version = await stat(join(actual, "PG_VERSION"), { bigint: true });
  return {
    dataDirectory: actual,
    versionNumber: facts.versionNumber,
    systemIdentifier: facts.systemId,
    segmentBytes: facts.segmentBytes,
    hasChecksums: control.checksumVersion !== 0,
    segmentBlocks: control.relationSegmentBlocks,
    databases: new Map(rows.map((row) => [must(row, "oid"), must(row, "xmin")])),
    versionFileTime: version.mtimeNs,
    volume: `${version.ino}:${version.birthtimeNs}:${version.mtimeNs}`,
  };
}

/** The file's bytes and what they say; the server rewrites it at any moment, so a torn read is tried again. */
export async function readControlFile(
  dataDirectory: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly control: ControlFile }> {
  for (let look = 1; ; look += 1) {
    const bytes = await readFile(join(dataDirectory, "global/pg_control"));
    try {
      return { bytes, control: parseControlFile(bytes) };
    } catch (error) {
      if (look === LOOKS) throw error;
    }
    await clock.sleep(PAUSE_MS, signal);
  }
}

/** The timeline that a backup which starts now belongs to; on a standby that of the last restart point. */
export async function timelineOf(sql: Sql, isStandby: boolean): Promise<TimelineId> {
  if (!isStandby) return currentTimeline(sql);
  return Number(must(await one(sql, "select timeline_id from pg_control_checkpoint()"), "timeline_id"));
}

/** Where each ancestor of `timeline` was left; empty for the first timeline and when the history is not in pg_wal. */
export async function ancestorsOf(
  dataDirectory: string,
  timeline: TimelineId,
): Promise<ReturnType<typeof parseHistory>["switches"]> {
  if (timeline === 1) return [];
  try {
    const text = await readFile(join(dataDirectory, "pg_wal", historyName(timeline)), "utf8");
    return parseHistory(timeline, text).switches;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []; // no base on another timeline is believed then
    throw error;
  }
}

const LOOKS = 10;
const PAUSE_MS = 20;
