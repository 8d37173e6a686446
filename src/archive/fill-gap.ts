// Hands WAL out of pg_wal to the log, in slots that end at page boundaries (W5, A4).

import type { LogOwner } from "../tail/owner.ts";
import { type Lsn, lsnOf } from "../wal/lsn.ts";
import type { TimelineId } from "../wal/segment-name.ts";
import type { LocalWal } from "./local-wal.ts";

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
