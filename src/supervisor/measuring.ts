// Looks at the slots and the archive while a node runs. The store is asked only after something changed there.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ArchiveSource } from "../archive/archive-source.ts";
import { messageOf } from "../base/errors.ts";
import { listSlots, type Slot } from "../postgres/slots.ts";
import { ReconnectingSql } from "../postgres/sql.ts";
import { bytesBetween, type Lsn } from "../wal/lsn.ts";
import { lookAtArchive } from "./archive-look.ts";
import type { NodeContext } from "./node-context.ts";
import type { NodeView } from "./node-view.ts";

/** Measures a running primary until the signal aborts. */
export async function measurePrimary(
  node: NodeContext,
  source: ArchiveSource,
  signal: AbortSignal,
): Promise<void> {
  const { state, clock, log, postgres, paths } = node;
  await using sql = new ReconnectingSql(await postgres.address("holdfast measuring"));
  let seen = "";
  let lookedMs = -Infinity;
  while (!signal.aborted) {
    try {
      const slots = await listSlots(sql, { signal });
      state.set({
        ...retained(slots, state.view().streamer?.serverEnd ?? null),
        ...(await lookAtReady(join(paths.dataDirectory, "pg_wal", "archive_status"))),
      });
    } catch (error) {
      if (!signal.aborted) log.debug("the slots could not be looked at", { because: messageOf(error) });
    }
    const { streamer, schedule } = state.view();
    const now = `${streamer?.segmentsPublished} ${schedule?.running === null}`;
    if (now !== seen && clock.monotonicMs() - lookedMs > ARCHIVE_EVERY_MS) {
      seen = now;
      lookedMs = clock.monotonicMs();
      await look(node, source, signal);
    }
    await clock.sleep(PRIMARY_EVERY_MS, signal).catch(() => undefined);
  }
  state.set({ readySegments: 0, nextToArchive: null });
}

async function look(
  { state, clock, log }: NodeContext,
  source: ArchiveSource,
  signal: AbortSignal,
): Promise<void> {
  try {
    state.set({ archive: await lookAtArchive(source, clock.now(), signal) });
  } catch (error) {
    if (!signal.aborted) log.warn("the archive could not be looked at", { because: messageOf(error) });
  }
}

/** WAL between the slot that is furthest behind and the server's end. */
function retained(
  slots: readonly Slot[],
  end: Lsn | null,
): Pick<NodeView, "slotRetainedBytes" | "slotBehind"> {
  if (end === null) return { slotRetainedBytes: null, slotBehind: null };
  let most = 0;
  let behind: string | null = null;
  for (const { name, restart } of slots) {
    const bytes = restart === null || restart > end ? 0 : bytesBetween(restart, end);
    if (bytes > most) [most, behind] = [bytes, name];
  }
  return { slotRetainedBytes: most, slotBehind: behind };
}

/** What archive_command was not yet allowed to let go: how many segments, and the file that Postgres asks about next. */
async function lookAtReady(folder: string): Promise<Pick<NodeView, "readySegments" | "nextToArchive">> {
  const names = (await readdir(folder).catch(() => []))
    .filter((name) => name.endsWith(".ready"))
    .map((name) => name.slice(0, -".ready".length))
    .sort();
  // The archiver asks about histories first, then in the order of the names, and about nothing else until it was answered with 0.
  const next = names.find((name) => name.endsWith(".history")) ?? names[0];
  const status = next === undefined ? null : await stat(join(folder, `${next}.ready`)).catch(() => null);
  return {
    readySegments: names.filter((name) => /^[0-9A-F]{24}$/.test(name)).length,
    nextToArchive: next === undefined || status === null ? null : { name: next, sinceMs: status.mtimeMs },
  };
}

const PRIMARY_EVERY_MS = 5_000;
const ARCHIVE_EVERY_MS = 60_000;
