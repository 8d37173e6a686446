// The undo of a restore: the data kept aside comes back and goes on, on a timeline of its own. It can be killed at any moment: the directory is
// the only copy of what it holds, so it is never cleared, and what was done already is not done again.

import { rm } from "node:fs/promises";
import { localPath } from "../archive/local-wal.ts";
import { readSourceLog } from "../archive/archive-source.ts";
import { renameDurably } from "../base/durable-file.ts";
import { AppError } from "../base/errors.ts";
import { markUnfinished, readControlFile, readUnfinished } from "../postgres/data-directory.ts";
import type { ReplayOrder } from "../recovery/replay-order.ts";
import { lastStep } from "../wal/timeline-path.ts";
import type { Verbs } from "./front.ts";
import { type NodeContext, sourceOf } from "./node-context.ts";
import type { TermEnd } from "./primary-term.ts";
import { leadPromoted, leadRestored, type PromotedTerm } from "./promoted-term.ts";
import { bringPromoted } from "./replaying.ts";
import { forgetAside, isThere, readAside, removeOrder } from "./restore-book.ts";

/** The data kept aside comes back and goes on, on a timeline of its own that leaves its old one at its end. */
export async function leadUndone(node: NodeContext, verbs: Verbs, id: string): Promise<TermEnd> {
  const { paths, stop, clock, log } = node;
  const aside = await readAside(paths);
  if (aside === null) {
    await removeOrder(paths);
    throw new AppError("nothing is kept aside, so there is nothing to undo", {
      code: "NOTHING_ASIDE",
      hint: "restore to a time in its place: the archive holds both histories",
    });
  }
  if (await isThere(aside.path)) {
    // From here on the directory of the restore is given up; the archive still holds what it wrote.
    await markUnfinished(paths, { work: "restore", beganMs: clock.now(), detail: `undo ${id}` });
    await rm(paths.dataDirectory, { recursive: true, force: true });
    await renameDurably(aside.path, paths.dataDirectory);
    log.info("the data kept aside is back in its place", { movedMs: aside.movedMs });
  }
  const control = await readControlFile(paths.dataDirectory);
  const source = sourceOf(node, control.systemId, control.segmentBytes);
  const path = await localPath(paths.dataDirectory);
  const timeline = lastStep(path).timeline;
  const term: PromotedTerm = {
    origin: "undo",
    // Not before: without the mark of completion only what was kept aside tells that this directory must not be cleared.
    onMarked: async () => {
      await removeOrder(paths);
      await forgetAside(paths);
    },
  };
  const view = await readSourceLog(source, stop.stopping);
  const isKnown = view?.histories.has(timeline) === true || timeline <= (view?.lastTimeline ?? 0);
  if (!isKnown && timeline > 1) {
    // Killed between its promotion and its history slot: the log has never heard of this timeline, so no other could leave it.
    log.info("the undo was promoted already; its timeline is brought to the log", { timeline });
    return await leadPromoted(node, verbs, await bringPromoted(node, source, path), term);
  }
  const replay: ReplayOrder = {
    source,
    path,
    timeline,
    isWinners: false,
    target: { kind: "latest" },
    ending: "drain",
    floor: control.redo,
    end: control.redo,
    hasOwnWal: true,
    fromElsewhere: false,
  };
  return await leadRestored(node, verbs, replay, term);
}

/** True when an undo had moved the old directory back and was cut short before the log accepted its new timeline. */
export async function isUndoneDirectory({ paths }: Pick<NodeContext, "paths">): Promise<boolean> {
  const mark = await readUnfinished(paths);
  if (mark === null || !mark.detail.startsWith("undo ")) return false;
  const aside = await readAside(paths);
  return aside !== null && !(await isThere(aside.path)) && (await isThere(paths.dataDirectory));
}
