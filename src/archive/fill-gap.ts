// Hands WAL out of pg_wal to the log, in slots that end at page boundaries (W5, A4).

import { ServerError } from "../postgres/server-error.ts";
import type { LogOwner } from "../tail/owner.ts";
import { formatLsn, type Lsn, lsnOf } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import { lastStep } from "../wal/timeline-path.ts";
import { LocalWal, pgWal } from "./local-wal.ts";
import type { StreamerOptions } from "./streamer-options.ts";

/** Appends `[from, to)` of the log's newest timeline as far as pg_wal has it, and waits until it is settled. */
export async function fillFromLocal(
  owner: Pick<LogOwner, "append" | "flush">,
  local: LocalWal,
  timeline: TimelineId,
  { from, to }: { readonly from: Lsn; readonly to: Lsn },
): Promise<void> {
  let at = from;
  for await (const piece of local.read(from, to)) {
    await owner.append(at, timeline, piece);
    at = lsnOf(at + BigInt(piece.byteLength));
  }
  await owner.flush();
}

/**
 * The slot was lost and the server removed WAL that the log lacks: complete segments below `to` that are still in pg_wal (a file is not removed
 * before archive_command let it go), else a gap up to the next one there, the open one at the latest (L5), told to `onGap`. `to` is the open one's start.
 */
export async function fillGap(
  { owner, dataDirectory, segmentBytes, log, onGap }: StreamerOptions,
  to: Lsn,
): Promise<void> {
  const { path } = owner.view.tip!;
  const local = new LocalWal(pgWal(dataDirectory), path, segmentBytes);
  const { timeline } = lastStep(path);
  const from = owner.end;
  await fillFromLocal(owner, local, timeline, { from, to });
  if (owner.end > from) {
    log.warn("WAL that the slot had lost was taken from pg_wal", {
      from: formatLsn(from),
      to: formatLsn(owner.end),
    });
    return;
  }
  const first = await local.firstFrom(timeline, from, to);
  if (first === null)
    throw new ServerError("the server removed WAL that the log lacks, and pg_wal has none later");
  await owner.gap(first);
  onGap(from, first);
}
