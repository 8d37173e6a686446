// Pushes missing segments again while this node's pg_wal, or the server's, still has them.

import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SegmentRun } from "../../archive/gaps.ts";
import { checkSegment } from "../../archive/wal-file-check.ts";
import { writeDurably } from "../../base/durable-file.ts";
import { messageOf } from "../../base/errors.ts";
import { segmentName } from "../../wal/segment-name.ts";
import type { Call } from "../walg/command.ts";
import { pushPath } from "../walg/wal-push.ts";

/** Names of the segments that were pushed. What cannot be found anywhere is told and left. */
export async function repairSegments(call: Call, missing: readonly SegmentRun[]): Promise<readonly string[]> {
  const { log, settings } = call;
  const scratch = await mkdtemp(join(tmpdir(), "holdfast-repair-"));
  const pushed: string[] = [];
  try {
    for (const run of missing) {
      for (let number = run.first; number <= run.last; number += 1n) {
        const name = segmentName({ timeline: run.timeline, number }, settings.segmentBytes);
        const path = (await localFile(call, name)) ?? (await fileOfServer(call, name, scratch));
        if (path === null) {
          log.warn("no node within reach has this segment any more", { segment: name });
          continue;
        }
        if ((await pushPath(call, path)) === 0) pushed.push(name);
      }
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return pushed;
}

async function localFile({ settings }: Call, name: string): Promise<string | null> {
  const data = settings.text("PGDATA");
  if (data === undefined) return null;
  const path = join(data, "pg_wal", name);
  return access(path).then(
    () => path,
    () => null,
  );
}

/** Asks the server of PGHOST for the file's bytes. */
async function fileOfServer(call: Call, name: string, scratch: string): Promise<string | null> {
  const { settings, signal, log } = call;
  const { serverOf } = await import("../walg/server.ts");
  const { withSql } = await import("../../postgres/sql.ts");
  const { parseSegmentName } = await import("../../wal/segment-name.ts");
  try {
    const rows = await withSql(await serverOf(settings), (sql) =>
      sql.query("select encode(pg_read_binary_file('pg_wal/' || $1, true), 'base64') as bytes", [name], {
        signal,
      }),
    );
    const text = rows[0]?.["bytes"];
    if (text === null || text === undefined) return null;
    const bytes = Buffer.from(text, "base64");
    checkSegment(bytes, parseSegmentName(name, settings.segmentBytes)!, {
      segmentBytes: settings.segmentBytes,
      systemId: null,
      magic: null,
    });
    const path = join(scratch, name);
    await writeDurably(path, bytes);
    return path;
  } catch (error) {
    signal.throwIfAborted();
    log.debug("the server could not be asked for a segment", { segment: name, because: messageOf(error) });
    return null;
  }
}
